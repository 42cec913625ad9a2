"""The log of a run: metrics by the line, learned kernels by the file, and both for TensorBoard."""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax import nnx
from jaxtyping import Array

from jconv._core.atomic_io import atomically
from jconv.analysis.kernel_images import to_pil_image
from jconv.train.background import Beside
from jconv.train.config import TrainConfig
from jconv.train.run_folder import to_json
from jconv.train.tensorboard import EventFile


class RunLog:
    """Writes into a run's folder; a context manager.

    What is for TensorBoard is drawn and written beside the run.

    Args:
      run: the folder.
      after: the step after which the run goes on; 0 for one that starts.
      writes: whether to; of several processes of one run, the first does.
    """

    def __init__(self, run: Path, after: int = 0, *, writes: bool = True):
        self._writes = writes
        if not writes:
            return
        self._kernels = run / "kernels"
        self._kernels.mkdir(exist_ok=True)
        self._metrics = open(run / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._tensorboard = EventFile(run / "tensorboard", after)
        self._beside = Beside()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        if not self._writes:
            return
        with contextlib.ExitStack() as closing:  # each of them, whatever the others raise
            closing.callback(self._tensorboard.close)
            closing.callback(self._beside.close)
            closing.callback(self._metrics.close)

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one line to metrics.jsonl, which is on disk when this returns."""
        if not self._writes:
            return
        self._metrics.write(to_json({"step": step, **metrics}) + "\n")
        self._metrics.flush()
        self._beside(self._plot, step, dict(metrics))

    def kernels(self, step: int, kernels: Mapping[str, np.ndarray]) -> None:
        """Writes kernels/STEP.npz, and the kernels' pictures and histograms for TensorBoard."""
        if not self._writes:
            return
        with atomically(self._kernels / f"{step:06d}.npz", "wb") as file:
            np.savez(file, **kernels)  # pyright: ignore[reportArgumentType]
        self._beside.wait()  # so that the kernels of one step are kept at most
        self._beside(self._draw, step, kernels)

    def _plot(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):  # TensorBoard would complain otherwise, and draw nothing
                self._tensorboard.scalar(name, value, step)

    def _draw(self, step: int, kernels: Mapping[str, np.ndarray]) -> None:
        for path, kernel in kernels.items():
            self._tensorboard.image(path, to_pil_image(kernel), step)
            if np.isfinite(kernel).all():  # a histogram has no place for anything else
                self._tensorboard.histogram(path, kernel, step)


def kernels_of(parameters: nnx.State) -> dict[str, Array]:
    """The kernels among a network's parameters, by path, such as `blocks.0.branches.1.kernel`."""
    return {
        ".".join(map(str, path)): leaf[...]
        for path, leaf in nnx.to_flat_state(parameters)
        if path[-1] == "kernel"
    }


def spread(figures: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, float]:
    """Figures as they are logged: of replicates the mean, and its standard error, `NAME_error`."""
    line = {}
    for name, values in figures.items():
        values = np.asarray(values, np.float64)
        line[prefix + name] = float(values.mean())
        if values.size > 1:
            line[f"{prefix}{name}_error"] = float(values.std(ddof=1) / np.sqrt(values.size))
    return line


def rewind(run: Path, step: int, config: TrainConfig, *, judged: bool = True) -> None:
    """Brings the log of a run back to what it was after `step`, where the run goes on.

    Without the line of that step, unless it was `judged`.
    """
    metrics = run / "metrics.jsonl"
    if metrics.exists():
        with open(metrics, encoding="utf-8") as file, atomically(metrics) as kept:
            for line in file:
                if not line.endswith("\n") or json.loads(line)["step"] > step - (not judged):
                    break
                kept.write(line)
    for path in (run / "kernels").glob("*"):
        number = int(path.stem) if path.stem.isdigit() else -1
        due = number % config.log.kernels_every == 0 or number == config.steps
        if not (0 <= number <= step and due):
            path.unlink()  # also what Ctrl-C left besides, or a kill half written
