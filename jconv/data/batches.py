"""The order in which a run sees its examples: a pure function of seed and step."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from jaxtyping import Int


def batches(
    examples: int, batch_size: int, *, seed: int, start: int = 0
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yields the indices of each batch, without end, in a new order every epoch.

    Args:
      examples: how many there are.
      batch_size: indices in a batch; at most `examples`.
      seed: draws the orders.
      start: the first step to yield, which a resumed run enters directly.
    """
    per_epoch = examples // batch_size
    epoch, first = divmod(start, per_epoch)
    while True:
        order = _order(examples, seed, epoch)
        for place in range(first, per_epoch):
            yield order[place * batch_size : (place + 1) * batch_size]
        epoch, first = epoch + 1, 0


def batch(examples: int, batch_size: int, *, seed: int, step: int) -> Int[np.ndarray, " batch"]:
    """The indices of the batch of one step.

    The examples left over at the end of an epoch wait for another one, so that all batches have
    one shape.

    Args:
      examples: how many there are.
      batch_size: indices in a batch; at most `examples`.
      seed: draws the orders.
      step: counted from 0 over all epochs.
    """
    epoch, place = divmod(step, examples // batch_size)
    return _order(examples, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=16)  # a few runs side by side, each at the seam of two epochs
def _order(examples: int, seed: int, epoch: int) -> Int[np.ndarray, " examples"]:
    order = np.random.default_rng((seed, epoch)).permutation(examples)
    order.flags.writeable = False  # it is shared by all who ask
    return order
