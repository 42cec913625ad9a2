"""The log of a run: metrics.jsonl, kernel files, and both for TensorBoard."""

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
from jconv.train.background import BackgroundWorker
from jconv.train.config import TrainConfig
from jconv.train.run_folder import to_json
from jconv.train.tensorboard import EventFile


class RunLog:
    """Writer of a run's metrics and kernels; a context manager.

    A background thread renders and writes the images and histograms for TensorBoard.

    Args:
      run: the run's folder.
      start: the step after which the run continues; 0 for a new run.
      enabled: whether to write; of several processes, only the main one does.
    """

    def __init__(self, run: Path, start: int = 0, *, enabled: bool = True):
        self._enabled = enabled
        if not enabled:
            return
        self._kernels = run / "kernels"
        self._kernels.mkdir(exist_ok=True)
        self._metrics = open(run / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._tensorboard = EventFile(run / "tensorboard", start)
        self._background = BackgroundWorker()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_) -> None:
        if not self._enabled:
            return
        with contextlib.ExitStack() as stack:  # closes all three even if one raises
            stack.callback(self._tensorboard.close)
            stack.callback(self._background.close)
            stack.callback(self._metrics.close)

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line to metrics.jsonl and flush it."""
        if not self._enabled:
            return
        self._metrics.write(to_json({"step": step, **metrics}) + "\n")
        self._metrics.flush()
        self._background.submit(self._add_scalars, step, dict(metrics))

    def kernels(self, step: int, kernels: Mapping[str, np.ndarray]) -> None:
        """Write kernels/STEP.npz, and images and histograms of the kernels for TensorBoard."""
        if not self._enabled:
            return
        with atomically(self._kernels / f"{step:06d}.npz", "wb") as file:
            np.savez(file, **kernels)  # pyright: ignore[reportArgumentType]
        self._background.wait()  # bounds the memory to the kernels of one step
        self._background.submit(self._add_kernels, step, kernels)

    def _add_scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if math.isfinite(value):  # TensorBoard cannot display other values
                self._tensorboard.scalar(name, value, step)

    def _add_kernels(self, step: int, kernels: Mapping[str, np.ndarray]) -> None:
        for path, kernel in kernels.items():
            self._tensorboard.image(path, to_pil_image(kernel), step)
            if np.isfinite(kernel).all():  # a histogram cannot hold other values
                self._tensorboard.histogram(path, kernel, step)


def extract_kernels(params: nnx.State) -> dict[str, Array]:
    """Return the kernels among the parameters by path, such as `blocks.0.branches.1.kernel`."""
    return {
        ".".join(map(str, path)): leaf[...]
        for path, leaf in nnx.to_flat_state(params)
        if path[-1] == "kernel"
    }


def reduce_replicates(metrics: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, float]:
    """Return metrics as they are logged: with replicates, mean and standard error (`NAME_error`).

    Args:
      metrics: a scalar each, or one value for each replicate.
      prefix: text before each name, such as `validation_`.
    """
    line = {}
    for name, values in metrics.items():
        values = np.asarray(values, np.float64)
        line[prefix + name] = float(values.mean())
        if values.size > 1:
            line[f"{prefix}{name}_error"] = float(values.std(ddof=1) / np.sqrt(values.size))
    return line


def rewind(run: Path, step: int, config: TrainConfig, *, keep_step: bool = True) -> None:
    """Remove everything from a run's log that was written after `step`.

    Args:
      run: the run's folder.
      step: the last step that remains.
      config: the run's config.
      keep_step: whether the metrics of `step` itself remain.
    """
    path = run / "metrics.jsonl"
    last = step if keep_step else step - 1
    if path.exists():
        with open(path, encoding="utf-8") as file, atomically(path) as truncated:
            for line in file:
                if not line.endswith("\n") or json.loads(line)["step"] > last:
                    break
                truncated.write(line)
    for path in (run / "kernels").glob("*"):
        number = int(path.stem) if path.stem.isdigit() else -1
        due = number % config.log.kernels_every == 0 or number == config.steps
        if not (0 <= number <= step and due):
            path.unlink()  # of a later step, of an interruption, or partially written
