"""The verb `sweep`: one run for each of several values of a config."""

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jconv.cli.config_arguments import parse_overrides, split_config_path
from jconv.cli.exit_codes import INTERRUPTED, OK
from jconv.report.page import write_page
from jconv.report.sweep import ranked, status_line, table, write_results
from jconv.report.sweep_plot import write_plot
from jconv.train import TrainConfig, load_config, run_name
from jconv.train.sweep.axes import parse_axes
from jconv.train.sweep.config_values import format_values
from jconv.train.sweep.folder import Point, Result, read_results
from jconv.train.sweep.search import sweep as sweep_runs


@dataclass(frozen=True)
class SweepArguments:
    """Train one run for each of several values of a config.

    An option with commas lists values; all combinations of the listed values are trained. An option
    LOW..HIGH gives a range to sample from. The samples are uniform, or uniform in the logarithm if
    HIGH is more than ten times LOW and both are positive. The `kind` of a section can be varied,
    too; a section of another kind starts with its own defaults. All other options are those of
    `jconv train`.

    Writes runs/NAME-sweep/: sweep.yaml, one run folder per point, results.csv, results.json and
    plot.png. The same command continues an unfinished sweep. Ctrl-C ends a sweep after the current
    run is saved.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    random: int | None = None
    """Number of points to sample at random, with the config's seed, instead of a grid."""
    optuna: int | None = None
    """Number of points that Optuna chooses, each based on the results of earlier ones."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a sweep of the same name."""
    runs: Path = Path("runs")
    """The folder of all runs."""


def sweep(arguments: Sequence[str]) -> int:
    """Run `jconv sweep CONFIG.yaml --section.field VALUE,... [--random N | --optuna N]`."""
    path, rest = split_config_path(arguments, "sweep", SweepArguments)
    config = load_config(path, TrainConfig, name=run_name(path))
    axes, rest = parse_axes(rest, config)
    options = parse_overrides(SweepArguments, f"sweep {path}", rest, config)
    for option in ("random", "optuna"):
        count = getattr(options, option)
        if count is not None and count < 1:
            raise ValueError(f"`--{option}` must be at least 1 point. Received: {count}.")
    has_name = any(argument.partition("=")[0] == "--name" for argument in rest)
    folder = options.runs / (options.config.name + ("" if has_name else "-sweep"))
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def on_start(point: Point, count: int) -> None:
        console.print(f"{point.number} of {count}: {format_values(point.values)}", markup=False)

    def on_result(result: Result) -> None:
        with contextlib.suppress(OSError):
            write_page(folder / result.point.name)
        _write_files(folder, read_results(folder))
        console.print(f"  {status_line(result)}", markup=False)

    results = sweep_runs(
        options.config,
        axes,
        folder=folder,
        random=options.random,
        optuna=options.optuna,
        overwrite=options.overwrite,
        on_start=on_start,
        on_result=on_result,
        notify=lambda message: console.print(f"  {message}", markup=False),
    )
    return _report_results(folder, results)


def _write_files(folder: Path, results: Sequence[Result]) -> None:
    write_results(folder, results)
    write_plot(folder, results)


def _report_results(folder: Path, results: Sequence[Result]) -> int:
    """Write the files of a sweep, print its results and the next command; return the exit code."""
    _write_files(folder, results)
    Console(highlight=False).print(table(results))
    finished = [result for result in ranked(results) if result.status == "finished"]
    if finished:
        print(f"{'best':14} {folder / finished[0].point.name / 'report.html'}")
    print(f"{'table':14} {folder / 'results.csv'}")
    print(f"{'plot':14} {folder / 'plot.png'}")
    if len(finished) > 1:
        best = [str(folder / result.point.name) for result in finished[:2]]
        print(f"{'compare':14} {shlex.join(['jconv', 'compare', *best])}")
    interrupted = [result for result in results if result.status == "interrupted"]
    if interrupted:
        print(f"{'continue':14} with the same command")
        by_ctrl_c = any(result.summary.get("signal") == "SIGINT" for result in interrupted)
        return INTERRUPTED if by_ctrl_c else OK
    if results and all(result.status == "failed" for result in results):
        raise ValueError(
            f"all {len(results)} points failed; {folder / 'results.json'} contains the errors."
        )
    return OK
