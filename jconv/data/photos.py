"""Patches of photographs, labelled by their photograph or filtered with a hidden kernel.

The photographs are shipped with scikit-image: astronaut (NASA, public domain), coffee and chelsea
(CC0).
"""

import numpy as np
import skimage.color
import skimage.data

from jconv.data.dataset import Examples, Splits
from jconv.data.splitting import random_splits
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
    """Load patches `(n, size, size, channels)` in [-1, 1]; the label is the photograph.

    Patches of different splits may overlap, so the test accuracy is not a benchmark.

    Args:
      patches: the number of patches, cut at random positions of random photographs.
      size: side length of a patch in pixels.
      grey: one channel instead of three.
      validation: fraction of the patches to validate on.
      test: fraction of the patches to test on.
      seed: draws the patches and the split.
    """
    rng = np.random.default_rng(seed)
    photos = [getattr(skimage.data, name)() for name in PHOTOS]
    if grey:
        photos = [np.rint(255 * skimage.color.rgb2gray(photo))[..., None] for photo in photos]
    labels = rng.integers(len(photos), size=patches, dtype=np.int32)
    inputs = np.stack([_random_patch(photos[i], size, rng) for i in labels]).astype(np.uint8)
    return random_splits(
        Examples(inputs, labels),
        validation=validation,
        test=test,
        seed=rng,
        outputs=len(PHOTOS),
        classes=PHOTOS,
    )


def load_filtered_photos(
    kernel: np.ndarray,
    *,
    patches: int = 1024,
    size: int = 32,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Splits:
    """Load grey patches `(n, size, size, 1)` and the same patches filtered with `kernel`.

    Targets are computed without padding. The mean of every patch is removed, and all patches are
    divided by their common standard deviation: contrast identifies a kernel, brightness does not.

    Args:
      kernel: the hidden kernel, of shape (rows, columns).
      patches: the number of patches, cut at random positions of random photographs.
      size: side length of a patch in pixels.
      validation: fraction of the patches to validate on.
      test: fraction of the patches to test on.
      seed: draws the patches and the split.
    """
    rng = np.random.default_rng(seed)
    photos = [skimage.color.rgb2gray(getattr(skimage.data, name)()) for name in PHOTOS]
    inputs = np.stack(
        [_random_patch(photos[rng.integers(len(photos))], size, rng) for _ in range(patches)]
    )
    inputs -= inputs.mean(axis=(1, 2), keepdims=True)
    inputs = (inputs / inputs.std())[..., None].astype(np.float32)
    kernel = np.asarray(kernel, np.float32)[..., None, None]
    targets = np.asarray(conv(inputs, kernel, padding="VALID"))
    return random_splits(
        Examples(inputs, targets),
        validation=validation,
        test=test,
        seed=rng,
        outputs=1,
        hidden_kernel=kernel[..., 0, 0],
    )


def _random_patch(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    row, column = (rng.integers(n - size + 1) for n in photo.shape[:2])
    return photo[row : row + size, column : column + size]
