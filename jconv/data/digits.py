"""1,797 handwritten digits of 8x8 pixels, shipped with jconv.

The test set of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998,
CC BY 4.0): 32x32 bitmaps from 13 writers, in which each 4x4 block became one value from 0 to 16.
"""

from pathlib import Path

import numpy as np

from jconv.data.dataset import Examples, Splits
from jconv.data.splitting import random_splits

NUM_CLASSES = 10


def load_digits(*, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Splits:
    """Load the digits as `(n, 8, 8, 1)` in [-1, 1] with labels from 0 to 9, split at random.

    Args:
      validation: fraction of the examples to validate on.
      test: fraction of the examples to test on.
      seed: draws the split; the same seed gives the same split.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as arrays:
        images = arrays["images"][..., None].astype(np.float32) / 8 - 1
        labels = arrays["labels"].astype(np.int32)
    return random_splits(
        Examples(images, labels),
        validation=validation,
        test=test,
        seed=seed,
        outputs=NUM_CLASSES,
    )
