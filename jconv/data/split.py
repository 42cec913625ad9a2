"""A data set: three splits of inputs and what should come out."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped


class Split(NamedTuple):
    """Inputs and targets, one of each along the first axis."""

    inputs: Float[np.ndarray, "n *shape"]
    targets: Shaped[np.ndarray, "n *target"]

    def __len__(self) -> int:  # of examples, not of fields
        return len(self.inputs)

    def take(self, indices: Int[np.ndarray, " k"]) -> "Split":
        """The examples at `indices`."""
        return Split(self.inputs[indices], self.targets[indices])


@dataclass(frozen=True)
class Splits:
    """A data set.

    Args:
      train: what the model learns from.
      validation: what it is judged by while it learns.
      test: what it is judged by once, at the end.
      outputs: classes, or channels of the targets.
      hidden_kernel: the kernel to be found, where there is one.
    """

    train: Split
    validation: Split
    test: Split
    outputs: int
    hidden_kernel: Float[np.ndarray, "..."] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train.inputs.shape[1:]


def split_by_share(
    data: Split, shares: tuple[float, float], rng: np.random.Generator
) -> tuple[Split, Split, Split]:
    """Shuffles, then cuts into train, validation and test; `shares` are those of the last two."""
    order = rng.permutation(len(data))
    validation, test = (round(share * len(data)) for share in shares)
    train = len(data) - validation - test
    if min(train, validation, test) < 1:
        raise ValueError(
            f"`validation` and `test` must leave at least one example to each split. Received: "
            f"shares {shares} of {len(data)} examples. Take larger shares, or more examples."
        )
    cuts = np.split(order, [train, train + validation])
    first, second, third = (data.take(cut) for cut in cuts)
    return first, second, third
