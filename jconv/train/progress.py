"""The progress bar of a run: loss, accuracy, images a second and the time left."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


class Progress:
    """A bar on standard error, from the first step to the last; a context manager.

    Args:
      steps: how many there will be.
      shown: whether to show it.
    """

    def __init__(self, steps: int, *, shown: bool = True):
        self._bar = RichProgress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            expand=True,
            disable=not shown,
        )
        self._task = self._bar.add_task("training", total=steps, figures="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """Moves the bar to `step`."""
        self._bar.update(self._task, completed=step)

    def show(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the newest figures."""
        words = [f"loss {metrics['loss']:.4g}"]
        if "accuracy" in metrics:
            words.append(f"accuracy {metrics['accuracy']:.1%}")
        if "kernel_error" in metrics:
            words.append(f"kernel error {metrics['kernel_error']:.1e}")
        words.append(f"{metrics['images_per_second']:,.0f} images/s")
        self._bar.update(self._task, completed=step, figures="  ".join(words))
