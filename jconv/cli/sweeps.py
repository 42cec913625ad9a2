"""Sweeps: `sweep`."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jconv.cli.arguments import parse, split_config_path
from jconv.cli.exit_codes import INTERRUPTED, OK
from jconv.report import sweep as sweep_report
from jconv.report.page import write_page
from jconv.train import TrainConfig, load_config, run_name
from jconv.train.sweep.axes import read_axes
from jconv.train.sweep.folder import Point, Result, label, read_results
from jconv.train.sweep.folder import sweep as sweep_runs


@dataclass(frozen=True)
class SweepArguments:
    """Train a run for each of several values of a config.

    What is given with commas is tried value by value, in every combination, and what is given as a
    range, LOW..HIGH, is drawn from: evenly, or evenly in its logarithm where HIGH is more than ten
    times LOW, and both are above zero. A section's `kind` may be tried as well; one of another
    kind starts with its own defaults. Everything else is as in `jconv train`.

    Writes runs/NAME-sweep/: sweep.yaml, a run in a folder for each point, results.csv,
    results.json and plot.png. Asked for again with the same words, it goes on with what is not
    finished. Ctrl-C ends it once the run under way is saved.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    random: int | None = None
    """Draw so many points, with the config's seed, instead of a grid of all."""
    optuna: int | None = None
    """Let Optuna choose so many points, each by how the ones before it did."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a sweep of the same name."""
    runs: Path = Path("runs")
    """The folder of runs."""


def sweep(arguments: Sequence[str]) -> int:
    """`jconv sweep CONFIG.yaml --section.field VALUE,VALUE,... [--random N | --optuna N]`."""
    path, rest = split_config_path(arguments, "sweep", SweepArguments)
    config = load_config(path, TrainConfig, name=run_name(path))
    axes, rest = read_axes(rest, config)
    chosen = parse(SweepArguments, f"sweep {path}", rest, default=SweepArguments(config))
    for option in ("random", "optuna"):
        count = getattr(chosen, option)
        if count is not None and count < 1:
            raise ValueError(f"`--{option}` must be at least 1 point. Received: {count}.")
    named = any(word.partition("=")[0] == "--name" for word in rest)
    folder = chosen.runs / (chosen.config.name + ("" if named else "-sweep"))
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def before(point: Point, count: int) -> None:
        console.print(f"{point.number} of {count}: {label(point.values)}", markup=False)

    def after(result: Result) -> None:
        with contextlib.suppress(OSError):
            write_page(folder / result.point.name)
        sweep_report.write_results(folder, read_results(folder))
        console.print(f"  {sweep_report.line(result)}", markup=False)

    results = sweep_runs(
        chosen.config,
        axes,
        folder=folder,
        random=chosen.random,
        optuna=chosen.optuna,
        overwrite=chosen.overwrite,
        before=before,
        after=after,
        tell=lambda sentence: console.print(f"  {sentence}", markup=False),
    )
    return _told_of_sweep(folder, results)


def _told_of_sweep(folder: Path, results: Sequence[Result]) -> int:
    """Prints how each point did, and what to do next."""
    sweep_report.write_results(folder, results)
    Console(highlight=False).print(sweep_report.table(results))
    finished = [result for result in sweep_report.ranked(results) if result.status == "finished"]
    if finished:
        print(f"{'best':14} {folder / finished[0].point.name / 'report.html'}")
    print(f"{'table':14} {folder / 'results.csv'}")
    print(f"{'plot':14} {folder / 'plot.png'}")
    if len(finished) > 1:
        best = [str(folder / result.point.name) for result in finished[:2]]
        print(f"{'compare':14} {shlex.join(['jconv', 'compare', *best])}")
    interrupted = [result for result in results if result.status == "interrupted"]
    if interrupted:
        print(f"{'go on':14} with the same command")
        stopped = any(result.summary.get("signal") == "SIGINT" for result in interrupted)
        return INTERRUPTED if stopped else OK
    if results and all(result.status == "failed" for result in results):
        raise ValueError(f"all {len(results)} points failed; {folder / 'results.json'} says why.")
    return OK
