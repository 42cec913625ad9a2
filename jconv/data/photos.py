"""Patches of photographs: which one they are from, or what a hidden kernel makes of them.

The photographs are those that scikit-image ships: astronaut (NASA, public domain), coffee and
chelsea (CC0).
"""

import numpy as np
import skimage.color
import skimage.data

from jconv.data.dataset import Splits, split_by_share
from jconv.data.labels import scaled_parts
from jconv.data.split import Split
from jconv.functional.conv import conv

PHOTOS = ("astronaut", "coffee", "chelsea")


def load_photos(
    *,
    patches: int = 3000,
    size: int = 32,
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Patches `(n, size, size, channels)` in [-1, 1], and which photograph each was cut from.

    Patches of different splits may overlap: it is an exercise, and no benchmark.

    Args:
      patches: how many, cut at random places of random photographs.
      size: pixels of a patch's side.
      grey: one channel instead of three.
      validation: share of the patches to validate on.
      test: share of the patches to test on.
      seed: draws places and split.
    """
    rng = np.random.default_rng(seed)
    photos = [getattr(skimage.data, name)() for name in PHOTOS]
    if grey:
        photos = [np.rint(255 * skimage.color.rgb2gray(photo))[..., None] for photo in photos]
    labels = rng.integers(len(photos), size=patches, dtype=np.int32)
    inputs = np.stack([_patch(photos[label], size, rng) for label in labels]).astype(np.uint8)
    parts = split_by_share(Split(inputs, labels), (validation, test), rng)
    return Splits(*scaled_parts(parts), outputs=len(PHOTOS), classes=PHOTOS)


def load_filtered_photos(
    kernel: np.ndarray,
    *,
    patches: int = 1024,
    size: int = 32,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Grey patches `(n, size, size, 1)` and the same filtered, without padding.

    Every patch has its mean taken away, and all are divided by one standard deviation: what is
    left is contrast, which is what a kernel is seen by.

    Args:
      kernel: the hidden kernel, (rows, columns).
      patches: how many, cut at random places of random photographs.
      size: pixels of a patch's side.
      validation: share of the patches to validate on.
      test: share of the patches to test on.
      seed: draws places and split.
    """
    rng = np.random.default_rng(seed)
    photos = [skimage.color.rgb2gray(getattr(skimage.data, name)()) for name in PHOTOS]
    inputs = np.stack(
        [_patch(photos[rng.integers(len(photos))], size, rng) for _ in range(patches)]
    )
    inputs -= inputs.mean(axis=(1, 2), keepdims=True)
    inputs = (inputs / inputs.std())[..., None].astype(np.float32)
    kernel = np.asarray(kernel, np.float32)[..., None, None]
    targets = np.asarray(conv(inputs, kernel, padding="VALID"))
    parts = split_by_share(Split(inputs, targets), (validation, test), rng)
    return Splits(*parts, outputs=1, hidden_kernel=kernel[..., 0, 0])


def _patch(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    row, column = (rng.integers(n - size + 1) for n in photo.shape[:2])
    return photo[row : row + size, column : column + size]
