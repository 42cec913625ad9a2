"""MNIST and similar data sets: four IDX files, with 60,000 training and 10,000 test images.

MNIST: LeCun, Cortes & Burges (1998). Fashion-MNIST: Xiao, Rasul & Vollgraf (2017), MIT; Debian
packages it as `dataset-fashion-mnist`.
"""

import os
from pathlib import Path

from jconv.data.dataset import Examples, Splits
from jconv.data.idx import read_idx
from jconv.data.labels import check_labels
from jconv.data.safe_io import DEFAULT_MEMORY, BadFile, printable
from jconv.data.splitting import random_splits

MNIST_CLASSES = tuple("0123456789")
FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip
FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")


def load_mnist(
    folder: Path | str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    memory: int = DEFAULT_MEMORY,
    classes: tuple[str, ...] = MNIST_CLASSES,
) -> Splits:
    """Load MNIST, or a data set in the same files: images in [-1, 1] and labels.

    MNIST's images have shape `(n, 28, 28, 1)`; other sizes are accepted.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte, each as it is or compressed as .gz.
      validation: fraction of the training images to validate on.
      seed: draws the validation images.
      memory: limit of the images in bytes, as float32.
      classes: names of the classes.

    Raises:
      BadFile: if a file is missing or malformed, or the images exceed `memory`.
    """
    missing = "Download the four files of the data set into it."
    return _load_idx_folder(Path(folder), classes, missing, validation, seed, memory)


def load_fashion_mnist(
    folder: Path | str = FASHION_MNIST_FOLDER,
    *,
    validation: float = 0.1,
    seed: int = 0,
    memory: int = DEFAULT_MEMORY,
) -> Splits:
    """Load Fashion-MNIST: `(n, 28, 28, 1)` grey images of ten kinds of clothes, in [-1, 1].

    Args:
      folder: holds the four files of `load_mnist`; by default where Debian's package puts them.
      validation: fraction of the training images to validate on.
      seed: draws the validation images.
      memory: limit of the images in bytes, as float32.

    Raises:
      BadFile: if a file is missing or malformed, or the images exceed `memory`.
    """
    missing = "Run `apt-get install dataset-fashion-mnist`, or set another `folder`."
    return _load_idx_folder(Path(folder), FASHION_MNIST_CLASSES, missing, validation, seed, memory)


def _load_idx_folder(
    folder: Path,
    classes: tuple[str, ...],
    missing: str,
    validation: float,
    seed: int,
    memory: int,
) -> Splits:
    """Load the four files; `missing` is the advice if one is not there."""

    def load(part: str, max_bytes: int) -> Examples:
        path = _find(folder, f"{part}-images-idx3-ubyte", missing)
        images = read_idx(path, rank=3, max_bytes=max_bytes, within=folder)
        path = _find(folder, f"{part}-labels-idx1-ubyte", missing)
        labels = read_idx(path, rank=1, max_bytes=max_bytes, within=folder)
        labels = check_labels(
            labels, num_images=len(images), num_classes=len(classes), where=printable(path)
        )
        return Examples(images[..., None], labels)

    max_bytes = memory // 4  # each byte becomes a float32
    train = load("train", max_bytes)
    test = load("t10k", max_bytes - train.inputs.nbytes)
    if train.input_shape != test.input_shape:
        raise BadFile(
            f"{printable(folder)}: training and test images must have the same size. Received: "
            f"{train.input_shape[:2]} and {test.input_shape[:2]}."
        )
    return random_splits(
        train,
        validation=validation,
        test=test,
        seed=seed,
        outputs=len(classes),
        classes=classes,
    )


def _find(folder: Path, name: str, missing: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if os.path.lexists(path):
            return path
    raise BadFile(
        f"{printable(folder)}: must hold {name} or {name}.gz. Received: neither. {missing}"
    )
