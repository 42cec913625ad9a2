"""Checks of the class labels of a file."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Shaped

from jconv.data.safe_io import BadFile

MAX_CLASSES = 10**5


def check_labels(
    labels: Shaped[np.ndarray, "*shape"], *, num_images: int, num_classes: int | None, where: str
) -> Int[np.ndarray, " n"]:
    """Return labels as int32 after checking that they are labels of these images.

    Args:
      labels: the array as stored in the file.
      num_images: the number of images.
      num_classes: the number of classes. None takes it from the labels; every class must then have
        an image.
      where: the file, as error messages name it.

    Raises:
      BadFile: if they are not integers, not one per image, or out of range.
    """
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise BadFile(
            f"{where}: labels must be integers, one for each image. Received: "
            f"{labels.dtype} of shape {labels.shape}."
        )
    if len(labels) != num_images or num_images == 0:
        raise BadFile(
            f"{where}: there must be images, and one label for each of the {num_images}. "
            f"Received: {len(labels)} labels. Use files that belong together."
        )
    smallest, largest = int(labels.min()), int(labels.max())
    limit = MAX_CLASSES if num_classes is None else num_classes
    if smallest < 0 or largest >= limit:
        invalid = np.flatnonzero((labels < 0) | (labels >= limit))
        raise BadFile(
            f"{where}: labels must be from 0 to {limit - 1}. Received: {labels[invalid[0]]}, "
            f"for the image at index {invalid[0]}, and {len(invalid) - 1} more out of range."
        )
    labels = labels.astype(np.int32)
    missing = np.flatnonzero(np.bincount(labels) == 0)
    if num_classes is None and len(missing):
        raise BadFile(
            f"{where}: every class from 0 to {largest}, the largest label, must have an image. "
            f"Received: none of {', '.join(map(str, missing[:5]))}. Number the classes without "
            "gaps; for an .npz file, `num_classes` allows them."
        )
    if num_classes is None and largest == 0:
        raise BadFile(
            f"{where}: there must be at least two classes. Received: the label 0 for all "
            f"{num_images} images. Use other labels; for an .npz file, `num_classes` allows these."
        )
    return labels
