"""1,797 handwritten digits of 8x8 pixels, shipped with jconv.

The test part of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998,
CC BY 4.0): 32x32 bitmaps by 13 writers, each 4x4 block of which became one value, 0 to 16.
"""

from pathlib import Path

import numpy as np

from jconv.data.dataset import Splits, split_by_share
from jconv.data.split import Split

CLASSES = 10


def load_digits(*, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Splits:
    """The digits as `(n, 8, 8, 1)` in [-1, 1] and their labels, split at random.

    Args:
      validation: share of the examples to validate on.
      test: share of the examples to test on.
      seed: draws the split; the same seed gives the same split.
    """
    with np.load(Path(__file__).with_name("digits.npz")) as stored:
        images = stored["images"][..., None].astype(np.float32) / 8 - 1
        labels = stored["labels"].astype(np.int32)
    parts = split_by_share(Split(images, labels), (validation, test), np.random.default_rng(seed))
    return Splits(*parts, outputs=CLASSES)
