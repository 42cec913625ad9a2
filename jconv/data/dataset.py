"""The classes of a data set: examples in memory, sources that read on demand, and the splits."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int, Shaped

Example: TypeAlias = tuple[Float[np.ndarray, "*shape"], Shaped[np.ndarray, "*target"] | np.generic]


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


class Source(ABC):
    """Examples that are read on demand, for data sets that do not fit into memory.

    A subclass defines `__len__`, `__getitem__` and the attributes. Reading an example twice must
    give the same arrays. A `Source` is also a data source of grain (`grain.MapDataset.source`).
    `Examples` has the same `take`, so code that takes batches by their indices works with both.

    Attributes:
      input_shape: the shape of one input.
      outputs: the number of classes, or of channels of a target.
      classes: names of the classes, or None.
    """

    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Example:
        """Return the input of one example, and its target: an array, or a label as `np.int32`."""

    def subset(self, indices: Int[np.ndarray, " k"]) -> "Source":
        """Return a source of the examples at `indices`."""
        return _Subset(self, indices)

    def take(self, indices: Int[np.ndarray, " k"]) -> Examples:
        """Read the examples at `indices` into memory."""
        inputs, targets = zip(*(self[int(i)] for i in indices), strict=True)
        return Examples(np.stack(inputs), np.stack(targets))


class _Subset(Source):
    """Some of the examples of a source."""

    def __init__(self, source: Source, indices: Int[np.ndarray, " k"]):
        self.source = source
        self.indices = indices
        self.input_shape = source.input_shape
        self.outputs = source.outputs
        self.classes = source.classes

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.source[int(self.indices[index])]


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
