"""Runs: `train`, `resume`, `report`, `compare`."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jconv.cli.arguments import INTERRUPTED, OK, leading_path, parse
from jconv.data.safe_io import BadFile
from jconv.report.compare import Comparison, write_comparison
from jconv.report.compare import compare as compare_runs
from jconv.report.compare import table as comparison_table
from jconv.report.page import write_page
from jconv.train import RunFailed, TrainConfig, load_config, run_name
from jconv.train import resume as resume_run
from jconv.train import train as train_run
from jconv.train.distributed import writes
from jconv.train.trainer import NotFinite


@dataclass(frozen=True)
class TrainArguments:
    """Train what a config describes; every value of it can be overridden here.

    Writes runs/NAME/: the complete config, the environment, metrics.jsonl, TensorBoard logs, the
    learned kernels, checkpoints, summary.json, and report.html, which is the page to look at.
    Ctrl-C or SIGTERM ends the run early and leaves it readable; `jconv resume` goes on with it.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a run of the same name."""
    runs: Path = Path("runs")
    """The folder of runs."""


def train(words: Sequence[str]) -> int:
    """`jconv train CONFIG.yaml [--section.field VALUE ...]`."""
    path, rest = leading_path(words, "train", TrainArguments)
    config = load_config(path, TrainConfig, name=run_name(path))
    chosen = parse(TrainArguments, f"train {path}", rest, default=TrainArguments(config))
    return _told_of_run(
        lambda: train_run(chosen.config, runs=chosen.runs, overwrite=chosen.overwrite)
    )


def resume(words: Sequence[str]) -> int:
    """`jconv resume RUN`."""

    def again(run: tyro.conf.Positional[Path]) -> Path:
        """Go on with a run that was ended or killed, from its newest checkpoint.

        On a CPU it ends with the same bits as one that was not: parameters, optimizer, metrics and
        kernel files. A checkpoint that cannot be read is told of, and the one before is taken.

        Args:
          run: the run's folder, such as runs/digits.
        """
        return run

    run = parse(again, "resume", words)
    tell = lambda sentence: print(f"jconv resume: {sentence}", file=sys.stderr)
    return _told_of_run(lambda: resume_run(run, tell=tell))


def _told_of_run(carry_out: Callable[[], tuple[Path, dict]]) -> int:
    """Carries out a run, writes its page, and prints how it went."""
    try:
        run, summary = carry_out()
    except RunFailed as error:
        with contextlib.suppress(OSError):  # such as the full disk that ended the run
            _page(error.run)
        if isinstance(error.__cause__, OSError):
            ended = OSError(str(error))
            ended.errno = error.__cause__.errno
            raise ended from None
        if isinstance(error.__cause__, NotFinite | BadFile):
            raise ValueError(str(error)) from None
        raise
    try:
        page = _page(run)
    except OSError as error:
        raise OSError(
            f"the page of {run} was not written: {error}. "
            f"`{shlex.join(['jconv', 'report', str(run)])}` writes it again"
        ) from None
    for name, digits in (("test_accuracy", ".2%"), ("kernel_error", ".1e")):
        if summary.get(name) is not None:
            error = summary.get(f"{name}_error")  # of replicates
            spread = "" if error is None else f" ± {error:{digits}}"
            print(f"{name.replace('_', ' '):14} {summary[name]:{digits}}{spread}")
    print(f"{'training time':14} {summary['seconds']:.1f} s")
    print(f"{'page':14} {page}")
    if summary["status"] == "interrupted":
        print(f"{'go on with':14} {shlex.join(['jconv', 'resume', str(run)])}")
    return INTERRUPTED if summary.get("signal") == "SIGINT" else OK


def _page(run: Path) -> Path:
    """Where the page of a run is, which the process has written that writes its folder."""
    return write_page(run) if writes() else run / "report.html"


def compare(words: Sequence[str]) -> int:
    """`jconv compare RUN RUN...`."""

    def side_by_side(
        runs: tyro.conf.Positional[list[Path]], out: Path = Path("compare.html")
    ) -> tuple[Comparison, Path]:
        """Lay runs side by side: final figures, the values in which they differ, curves.

        Args:
          runs: folders of runs, such as runs/digits; that of a sweep stands for all of its runs.
          out: the page with their curves laid over each other.
        """
        return compare_runs(runs), out

    found, out = parse(side_by_side, "compare", words)
    page = write_comparison(found, out)
    Console(highlight=False).print(comparison_table(found))
    print(f"{'page':14} {page}")
    return OK


def report(words: Sequence[str]) -> int:
    """`jconv report RUN`."""

    def rewrite(run: tyro.conf.Positional[Path]) -> Path:
        """Write the page of a run again.

        Args:
          run: the run's folder, such as runs/digits.
        """
        return write_page(run)

    print(parse(rewrite, "report", words))
    return OK
