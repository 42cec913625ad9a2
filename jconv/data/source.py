"""What a run reads examples from: one by one, so that not all have to be in memory at once."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped

from jconv.data.split import Split


class Source(Protocol):
    """Examples that are read when they are asked for; what `grain.MapDataset.source` takes.

    Reading an example twice gives the same numbers. What fits into memory is a `Split` instead,
    which has the same `take`.

    Attributes:
      input_shape: of one input.
      outputs: classes, or channels of the targets.
      classes: their names, where they have any.
    """

    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...] | None

    def __len__(self) -> int: ...

    def __getitem__(
        self, index: int
    ) -> tuple[Float[np.ndarray, "*shape"], Shaped[np.ndarray, "*target"]]:
        """The input and the target of one example."""
        ...

    def part(self, indices: Int[np.ndarray, " k"]) -> Source:
        """A source of the examples at `indices` alone."""
        ...

    def take(self, indices: Int[np.ndarray, " k"]) -> Split:
        """The examples at `indices`, in memory."""
        inputs, targets = zip(*(self[int(i)] for i in indices), strict=True)
        return Split(np.stack(inputs), np.stack(targets))
