"""From bytes and class numbers, as files hold them, to what a network learns from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int, Shaped, UInt8

from jconv.data.safe_io import BadFile
from jconv.data.source import Source
from jconv.data.split import Split

MOST_CLASSES = 10**5


def scaled(images: UInt8[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Bytes as numbers from -1 to 1."""
    numbers = images.astype(np.float32)
    numbers /= 127.5
    numbers -= 1
    return numbers


def scaled_parts(parts: Iterable[Split | Source]) -> list[Split | Source]:
    """The same splits; those that hold bytes, as numbers from -1 to 1."""

    def as_numbers(part: Split | Source) -> Split | Source:
        if isinstance(part, Split) and part.inputs.dtype == np.uint8:
            return Split(scaled(part.inputs), part.targets)
        return part

    return [as_numbers(part) for part in parts]


def checked_labels(
    labels: Shaped[np.ndarray, "*shape"], *, images: int, classes: int | None, where: str
) -> Int[np.ndarray, " n"]:
    """Labels as whole numbers of 32 bits, one for each image.

    Args:
      labels: as a file holds them.
      images: how many images there are.
      classes: how many classes; None where the labels decide, and every class must have one then.
      where: the file, as an error names it.

    Raises:
      BadFile: where they are no labels of these images.
    """
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise BadFile(
            f"{where}: labels must be whole numbers, one for each image. Received: "
            f"{labels.dtype} of shape {labels.shape}."
        )
    if len(labels) != images or images == 0:
        raise BadFile(
            f"{where}: there must be images, and a label for each of the {images}. "
            f"Received: {len(labels)} labels. Take files that belong together."
        )
    least, largest = int(labels.min()), int(labels.max())
    most = MOST_CLASSES if classes is None else classes
    if least < 0 or largest >= most:
        bad = np.flatnonzero((labels < 0) | (labels >= most))
        raise BadFile(
            f"{where}: labels must be from 0 to {most - 1}. Received: {labels[bad[0]]}, "
            f"for the image at place {bad[0]}, and {len(bad) - 1} more like it."
        )
    labels = labels.astype(np.int32)
    missing = np.flatnonzero(np.bincount(labels) == 0)
    if classes is None and len(missing):
        raise BadFile(
            f"{where}: every class from 0 to {largest}, the largest label, must have an image. "
            f"Received: none of {', '.join(map(str, missing[:5]))}. Number the classes without "
            "gaps, or say `classes`."
        )
    if classes is None and largest == 0:
        raise BadFile(
            f"{where}: there must be at least two classes. Received: the label 0 for all "
            f"{images} images. Take other labels, or say `classes`."
        )
    return labels
