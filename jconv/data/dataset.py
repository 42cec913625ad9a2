"""The classes of a data set: examples in memory, sources that read on demand, and the splits."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped


class Examples(NamedTuple):
    """Inputs and targets in memory, stacked along the first axis.

    Attributes:
      inputs: one input per example.
      targets: one target per example: a class label, or an array.
    """

    inputs: Shaped[np.ndarray, "n *shape"]
    targets: Shaped[np.ndarray, "n *target"]

    def __len__(self) -> int:
        """Return the number of examples, not the number of fields."""
        return len(self.inputs)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.inputs.shape[1:]

    def take(self, indices: Int[np.ndarray, " k"]) -> "Examples":
        """Return the examples at `indices`."""
        return Examples(self.inputs[indices], self.targets[indices])


class Source(Protocol):
    """Examples that are read on demand, for data sets that do not fit into memory.

    Reading an example twice must give the same arrays. A `Source` is also a data source of grain
    (`grain.MapDataset.source`). `Examples` has the same `take`, so code that takes batches by their
    indices works with both.

    Attributes:
      input_shape: the shape of one input.
      outputs: the number of classes, or of channels of a target.
      classes: names of the classes, or None.
    """

    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...] | None

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(
        self, index: int
    ) -> tuple[Float[np.ndarray, "*shape"], Shaped[np.ndarray, "*target"]]:
        """Return the input and the target of one example."""
        ...

    def subset(self, indices: Int[np.ndarray, " k"]) -> "Source":
        """Return a source of the examples at `indices`."""
        ...

    def take(self, indices: Int[np.ndarray, " k"]) -> Examples:
        """Read the examples at `indices` into memory."""
        inputs, targets = zip(*(self[int(i)] for i in indices), strict=True)
        return Examples(np.stack(inputs), np.stack(targets))


@dataclass(frozen=True)
class Splits:
    """A data set, split into training, validation and test examples.

    Args:
      train: examples to train on.
      validation: examples to evaluate during training.
      test: examples to evaluate once, after training.
      outputs: the number of classes, or of channels of a target.
      classes: names of the classes, or None.
      hidden_kernel: the kernel that produced the targets, if the task is to recover one.
    """

    train: Examples | Source
    validation: Examples | Source
    test: Examples | Source
    outputs: int
    classes: tuple[str, ...] | None = None
    hidden_kernel: Float[np.ndarray, "..."] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train.input_shape
