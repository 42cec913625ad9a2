"""How fast, by which algorithm: `bench`, `inspect`, `tune`."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import tyro
from rich.console import Console
from rich.progress import Progress

import jconv
from jconv.bench.layers import choose_layers
from jconv.bench.random_layers import draw_problems, random_problems
from jconv.bench.results import file_of, line, race_line, told, write_results
from jconv.bench.suite import LOOPS, MERGED, PASSES, Row, bench_networks, choose_networks
from jconv.bench.suite import bench as run_bench
from jconv.cli.arguments import OK, parse
from jconv.profiling.race import Race, problems_of, race
from jconv.selection.tuning_table import VARIABLE, default_path
from jconv.train import TrainConfig, load_config, run_name
from jconv.train.inspect_step import first_step
from jconv.transforms.tune import tune_problems


def bench(words: Sequence[str]) -> int:
    """`jconv bench`."""

    def run(
        only: str = "",
        quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        algorithm: str = "auto",
        regret: int | None = None,
        out: Path = Path("bench"),
    ):
        """Time published layers: jconv against lax and, where it is installed, torch.

        Forward, and forward with both gradients, then whole networks, plain and accelerated;
        medians of interleaved runs in one process, on channels-last arrays and as many threads
        each as there are cores. Writes OUT.json and OUT.png.

        Args:
          only: layers and networks whose name or kind has this in it, such as "depthwise",
            "inception" or "network".
          quick: a layer of each kind, measured briefly.
          algorithm: jconv's, such as "direct"; a layer that it cannot do ends the run.
          regret: race every algorithm on these layers and on so many random convolutions, drawn
            anew each time, to see what the choice of "auto" costs.
          out: where results go; .json and .png are added.
        """
        if regret is not None and regret < 0:
            raise ValueError(f"`--regret` must be at least 0. Received: {regret}.")
        names = choose_networks(only)
        layers = choose_layers(only, quick, may_be_none=bool(names))
        out.parent.mkdir(parents=True, exist_ok=True)  # told now, not after an hour of timing
        with file_of(out, ".json").open("a"):
            pass
        with Progress(console=Console(stderr=True)) as bar:
            once = len({MERGED, *LOOPS}.intersection(names))
            total = len(PASSES) * (len(layers) + len(names)) - once
            task = bar.add_task("timing", total=total)
            rows: list[Row] = []
            races: dict[str, list[Race]] = {}

            def each(row: Row) -> None:
                rows.append(row)
                bar.console.print(line(row), highlight=False)
                bar.advance(task)

            budget = 0.5 if quick else 2.0
            try:
                run_bench(layers, algorithm=algorithm, budget=budget, each=each)
                whole = 10 * budget  # their calls are longer
                bench_networks(names, quick=quick, budget=whole, each=each)
                if regret is not None:
                    published = (problem for layer in layers for problem in problems_of(layer))
                    drawn = {"published convolutions": published,
                             "random convolutions": draw_problems(regret)}  # fmt: skip
                    for what, problems in drawn.items():
                        task = bar.add_task(f"racing {what}", total=None)
                        races[what] = []
                        for problem in problems:
                            races[what].append(race(problem, budget=0.5, final=True))
                            bar.advance(task)
            finally:  # what was measured until a Ctrl-C is kept
                if rows:
                    write_results(rows, out, races)
        return told(rows, races)

    Console().print(parse(run, "bench", words), highlight=False)
    return OK


def inspect(words: Sequence[str]) -> int:
    """`jconv inspect CONFIG.yaml`."""

    def look(
        config: tyro.conf.Positional[Path],
        timed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ):
        """List the convolutions of one training step of a config, gradients included.

        For each: where it is asked for, its input and window, its multiply-adds, the algorithm,
        how long that takes (measured where `jconv tune` was run, predicted elsewhere), and why it.

        Args:
          config: a file for `jconv train`.
          timed: run each of them alone, and show how long that took.
        """
        step, arguments = first_step(load_config(config, TrainConfig, name=run_name(config)))
        return jconv.inspect(step, timed=timed)(*arguments)

    Console().print(parse(look, "inspect", words))
    return OK


def tune(words: Sequence[str]) -> int:
    """`jconv tune [CONFIG.yaml]`."""

    def run(
        config: tyro.conf.Positional[Path | None] = None,
        only: str = "",
        random: float = 0.0,
        seed: int = 0,
        budget: float = 0.5,
        out: Path | None = None,
    ) -> str:
        """Measure every algorithm on this device, for "auto" to go by from then on.

        On the convolutions of a config's training step or, without one, of the published layers
        that `jconv bench` times. What is measured is kept after Ctrl-C, and the table keeps what
        it has of other convolutions, unless another jaxlib measured it.

        Args:
          config: a file for `jconv train`.
          only: published layers whose name or kind has this in it, such as "depthwise".
          random: instead, minutes of random layers, which a cost model can be fitted to.
          seed: of these.
          budget: seconds of measuring for each convolution.
          out: the table; that of this kind of device in your cache folder if left out. Another
            one counts where the environment variable JCONV_TUNING has its path.
        """
        if not (random >= 0 and 0 < budget < math.inf):  # so that NaN is told too
            raise ValueError(
                f"`--random` must be at least 0 minutes and `--budget` more than 0 seconds, and "
                f"finite. Received: {random} and {budget}."
            )
        total = None
        if random:
            problems = random_problems(random, seed)
        elif config is not None:
            step, arguments = first_step(load_config(config, TrainConfig, name=run_name(config)))
            problems = [c.problem for c in jconv.inspect(step)(*arguments).convolutions]
            total = len(set(problems))
        else:
            layers = choose_layers(only)
            problems = (problem for layer in layers for problem in problems_of(layer))
        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task("measuring", total=total)
            for result in tune_problems(problems, path=out, budget=budget):
                bar.console.print(race_line(result), highlight=False)
                bar.advance(task)
        if out is None:
            return f"The table is {default_path(jax.devices()[0].device_kind)}."
        return f"The table is {out}. For `auto` to go by it, set {VARIABLE}={out.resolve()}"

    print(parse(run, "tune", words))
    return OK
