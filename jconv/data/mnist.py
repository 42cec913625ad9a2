"""MNIST and its relatives: four IDX files in a folder, 60,000 images to learn from, 10,000 to test.

MNIST: LeCun, Cortes & Burges (1998). Fashion-MNIST: Xiao, Rasul & Vollgraf (2017), MIT; Debian
packages it as `dataset-fashion-mnist`.
"""

import os
from pathlib import Path

import numpy as np

from jconv.data.dataset import Splits, split_by_share
from jconv.data.idx import read_idx
from jconv.data.labels import checked_labels, scaled_parts
from jconv.data.safe_io import MEMORY, BadFile, shown
from jconv.data.split import Split

DIGITS = tuple("0123456789")
CLOTHES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip
FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load_mnist(
    folder: Path | str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    memory: int = MEMORY,
    classes: tuple[str, ...] = DIGITS,
    install: str = "Download the four files of the data set into it.",
) -> Splits:
    """Images `(n, 28, 28, 1)` in [-1, 1], or of another size, and their labels.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, each
        as it is or packed as .gz.
      validation: share of the training images to validate on.
      seed: draws which.
      memory: bytes that the images may take.
      classes: their names.
      install: what to do where the folder or a file is missing.
    """
    folder = Path(folder)
    # A byte of the file is a number of four bytes afterwards.
    train = _part(folder, "train", len(classes), memory // 4, install)
    test = _part(folder, "t10k", len(classes), memory // 4 - train.inputs.nbytes, install)
    if train.input_shape != test.input_shape:
        raise BadFile(
            f"{shown(folder)}: images to learn from and to test on must have one size. Received: "
            f"{train.input_shape[:2]} and {test.input_shape[:2]}."
        )
    parts = split_by_share(train, (validation,), np.random.default_rng(seed))
    return Splits(*scaled_parts([*parts, test]), outputs=len(classes), classes=classes)


def load_fashion_mnist(folder: Path | str = FASHION_FOLDER, **options) -> Splits:
    """Fashion-MNIST: clothes of ten kinds, in grey; `options` as of `load_mnist`."""
    install = "Install it with `apt-get install dataset-fashion-mnist`, or name another `folder`."
    return load_mnist(folder, classes=CLOTHES, install=install, **options)


def _part(folder: Path, name: str, classes: int, most: int, install: str) -> Split:
    path = _find(folder, f"{name}-images-idx3-ubyte", install)
    images = read_idx(path, rank=3, most=most, within=folder)
    path = _find(folder, f"{name}-labels-idx1-ubyte", install)
    labels = read_idx(path, rank=1, most=most, within=folder)
    labels = checked_labels(labels, images=len(images), classes=classes, where=shown(path))
    return Split(images[..., None], labels)


def _find(folder: Path, name: str, install: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if os.path.lexists(path):
            return path
    raise BadFile(f"{shown(folder)}: must hold {name} or {name}.gz. Received: neither. {install}")
