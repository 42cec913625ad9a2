"""A run from its config to its summary: `train` starts one, `resume` continues one."""

import contextlib
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jconv._core.atomic_io import atomically
from jconv.train import run_folder
from jconv.train.checkpoint import NoCheckpoint
from jconv.train.config import TrainConfig
from jconv.train.config.loading import load_config
from jconv.train.distributed import (
    barrier,
    initialize_distributed,
    is_main_process,
    raise_on_all_processes,
)
from jconv.train.log import RunLog, reduce_replicates, rewind
from jconv.train.progress import ProgressBar
from jconv.train.signals import EvaluationInterrupted, handle_signals
from jconv.train.step import clear_cache
from jconv.train.step_loop import StepLoop
from jconv.train.trainer import Trainer


class RunFailed(RuntimeError):
    """An error ended a run; its folder `run` holds what was logged before."""

    def __init__(self, run: Path, error: str):
        super().__init__(f"{error}. What was logged until then is in {run}.")
        self.run = run


def train(
    config: TrainConfig, *, runs: Path | str = "runs", overwrite: bool = False
) -> tuple[Path, dict]:
    """Train the model of a config and write the run's folder, `runs/NAME`.

    Ctrl-C or SIGTERM stops the run within about a second, with everything logged and the state
    saved; `resume` continues it. On SIGTERM an evaluation in progress is abandoned, and the final
    metrics are left to `resume`. A second Ctrl-C stops at once.

    Args:
      config: the run.
      runs: the folder in which the run's folder is created.
      overwrite: replace an existing run of that name.

    Returns:
      The run's folder and the content of its summary.json.

    Raises:
      RunExists: if a run of that name exists; it is left unchanged.
      RunBusy: if another process is writing to the folder.
      ValueError: if the config does not fit the data; no folder is created.
      RunFailed: if an error occurs after the folder was created.
    """
    initialize_distributed(config.distributed)
    run = Path(runs) / config.name
    with raise_on_all_processes():
        if is_main_process():
            run_folder.check_free(run, overwrite=overwrite)
        trainer = Trainer(config)
    with contextlib.ExitStack() as stack:
        with raise_on_all_processes():
            stack.enter_context(run_folder.create(run, config, overwrite=overwrite))
        return run, _run(trainer, run)


def resume(run: Path | str, *, notify: Callable[[str], None] = warnings.warn) -> tuple[Path, dict]:
    """Continue an interrupted run from its newest checkpoint.

    On a CPU it reproduces the uninterrupted run bit for bit: parameters, optimizer state, metrics
    and kernel files.

    Args:
      run: the run's folder.
      notify: called with a sentence for each corrupt checkpoint, and with the step from which the
        run continues.

    Returns:
      The run's folder and the content of its summary.json.

    Raises:
      ValueError: if there is no run in the folder, it is finished, or its config.yaml has changed.
      RunBusy: if another process is writing to the folder.
      RunFailed: if an error occurs after the state was restored.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise ValueError(
            f"`RUN` must be the folder of a run. Received: {run}, without config.yaml."
        )
    config = load_config(run / "config.yaml", TrainConfig)
    initialize_distributed(config.distributed)
    with contextlib.ExitStack() as stack:
        with raise_on_all_processes():
            stack.enter_context(run_folder.locked(run))
            if run_folder.status(run) == "finished":
                raise ValueError(f"{run} is finished: no step remains to be taken.")
            trainer = Trainer(config)
        with trainer.open_checkpoints(run) as checkpoints, contextlib.suppress(NoCheckpoint):
            step, state, metadata = checkpoints.restore_newest(
                trainer.state,
                notify,
                check=lambda saved: run_folder.check_same_config(config, saved["config"], run),
            )
            trainer.restore(step, state, metadata)
        notify(f"continues after step {trainer.step} of {config.steps}")
        if is_main_process():
            rewind(run, trainer.step, config, keep_step=trainer.pending_metrics is None)
        barrier("log rewound")
        return run, _run(trainer, run)


def _run(trainer: Trainer, run: Path) -> dict:
    """Take the remaining steps and write summary.json, also if an error ends the run."""
    summary: dict[str, Any] = {"status": "failed"}
    try:
        summary |= _train_and_evaluate(trainer, run)
        summary = _complete(summary, trainer)
        run_folder.write_json(run / "summary.json", summary)
        return summary
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            summary["status"] = "interrupted"
        else:
            summary |= {"status": "failed", "error": f"{type(error).__name__}: {error}"}
        # The original error matters more than a summary that a full disk does not take.
        with contextlib.suppress(OSError):
            run_folder.write_json(run / "summary.json", _complete(summary, trainer))
        if isinstance(error, Exception):
            raise RunFailed(run, summary["error"]) from error
        raise
    finally:
        clear_cache()


def _complete(summary: dict, trainer: Trainer) -> dict:
    steps = {**trainer.progress, "parameters": trainer.network.parameters}
    return {"status": summary["status"], **steps, **summary}


def _train_and_evaluate(trainer: Trainer, run: Path) -> dict:
    """Take the remaining steps and return the outcome and the final metrics."""
    run_folder.write_json(run / "layers.json", trainer.network.as_rows())
    if trainer.data.hidden_kernel is not None and is_main_process():
        with atomically(run / "target.npz", "wb") as file:
            np.savez(file, kernel=trainer.data.hidden_kernel)
    with handle_signals() as signals:
        with (
            RunLog(run, trainer.step, enabled=is_main_process()) as log,
            trainer.open_checkpoints(run) as checkpoints,
            ProgressBar(trainer.config.steps, enabled=is_main_process()) as bar,
        ):
            received = StepLoop(trainer, log, checkpoints, bar, signals).run()
        metrics = {}
        if signal.SIGTERM not in received:
            try:
                metrics = _final_metrics(trainer, signals)
            except EvaluationInterrupted:
                received = [signal.SIGTERM]
    if received:
        return metrics | {
            "status": "interrupted",
            "signal": signal.Signals(received[-1]).name,
        }
    if trainer.step < trainer.config.steps:
        metrics["stopped_early"] = True
    return metrics | {"status": "finished"}


def _final_metrics(trainer: Trainer, signals: list[int]) -> dict[str, Any]:
    """Return the metrics of summary.json on the validation and test examples.

    Raises:
      EvaluationInterrupted: if a process receives SIGTERM.
    """
    data = trainer.data
    summary: dict[str, Any] = {
        "validation_images": len(data.validation),
        "test_images": len(data.test),
    }
    validation = trainer.evaluate(data.validation, signals)
    validation.pop("confusion", None)
    test = trainer.evaluate(data.test, signals)
    confusion = test.pop("confusion", None)
    summary |= reduce_replicates(validation, "validation_")
    summary |= reduce_replicates(test, "test_")
    summary |= reduce_replicates(trainer.kernel_error())
    if confusion is not None:
        total = confusion.reshape(-1, *confusion.shape[-2:]).sum(0)  # over replicates
        summary["test_confusion"] = total.astype(int).tolist()
    if data.classes is not None:
        summary["classes"] = list(data.classes)
    return summary
