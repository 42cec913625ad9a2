"""The verbs `train` and `resume`."""

import contextlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from jconv.cli.arguments import parse
from jconv.cli.config_arguments import parse_overrides, split_config_path
from jconv.cli.exit_codes import INTERRUPTED, OK
from jconv.data.safe_io import BadFile
from jconv.report.page import write_page
from jconv.train import RunFailed, TrainConfig, load_config, run_name
from jconv.train import resume as resume_run
from jconv.train import train as train_run
from jconv.train.distributed import is_main_process
from jconv.train.trainer import NonFiniteError


@dataclass(frozen=True)
class TrainArguments:
    """Train a model as a config describes; every value of the config can be overridden here.

    Writes runs/NAME/: the complete config, the environment, metrics.jsonl, TensorBoard logs, the
    learned kernels, checkpoints, summary.json, and report.html, the page to open afterwards.
    Ctrl-C or SIGTERM stops the run early and saves it; `jconv resume` continues it.
    """

    config: Annotated[tyro.conf.AvoidSubcommands[TrainConfig], tyro.conf.arg(name="")]
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace a run of the same name."""
    runs: Path = Path("runs")
    """The folder of all runs."""


def train(arguments: Sequence[str]) -> int:
    """Run `jconv train CONFIG.yaml [--section.field VALUE ...]`."""
    path, rest = split_config_path(arguments, "train", TrainArguments)
    config = load_config(path, TrainConfig, name=run_name(path))
    options = parse_overrides(TrainArguments, f"train {path}", rest, config)
    return _report_result(
        lambda: train_run(options.config, runs=options.runs, overwrite=options.overwrite)
    )


def resume(arguments: Sequence[str]) -> int:
    """Run `jconv resume RUN`."""

    def folder(run: tyro.conf.Positional[Path]) -> Path:
        """Continue an interrupted run from its latest checkpoint.

        On a CPU this reproduces the result of an uninterrupted run bit for bit: parameters,
        optimizer state, metrics and kernel files. A corrupt checkpoint is reported and the
        previous one is used.

        Args:
          run: the folder of the run, such as runs/digits.
        """
        return run

    run = parse(folder, "resume", arguments)
    notify = lambda message: print(f"jconv resume: {message}", file=sys.stderr)
    return _report_result(lambda: resume_run(run, notify=notify))


def _report_result(run_training: Callable[[], tuple[Path, dict]]) -> int:
    """Train, write the report of the run, and print its final metrics.

    Args:
      run_training: trains, and returns the folder of the run and its summary.

    Returns:
      The exit code.
    """
    try:
        run, summary = run_training()
    except RunFailed as error:
        with contextlib.suppress(OSError):  # such as the full disk that made the run fail
            _write_page(error.run)
        reported = _correctable(error)
        if reported is None:
            raise
        raise reported from None
    try:
        page = _write_page(run)
    except OSError as error:
        raise OSError(
            f"the report of {run} was not written: {error}. "
            f"`{shlex.join(['jconv', 'report', str(run)])}` writes it again"
        ) from None
    _print_summary(summary)
    print(f"{'page':14} {page}")
    if summary["status"] == "interrupted":
        print(f"{'continue with':14} {shlex.join(['jconv', 'resume', str(run)])}")
    return INTERRUPTED if summary.get("signal") == "SIGINT" else OK


def _correctable(error: RunFailed) -> Exception | None:
    """Return the message to print instead of a traceback, if the user can correct the cause."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        reported = OSError(str(error))
        reported.errno = cause.errno
        return reported
    return ValueError(str(error)) if isinstance(cause, NonFiniteError | BadFile) else None


def _print_summary(summary: Mapping[str, Any]) -> None:
    for name, digits in (("test_accuracy", ".2%"), ("kernel_error", ".1e")):
        if summary.get(name) is not None:
            error = summary.get(f"{name}_error")  # the standard error, of replicates
            uncertainty = "" if error is None else f" ± {error:{digits}}"
            print(f"{name.replace('_', ' '):14} {summary[name]:{digits}}{uncertainty}")
    print(f"{'training time':14} {summary['seconds']:.1f} s")


def _write_page(run: Path) -> Path:
    """Write the report in the process that writes the run's folder, and return its path."""
    return write_page(run) if is_main_process() else run / "report.html"
