"""Examples that are in memory."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped


class Split(NamedTuple):
    """Inputs and targets, one of each along the first axis."""

    inputs: Shaped[np.ndarray, "n *shape"]
    targets: Shaped[np.ndarray, "n *target"]

    def __len__(self) -> int:  # of examples, not of fields
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.inputs.shape[1:]

    def take(self, indices: Int[np.ndarray, " k"]) -> "Split":
        """The examples at `indices`."""
        return Split(self.inputs[indices], self.targets[indices])
