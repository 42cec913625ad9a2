"""The progress bar of a run: loss, accuracy, images per second and the remaining time."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressBar:
    """A progress bar on standard error; a context manager.

    Args:
      steps: the number of steps of the run.
      enabled: whether to display the bar.
    """

    def __init__(self, steps: int, *, enabled: bool = True):
        self._progress = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            expand=True,
            disable=not enabled,
        )
        self._task = self._progress.add_task("training", total=steps, metrics="")

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def advance(self, step: int) -> None:
        """Move the bar to `step`."""
        self._progress.update(self._task, completed=step)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar to `step` and display the latest metrics."""
        parts = [f"loss {metrics['loss']:.4g}"]
        if "accuracy" in metrics:
            parts.append(f"accuracy {metrics['accuracy']:.1%}")
        if "kernel_error" in metrics:
            parts.append(f"kernel error {metrics['kernel_error']:.1e}")
        parts.append(f"{metrics['images_per_second']:,.0f} images/s")
        self._progress.update(self._task, completed=step, metrics="  ".join(parts))
