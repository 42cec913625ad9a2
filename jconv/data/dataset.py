"""A data set: three splits, and how one set of examples is cut into such."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from jconv.data.source import Source
from jconv.data.split import Split


@dataclass(frozen=True)
class Splits:
    """A data set.

    Args:
      train: what the model learns from.
      validation: what it is judged by while it learns.
      test: what it is judged by once, at the end.
      outputs: classes, or channels of the targets.
      classes: the classes' names, where they have any.
      hidden_kernel: the kernel to be found, where there is one.
    """

    train: Split | Source
    validation: Split | Source
    test: Split | Source
    outputs: int
    classes: tuple[str, ...] | None = None
    hidden_kernel: Float[np.ndarray, "..."] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train.input_shape


def split_by_share(
    data: Split | Source, shares: tuple[float, ...], rng: np.random.Generator
) -> list[Split | Source]:
    """Shuffles, then cuts into train and, for each of `shares`, one part more."""
    order = rng.permutation(len(data))
    sizes = [round(share * len(data)) for share in shares]
    train = len(data) - sum(sizes)
    if min(train, *sizes) < 1:
        raise ValueError(
            f"`validation` and `test` must leave at least one example to each split. Received: "
            f"shares {shares} of {len(data)} examples. Take larger shares, or more examples."
        )
    cuts = np.split(order, np.cumsum([train, *sizes[:-1]]))
    return [data.take(cut) if isinstance(data, Split) else data.part(cut) for cut in cuts]
