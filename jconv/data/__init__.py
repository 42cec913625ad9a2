"""Data sets, loaded into memory or read on demand, and the order of their batches.

Files are validated before use: sizes before memory is allocated, formats before they are decoded.
No code in a file is run. Every problem is a `ValueError` that names the file and what to do.
"""

from typing import TYPE_CHECKING

from jconv._core.lazy import attach

if TYPE_CHECKING:
    from jconv.data.batches import batch_indices as batch_indices
    from jconv.data.batches import batch_indices_at as batch_indices_at
    from jconv.data.dataset import Examples as Examples
    from jconv.data.dataset import Source as Source
    from jconv.data.dataset import Splits as Splits
    from jconv.data.digits import load_digits as load_digits
    from jconv.data.huggingface import load_huggingface as load_huggingface
    from jconv.data.image_folder import load_image_folder as load_image_folder
    from jconv.data.mnist import load_fashion_mnist as load_fashion_mnist
    from jconv.data.mnist import load_mnist as load_mnist
    from jconv.data.npz import load_npz as load_npz
    from jconv.data.photos import load_filtered_photos as load_filtered_photos
    from jconv.data.photos import load_photos as load_photos
    from jconv.data.safe_io import BadFile as BadFile
    from jconv.data.splitting import random_splits as random_splits
    from jconv.data.stream import stream as stream

# Loaded on first use, so that reports do not need the libraries of models and data sets.
_DEFINED_IN = {
    "BadFile": "jconv.data.safe_io",
    "Examples": "jconv.data.dataset",
    "Source": "jconv.data.dataset",
    "Splits": "jconv.data.dataset",
    "batch_indices": "jconv.data.batches",
    "batch_indices_at": "jconv.data.batches",
    "load_digits": "jconv.data.digits",
    "load_fashion_mnist": "jconv.data.mnist",
    "load_filtered_photos": "jconv.data.photos",
    "load_huggingface": "jconv.data.huggingface",
    "load_image_folder": "jconv.data.image_folder",
    "load_mnist": "jconv.data.mnist",
    "load_npz": "jconv.data.npz",
    "load_photos": "jconv.data.photos",
    "random_splits": "jconv.data.splitting",
    "stream": "jconv.data.stream",
}

__all__ = [*_DEFINED_IN]  # pyright: ignore[reportUnsupportedDunderAll]

__getattr__, __dir__ = attach(__name__, _DEFINED_IN)
