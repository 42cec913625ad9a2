"""The state of a run between two steps: data, networks, and the steps and evaluations on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.analysis.summary import summarize
from jconv.data import Examples, Source
from jconv.train.augment import augment_batch
from jconv.train.batching import (
    NextBatches,
    batches_from_source,
    batches_in_memory,
    step_indices,
)
from jconv.train.build import build_data, build_model
from jconv.train.checkpoint import CheckpointStore
from jconv.train.config import TrainConfig
from jconv.train.log import extract_kernels
from jconv.train.losses import LOSSES
from jconv.train.mesh import DeviceMesh
from jconv.train.nonfinite import UNEXPLAINED, locate_nonfinite
from jconv.train.optimizer import build_optimizer
from jconv.train.signals import raise_on_sigterm
from jconv.train.step import TrainStep, evaluate_batch, take_steps

Metrics = dict[str, np.ndarray]  # a scalar each, or one value for each replicate

MAX_STEPS_PER_CALL = 256
EVAL_BATCHES_PER_CALL = 4  # their forward passes take about as long as one step
MIN_EVAL_BATCH = 64  # examples


class NonFiniteError(ArithmeticError):
    """A step was not taken because its loss or gradient is not finite."""


class Trainer:
    """A run between two of its steps.

    Args:
      config: the run.

    Attributes:
      data: training, validation and test examples.
      network: summary of the network's layers.
      train_step: the constants of the steps.
      state: the arrays that steps change.
      step: number of steps taken.
      seconds: time spent training, over all processes that worked on the run.
      first_call_seconds: time until the first steps of this process were done, with compilation.
      best: the smallest validation loss, and the number of evaluations since.
      best_saved: the smallest validation loss of a saved checkpoint, and its step.
      pending_metrics: training metrics of the last step, while its evaluation is not complete.
      validation_loss: of the last step, if it was evaluated.
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.mesh = DeviceMesh(config.mesh)
        self.data = build_data(config.data)
        _check_batch_size(config.batch_size, self.data.train)
        self.seeds = [config.seed + i for i in range(config.replicates)]
        models = [self.build_model(seed) for seed in self.seeds]
        self.network = summarize(models[0], self.data.input_shape)
        self.train_step, state = TrainStep.create(
            models,
            build_optimizer(config),
            loss=LOSSES[config.loss],
            classes=self.data.outputs,
            augment=config.augment,
            label_smoothing=config.label_smoothing,
            ema_decay=config.ema,
            precision=jnp.dtype(config.precision),
            sharding=self.mesh.batch_sharding,
        )
        self.state = self.mesh.replicate(state)
        self.step = 0
        self.seconds = 0.0
        self.first_call_seconds: float | None = None
        self.best: tuple[float, int] = (np.inf, 0)
        self.best_saved: tuple[float, int] = (np.inf, 0)
        self.pending_metrics: dict[str, float] | None = None
        self.validation_loss: float | None = None

    def build_model(self, seed: int) -> nnx.Module:
        """Return the network with the initial parameters of a seed."""
        return build_model(
            self.config.model, self.data.input_shape, self.data.outputs, nnx.Rngs(seed)
        )

    @cached_property
    def keys(self) -> jax.Array:
        """The random key of the augmentation, or one for each replicate."""
        keys = [jax.random.key(seed) for seed in self.seeds]
        return self.mesh.replicate(keys[0] if len(keys) == 1 else jnp.stack(keys))

    @property
    def max_steps_per_call(self) -> int:
        """The largest number of steps of one call, the same in all calls so they share a program.

        It is 1 for data that are read during the run, which arrive batch by batch.
        """
        if not isinstance(self.data.train, Examples):
            return 1
        return min(MAX_STEPS_PER_CALL, self.config.steps, *intervals(self.config))

    def step_indices(self) -> Iterator[np.ndarray]:
        """Yield the example indices of each step after the current one."""
        return step_indices(
            len(self.data.train), self.config.batch_size, self.seeds, start=self.step
        )

    @cached_property
    def next_batches(self) -> NextBatches:
        """A function of a number of steps, which returns the data and indices of the next ones."""
        train = self.data.train
        if isinstance(train, Examples):
            capacity = self.max_steps_per_call
            return batches_in_memory(train, self.step_indices(), capacity, self.mesh)
        size = self.config.batch_size
        return batches_from_source(train, size, self.seeds, self.step, self.mesh)

    def take_steps(self, count: int) -> Metrics:
        """Take `count` steps in one call and return the metrics of the last one.

        Raises:
          NonFiniteError: if a loss or gradient is not finite; the state is then the one before
            that step.
        """
        data, indices = self.next_batches(count)
        first = np.int32(self.step + 1)
        self.state, metrics, taken = take_steps(
            self.train_step, self.state, data, indices, self.keys, first, np.int32(count)
        )
        metrics = jax.device_get(metrics)
        self.validation_loss = None
        self.step += int(taken)
        if taken < count:
            raise self._non_finite_error()
        return {name: values[count - 1] for name, values in metrics.items()}

    def evaluate(self, split: Examples | Source, signals: Sequence[int] = ()) -> Metrics:
        """Return the loss over a split, and with labels also accuracy and confusion matrix.

        Args:
          split: the examples.
          signals: the signals that this process has received; the list is read after each batch.

        Raises:
          EvaluationInterrupted: if this process or another one has received SIGTERM.
        """
        total: Metrics = {}
        for start in range(0, len(split), self._eval_batch_size):
            raise_on_sigterm(signals)
            for name, value in self._evaluate_from(split, start).items():
                total[name] = total.get(name, 0) + value.astype(np.float64)
        total["loss"] = total["loss"] / len(split)
        if "correct" in total:
            total["accuracy"] = total.pop("correct") / len(split)
        return total

    def compile_evaluation(self) -> None:
        """Evaluate one batch, so that an evaluation that fails does so before the first step."""
        self._evaluate_from(self.data.validation, 0)

    @cached_property
    def _eval_batch_size(self) -> int:
        """Examples in one call: the same for all splits, and with little padding in validation."""
        largest = max(EVAL_BATCHES_PER_CALL * self.config.batch_size, MIN_EVAL_BATCH)
        count, shards = len(self.data.validation), self.config.mesh.data
        even = math.ceil(count / math.ceil(count / largest))
        return math.ceil(even / shards) * shards

    def _evaluate_from(self, split: Examples | Source, start: int) -> Metrics:
        """Return sums over one evaluation batch, which begins at example `start`."""
        indices = np.arange(start, start + self._eval_batch_size)
        part = split.take(np.minimum(indices, len(split) - 1))
        mask = self.mesh.replicate(indices < len(split))
        arrays = self.mesh.replicate((part.inputs, part.targets))
        return jax.device_get(evaluate_batch(self.train_step, self.state, *arrays, mask))

    def kernels(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """Return the network's kernels by parameter path."""
        # Copies, because a buffer that NumPy shares cannot be donated to the next step.
        select = jnp.copy if len(self.seeds) == 1 else lambda array: array[replicate]
        kernels = extract_kernels(self.state.params)
        return {path: np.asarray(select(kernel)) for path, kernel in kernels.items()}

    def kernel_error(self) -> Metrics:
        """Return the largest difference between the taps of the learned and the hidden kernel."""
        if self.data.hidden_kernel is None:
            return {}
        errors = []
        for i in range(len(self.seeds)):
            (learned,) = self.kernels(i).values()
            errors.append(np.max(np.abs(learned[..., 0, 0] - self.data.hidden_kernel)))
        return {"kernel_error": np.array(errors if len(errors) > 1 else errors[0])}

    def update_early_stopping(self, validation_loss: float) -> None:
        """Record the validation loss of the current step."""
        self.validation_loss = validation_loss
        stopping, (best, since) = self.config.early_stopping, self.best
        min_delta = stopping.min_delta if stopping else 0.0
        improved = validation_loss < best - min_delta
        self.best = (validation_loss, 0) if improved else (best, since + 1)

    @property
    def stops_early(self) -> bool:
        """True if `early_stopping.patience` evaluations have passed without an improvement."""
        stopping = self.config.early_stopping
        return stopping is not None and self.best[1] >= stopping.patience

    @property
    def finished(self) -> bool:
        """True if no step and no evaluation remains."""
        done = self.step == self.config.steps or self.stops_early
        return done and self.pending_metrics is None

    @property
    def progress(self) -> dict[str, float]:
        """The entries of summary.json that describe the steps taken so far."""
        progress: dict[str, float] = {"steps": self.step, "train_images": len(self.data.train)}
        if self.seconds:
            images = self.step * self.config.batch_size * self.config.replicates
            progress["seconds"] = round(self.seconds, 2)
            progress["images_per_second"] = round(images / self.seconds, 1)
        if self.first_call_seconds is not None:
            progress["first_call_seconds"] = round(self.first_call_seconds, 2)
        return progress

    def _non_finite_error(self) -> NonFiniteError:
        """Return the error of the step after the current one, with the layer that caused it."""
        indices = next(self.step_indices())
        where = "the loss is not finite"
        for i, seed in enumerate(self.seeds):
            state, examples = self.state, indices
            if len(self.seeds) > 1:
                state, examples = jax.tree.map(lambda a, i=i: a[i], state), indices[i]
            batch = self.data.train.take(examples)
            inputs, targets = augment_batch(
                jnp.asarray(batch.inputs),
                jnp.asarray(batch.targets),
                self.config.augment,
                self.data.outputs,
                jax.random.fold_in(jax.random.key(seed), self.step + 1),
            )
            where = locate_nonfinite(self.train_step, state, inputs, targets)
            if where != UNEXPLAINED:
                break
        return NonFiniteError(
            f"step {self.step + 1} was not taken: {where}. Lower `optimizer.learning_rate`, or "
            f"check the data; the state before the step was saved"
        )

    def open_checkpoints(self, run: Path) -> CheckpointStore:
        """Open the checkpoints in the run's folder."""
        return CheckpointStore(run / "checkpoints", keep=self.config.checkpoints.keep)

    def save(self, checkpoints: CheckpointStore) -> None:
        """Save the current state, unless this step is already saved."""
        if self.validation_loss is not None:
            self.best_saved = min(self.best_saved, (self.validation_loss, self.step))
        checkpoints.save(self.step, self.state, self.metadata, self.best_saved[1])

    @property
    def metadata(self) -> dict:
        """The part of the run's state that is stored as JSON beside the arrays."""
        best, since = self.best
        return {
            "config": self.config.model_dump(mode="json"),
            "seconds": round(self.seconds, 2),
            "best": [_none_if_infinite(best), since],
            "best_saved": [_none_if_infinite(self.best_saved[0]), self.best_saved[1]],
            "pending_metrics": self.pending_metrics,
        }

    def restore(self, step: int, state, metadata: dict) -> None:
        """Continue from a checkpoint.

        Args:
          step: number of steps taken.
          state: the arrays.
          metadata: the metadata saved with them.
        """
        self.step, self.state, self.seconds = step, state, metadata["seconds"]
        self.pending_metrics = metadata["pending_metrics"]
        self.best, self.best_saved = (
            (np.inf if loss is None else loss, count)
            for loss, count in (metadata["best"], metadata["best_saved"])
        )


def intervals(config: TrainConfig) -> tuple[int, ...]:
    """Return the numbers of steps between two log lines, evaluations, kernel files, checkpoints."""
    log = config.log
    return log.every, log.evaluate_every, log.kernels_every, config.checkpoints.every


def _check_batch_size(batch_size: int, split: Examples | Source) -> None:
    if batch_size > len(split):
        raise ValueError(
            f"`batch_size` must be at most the number of training examples, {len(split)}. "
            f"Received: batch_size={batch_size}."
        )


def _none_if_infinite(number: float) -> float | None:
    """Return None for an infinite number, because JSON has no infinity."""
    return number if np.isfinite(number) else None
