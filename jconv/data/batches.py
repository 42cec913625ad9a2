"""The order in which training visits the examples: a pure function of seed and step."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Int


def batch_indices(
    num_examples: int, batch_size: int, *, seed: int, start: int = 0
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yield the example indices of each batch, without end, in a new order every epoch.

    Args:
      num_examples: the number of examples.
      batch_size: indices per batch; at most `num_examples`.
      seed: draws the order of each epoch.
      start: the first step to yield; a resumed run starts there directly.
    """
    batches_per_epoch = num_examples // batch_size
    epoch, first = divmod(start, batches_per_epoch)
    while True:
        order = _epoch_order(num_examples, seed, epoch)
        for i in range(first, batches_per_epoch):
            yield order[i * batch_size : (i + 1) * batch_size]
        epoch, first = epoch + 1, 0


def batch_indices_at(
    num_examples: int, batch_size: int, *, seed: int, step: int
) -> Int[np.ndarray, " batch"]:
    """Return the example indices of the batch of one step.

    All batches have the same size: the examples left over at the end of an epoch are not used in
    that epoch.

    Args:
      num_examples: the number of examples.
      batch_size: indices per batch; at most `num_examples`.
      seed: draws the order of each epoch.
      step: the step, counted from 0 over all epochs.
    """
    epoch, i = divmod(step, num_examples // batch_size)
    return _epoch_order(num_examples, seed, epoch)[i * batch_size : (i + 1) * batch_size]


@lru_cache(maxsize=16)  # enough for several replicates, each at the boundary of two epochs
def _epoch_order(num_examples: int, seed: int, epoch: int) -> Int[np.ndarray, " num_examples"]:
    order = np.random.default_rng((seed, epoch)).permutation(num_examples)
    order.flags.writeable = False  # all callers share the cached array
    return order
