"""The verb `bench`: times published layers against other implementations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import Progress

from jconv.bench.implementations import problems_of
from jconv.bench.layers import choose_layers
from jconv.bench.measurement import PASSES, Measurement
from jconv.bench.network_suite import LOOPS, MERGED, bench_networks, choose_networks
from jconv.bench.random_layers import draw_problems
from jconv.bench.results import format_measurement, summarize, with_extension, write_results
from jconv.bench.suite import bench_layers
from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.profiling.race import Race, race


def bench(arguments: Sequence[str]) -> int:
    """Run `jconv bench`."""
    Console().print(parse(_bench, "bench", arguments), highlight=False)
    return OK


def _bench(
    only: str = "",
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    algorithm: str = "auto",
    regret: int | None = None,
    out: Path = Path("bench"),
):
    """Time published layers: jconv against lax and, where it is installed, torch.

    Times the forward pass, and the forward pass with both gradients; then whole models, plain and
    accelerated. Figures are medians of interleaved runs in one process, on channels-last arrays,
    with one thread per core. Writes OUT.json and OUT.png.

    Args:
      only: layers and models whose name or kind contains this, such as "depthwise", "inception"
        or "network".
      quick: one layer of each kind, measured briefly.
      algorithm: the algorithm of jconv, such as "direct"; a layer that it does not support is an
        error.
      regret: also race every algorithm on these layers and on so many random convolutions, drawn
        with a new seed each time, to measure how much slower the choice of "auto" is than the
        best algorithm.
      out: path of the results, without .json and .png.
    """
    if regret is not None and regret < 0:
        raise ValueError(f"`--regret` must be at least 0. Received: {regret}.")
    models = choose_networks(only)
    layers = choose_layers(only, quick, allow_empty=bool(models))
    _check_writable(out)
    # The first budget is that of a layer, in seconds. Calls of whole models take longer.
    budget = 0.5 if quick else 2.0
    measurements: list[Measurement] = []
    races: dict[str, list[Race]] = {}
    with Progress(console=Console(stderr=True)) as progress:
        timed_once = len({MERGED, *LOOPS}.intersection(models))
        total = len(PASSES) * (len(layers) + len(models)) - timed_once
        task = progress.add_task("timing", total=total)

        def on_result(measurement: Measurement) -> None:
            measurements.append(measurement)
            progress.console.print(format_measurement(measurement), highlight=False)
            progress.advance(task)

        try:
            bench_layers(layers, algorithm=algorithm, budget=budget, on_result=on_result)
            bench_networks(models, quick=quick, budget=10 * budget, on_result=on_result)
            if regret is not None:
                _race_all(layers, regret, races, progress)
        finally:  # results that were measured before Ctrl-C are kept
            if measurements:
                write_results(measurements, out, races)
    return summarize(measurements, races)


def _check_writable(out: Path) -> None:
    """Fail before the measurements, not after an hour of them, if results cannot be written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with with_extension(out, ".json").open("a"):
        pass


def _race_all(layers, regret: int, races: dict[str, list[Race]], progress: Progress) -> None:
    """Race every algorithm on the published and on random convolutions; fills `races`."""
    problems_by_source = {
        "published convolutions": (p for layer in layers for p in problems_of(layer)),
        "random convolutions": draw_problems(regret),
    }
    for source, problems in problems_by_source.items():
        task = progress.add_task(f"racing {source}", total=None)
        races[source] = []
        for problem in problems:
            races[source].append(race(problem, budget=0.5, final=True))
            progress.advance(task)
