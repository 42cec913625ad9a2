"""What a config makes: data, networks, the learner and its state, as they are between two steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.analysis.summary import summarize
from jconv.data import Examples, Source, batch_indices, stream
from jconv.train.augment import augmented
from jconv.train.build import build_data, build_model
from jconv.train.checkpoint import Checkpoints
from jconv.train.config import TrainConfig
from jconv.train.log import kernels_of
from jconv.train.losses import LOSSES
from jconv.train.mesh import Devices
from jconv.train.optimizer import build_rule
from jconv.train.signals import cut_short
from jconv.train.step import Learner, evaluate, first_bad_layer

Figures = dict[str, np.ndarray]  # a number each, or one for each replicate

MOST_AT_ONCE = 256  # steps of one call
READ_BY, READ_AHEAD = 4, 8  # threads and batches, shared by the replicates
EVALUATED_AT_ONCE = 4  # batches: as many passes forward are about a step
LEAST_EVALUATED_AT_ONCE = 64  # examples


class NotFinite(ArithmeticError):
    """A step that was not taken: its loss or gradient is not finite."""


class Training:
    """A run between two of its steps.

    Args:
      config: the run.

    Attributes:
      data: what is learned from, and judged by.
      learner: what stays the same in all steps.
      state: what steps change.
      step: how many were taken.
      seconds: that they took, over all processes that had a part in the run.
      best: the least validation loss so far, and how many evaluations ago it was.
      best_saved: the least validation loss of a checkpoint, and its step.
      unjudged: figures of the last step, where its evaluation was cut short.
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.devices = Devices(config.mesh)
        self.data = build_data(config.data)
        _check_batch_size(config.batch_size, self.data.train)
        self.seeds = [config.seed + i for i in range(config.replicates)]
        models = [self.model(seed) for seed in self.seeds]
        self.network = summarize(models[0], self.data.input_shape)
        self.learner, state = Learner.of(
            models,
            build_rule(config),
            loss=LOSSES[config.loss],
            classes=self.data.outputs,
            augment=config.augment,
            label_smoothing=config.label_smoothing,
            mean_decay=config.ema,
            precision=jnp.dtype(config.precision),
            sharding=self.devices.batch_sharding,
        )
        self.state = self.devices.everywhere(state)
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[float, int] = (np.inf, 0)
        self.best_saved: tuple[float, int] = (np.inf, 0)
        self.unjudged: dict[str, float] | None = None

    def model(self, seed: int) -> nnx.Module:
        """The network of one seed before the first step."""
        return build_model(
            self.config.model, self.data.input_shape, self.data.outputs, nnx.Rngs(seed)
        )

    @cached_property
    def keys(self):
        """Draw what is done to images: of the run, or one for each replicate."""
        keys = [jax.random.key(seed) for seed in self.seeds]
        return self.devices.everywhere(keys[0] if len(keys) == 1 else jnp.stack(keys))

    @property
    def most_at_once(self) -> int:
        """Steps of one call at most: the same in all calls of a run, so that all are one program.

        What is read while the run goes on comes batch by batch.
        """
        if not isinstance(self.data.train, Examples):
            return 1
        return min(MOST_AT_ONCE, self.config.steps, *rhythms(self.config))

    def take_from(self) -> Callable[[int], tuple[Any, Any]]:
        """A function of how many steps come next, which gives what they take their batches from
        and the examples of each: (most, batch), or (most, replicates, batch)."""
        train = self.data.train
        return self._from_memory(train) if isinstance(train, Examples) else self._from_source(train)

    def _from_memory(self, train: Examples):
        examples = self.devices.everywhere((train.inputs, train.targets))
        order = self.order()

        def take(count: int):
            wanted = np.stack([next(order) for _ in range(count)])
            indices = np.zeros((self.most_at_once, *wanted.shape[1:]), np.int32)
            indices[:count] = wanted
            return examples, self.devices.everywhere(indices)

        return take

    def order(self) -> Iterator[np.ndarray]:
        """The examples of each step to come."""
        each = [
            batch_indices(len(self.data.train), self.config.batch_size, seed=seed, start=self.step)
            for seed in self.seeds
        ]
        return each[0] if len(each) == 1 else map(np.stack, zip(*each, strict=True))

    def _from_source(self, train: Source):
        size = self.config.batch_size
        count = len(self.seeds)
        streams = [
            stream(
                train,
                size,
                seed=seed,
                start=self.step,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                num_threads=math.ceil(READ_BY / count),
                prefetch=math.ceil(READ_AHEAD / count),
            )
            for seed in self.seeds
        ]
        order = np.arange(size * count, dtype=np.int32)
        order = self.devices.everywhere(order.reshape(1, *[-1] * (count > 1), size))

        def take(_: int):
            parts = [next(own) for own in streams]
            batch = Examples(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
            return self.devices.spread(batch), order

        return take

    def figures(self, split: Examples | Source, asked: Sequence[int] = ()) -> Figures:
        """Loss over a split; with labels also accuracy, and what was taken for what.

        Raises:
          CutShort: once SIGTERM is among what this process, or another, is `asked`.
        """
        total: Figures = {}
        for start in range(0, len(split), self._evaluated_at_once):
            cut_short(asked)
            found = self._evaluated(split, start)
            for name, value in found.items():
                total[name] = total.get(name, 0) + value.astype(np.float64)
        total["loss"] = total["loss"] / len(split)
        if "right" in total:
            total["accuracy"] = total.pop("right") / len(split)
        return total

    def try_evaluation(self) -> None:
        """Evaluates one part of what validates, which compiles it: what fails does so at once."""
        self._evaluated(self.data.validation, 0)

    @cached_property
    def _evaluated_at_once(self) -> int:
        """Examples of one call: the same for all splits, so that the call is one program, and so
        many that what validates is hardly filled up."""
        most = max(EVALUATED_AT_ONCE * self.config.batch_size, LEAST_EVALUATED_AT_ONCE)
        count, shares = len(self.data.validation), self.config.mesh.data
        even = math.ceil(count / math.ceil(count / most))
        return math.ceil(even / shares) * shares

    def _evaluated(self, split: Examples | Source, start: int) -> Figures:
        """Sums over the examples from `start` on, as many as are evaluated at once."""
        indices = np.arange(start, start + self._evaluated_at_once)
        part = split.take(np.minimum(indices, len(split) - 1))
        real = self.devices.everywhere(indices < len(split))
        arrays = self.devices.everywhere((part.inputs, part.targets))
        return jax.device_get(evaluate(self.learner, self.state, *arrays, real))

    def kernels(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """The network's kernels."""
        # Copies: arrays that NumPy looks into could not be given up to the next step.
        own = jnp.copy if len(self.seeds) == 1 else lambda array: array[replicate]
        found = kernels_of(self.state.parameters)
        return {path: np.asarray(own(kernel)) for path, kernel in found.items()}

    def kernel_error(self) -> Figures:
        """The largest difference between a tap of the learned kernel and of the hidden one."""
        if self.data.hidden_kernel is None:
            return {}
        errors = []
        for i in range(len(self.seeds)):
            (learned,) = self.kernels(i).values()
            errors.append(np.max(np.abs(learned[..., 0, 0] - self.data.hidden_kernel)))
        return {"kernel_error": np.array(errors if len(errors) > 1 else errors[0])}

    def judge(self, validation_loss: float) -> None:
        """Takes note of an evaluation."""
        stopping, (best, ago) = self.config.early_stopping, self.best
        least = stopping.least if stopping else 0.0
        self.best = (validation_loss, 0) if validation_loss < best - least else (best, ago + 1)

    @property
    def stops_early(self) -> bool:
        """Whether the last evaluation was one too many without getting better."""
        stopping = self.config.early_stopping
        return stopping is not None and self.best[1] >= stopping.patience

    @property
    def so_far(self) -> dict[str, float]:
        """What summary.json has of the steps that were taken."""
        found: dict[str, float] = {"steps": self.step, "train_images": len(self.data.train)}
        if self.seconds:
            images = self.step * self.config.batch_size * self.config.replicates
            found["seconds"] = round(self.seconds, 2)
            found["images_per_second"] = round(images / self.seconds, 1)
        return found

    def not_finite(self, step: int) -> NotFinite:
        """The error of a step that was not taken, which names the layer that went bad."""
        self.step = step - 1
        indices = next(iter(self.order()))
        where = "the loss is not finite"
        for i, seed in enumerate(self.seeds):
            state, own = self.state, indices
            if len(self.seeds) > 1:
                state, own = jax.tree.map(lambda a, i=i: a[i], state), indices[i]
            batch = self.data.train.take(own)
            key = jax.random.fold_in(jax.random.key(seed), step)
            inputs, targets = augmented(
                jnp.asarray(batch.inputs),
                jnp.asarray(batch.targets),
                self.config.augment,
                self.data.outputs,
                key,
            )
            where = first_bad_layer(self.learner, state, inputs, targets)
            if "though every" not in where:
                break
        return NotFinite(
            f"step {step} was not taken: {where}. Lower `optimizer.learning_rate`, or look at "
            f"the data; the state before it was saved"
        )

    def checkpoints(self, run: Path) -> Checkpoints:
        """Those in the run's folder."""
        return Checkpoints(run / "checkpoints", keep=self.config.checkpoints.keep)

    @property
    def facts(self) -> dict:
        """What is saved beside the state."""
        best, ago = self.best
        return {
            "config": self.config.model_dump(mode="json"),
            "seconds": round(self.seconds, 2),
            "best": [_or_none(best), ago],
            "best_saved": [_or_none(self.best_saved[0]), self.best_saved[1]],
            "unjudged": self.unjudged,
        }

    def go_on(self, step: int, state, facts: dict) -> None:
        """Brings the run to where it was when it was saved."""
        self.step, self.state, self.seconds = step, state, facts["seconds"]
        self.unjudged = facts["unjudged"]
        self.best, self.best_saved = (
            (np.inf if best is None else best, count)
            for best, count in (facts["best"], facts["best_saved"])
        )


def rhythms(config: TrainConfig) -> tuple[int, ...]:
    """Every so many steps something is looked at, or written."""
    log = config.log
    return log.every, log.evaluate_every, log.kernels_every, config.checkpoints.every


def _check_batch_size(batch_size: int, split: Examples | Source) -> None:
    if batch_size > len(split):
        raise ValueError(
            f"`batch_size` must be at most the number of training examples, {len(split)}. "
            f"Received: batch_size={batch_size}."
        )


def _or_none(number: float) -> float | None:
    """As JSON has no infinity."""
    return number if np.isfinite(number) else None
