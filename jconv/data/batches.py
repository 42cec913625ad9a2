"""The order in which a run sees its examples: a pure function of seed and step."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int


def batches(
    examples: int, batch_size: int, *, seed: int, start: int = 0
) -> Iterator[Int[np.ndarray, " batch"]]:
    """Yields the indices of each batch, without end, in a new order every epoch.

    The examples left over at the end of an epoch wait for another one, so that all batches have
    one shape. Step `start` can be entered directly, which a resumed run does.

    Args:
      examples: how many there are.
      batch_size: indices in a batch; at most `examples`.
      seed: draws the orders.
      start: the first step to yield.
    """
    per_epoch = examples // batch_size
    step = start
    while True:
        epoch, first = divmod(step, per_epoch)
        order = np.random.default_rng((seed, epoch)).permutation(examples)
        for place in range(first, per_epoch):
            yield order[place * batch_size : (place + 1) * batch_size]
            step += 1
