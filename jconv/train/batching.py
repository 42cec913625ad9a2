"""The batches of a run's steps: indices of examples on the device, or batches that are read."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jconv.data import Examples, Source, batch_indices, stream
from jconv.train.mesh import DeviceMesh

READER_THREADS = 4  # shared by the replicates
PREFETCHED_BATCHES = 8  # shared by the replicates

NextBatches = Callable[[int], tuple[Any, Any]]


def step_indices(
    examples: int, batch_size: int, seeds: Sequence[int], start: int
) -> Iterator[np.ndarray]:
    """Yield the example indices of each step, (batch,) or (replicates, batch), without end.

    Args:
      examples: the number of training examples.
      batch_size: examples in the batch of one replicate.
      seeds: one seed for each replicate.
      start: the number of steps to skip.
    """
    orders = [batch_indices(examples, batch_size, seed=seed, start=start) for seed in seeds]
    return orders[0] if len(orders) == 1 else map(np.stack, zip(*orders, strict=True))


def batches_in_memory(
    train: Examples, order: Iterator[np.ndarray], capacity: int, mesh: DeviceMesh
) -> NextBatches:
    """Return a function that gives the data and indices of the next steps, for `take_steps`.

    Args:
      train: the training examples, which are placed on every device.
      order: the example indices of each step.
      capacity: length of the returned indices, the same in every call.
      mesh: the run's devices.
    """
    data = mesh.replicate((train.inputs, train.targets))

    def next_batches(count: int):
        steps = np.stack([next(order) for _ in range(count)])
        indices = np.zeros((capacity, *steps.shape[1:]), np.int32)
        indices[:count] = steps
        return data, mesh.replicate(indices)

    return next_batches


def batches_from_source(
    train: Source, batch_size: int, seeds: Sequence[int], start: int, mesh: DeviceMesh
) -> NextBatches:
    """Return a function that reads the batch of the next step, for `take_steps`.

    Args:
      train: the training examples.
      batch_size: examples in the batch of one replicate.
      seeds: one seed for each replicate.
      start: the number of steps to skip.
      mesh: the run's devices.
    """
    replicates = len(seeds)
    streams = [
        stream(
            train,
            batch_size,
            seed=seed,
            start=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            num_threads=math.ceil(READER_THREADS / replicates),
            prefetch=math.ceil(PREFETCHED_BATCHES / replicates),
        )
        for seed in seeds
    ]
    indices = np.arange(batch_size * replicates, dtype=np.int32)
    indices = mesh.replicate(indices.reshape(1, *[-1] * (replicates > 1), batch_size))

    def next_batches(_: int):
        parts = [next(reader) for reader in streams]
        batch = Examples(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        return mesh.shard_batch(batch), indices

    return next_batches
