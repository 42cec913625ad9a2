"""Random splits of a data set into training, validation and test examples."""

import numpy as np
from jaxtyping import Float, UInt8

from jconv.data.dataset import Examples, Source, Splits


def random_splits(
    examples: Examples | Source,
    *,
    validation: float,
    test: float | Examples | Source,
    seed: int | np.random.Generator,
    outputs: int,
    classes: tuple[str, ...] | None = None,
    hidden_kernel: Float[np.ndarray, "..."] | None = None,
) -> Splits:
    """Split examples at random into `Splits`.

    Inputs in memory that are bytes are scaled to [-1, 1].

    Args:
      examples: the examples to split.
      validation: fraction of `examples` to validate on.
      test: fraction of `examples` to test on, or the test examples, if they come separately.
      seed: draws the split.
      outputs: the number of classes, or of channels of a target.
      classes: names of the classes, or None.
      hidden_kernel: the kernel that produced the targets, if the task is to recover one.

    Raises:
      ValueError: if a split would be empty.
    """
    rng = np.random.default_rng(seed)
    if isinstance(test, int | float):
        parts = _random_parts(examples, (validation, test), rng)
    else:
        parts = [*_random_parts(examples, (validation,), rng), test]
    train, validation_part, test_part = map(_scale_bytes, parts)
    return Splits(train, validation_part, test_part, outputs, classes, hidden_kernel)


def scale_pixels(images: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Scale bytes to float32 in [-1, 1]."""
    scaled = images.astype(np.float32)
    scaled /= 127.5
    scaled -= 1
    return scaled


def _random_parts(
    examples: Examples | Source, fractions: tuple[float, ...], rng: np.random.Generator
) -> list[Examples | Source]:
    """Shuffle, then return the training part and one part for each fraction."""
    order = rng.permutation(len(examples))
    sizes = [round(fraction * len(examples)) for fraction in fractions]
    train_size = len(examples) - sum(sizes)
    if min(train_size, *sizes) < 1:
        raise ValueError(
            "`validation` and `test` must leave at least one example in each split. Received: "
            f"fractions {fractions} of {len(examples)} examples. Use larger fractions or more "
            "examples."
        )
    parts = np.split(order, np.cumsum([train_size, *sizes[:-1]]))
    if isinstance(examples, Examples):
        return [examples.take(indices) for indices in parts]
    return [examples.subset(indices) for indices in parts]


def _scale_bytes(part: Examples | Source) -> Examples | Source:
    if isinstance(part, Examples) and part.inputs.dtype == np.uint8:
        return Examples(scale_pixels(part.inputs), part.targets)
    return part
