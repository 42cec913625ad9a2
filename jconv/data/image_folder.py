"""Images in a folder with one sub-folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from jconv.data.dataset import Splits
from jconv.data.image_decoding import decode_image
from jconv.data.labels import MAX_CLASSES
from jconv.data.lazy_images import LazyImages, SkipBudget
from jconv.data.safe_io import (
    DEFAULT_MEMORY,
    BadFile,
    check_within,
    list_folder,
    open_file,
    printable,
)
from jconv.data.splitting import random_splits


def load_image_folder(
    folder: Path | str,
    *,
    size: tuple[int, int],
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    max_skipped: int = 0,
    memory: int = DEFAULT_MEMORY,
) -> Splits:
    """Load the PNG and JPEG images of a folder whose sub-folders are the classes, in [-1, 1].

    Args:
      folder: holds one folder per class; hidden files are ignored.
      size: rows and columns to which images are scaled and cropped.
      grey: one channel instead of three.
      validation: fraction of the images to validate on.
      test: fraction of the images to test on.
      seed: draws the split.
      max_skipped: maximum number of images to skip, with a warning, because they cannot be decoded.
      memory: limit of all images in bytes, as float32. If they would exceed it, the splits are
        `Source`s that decode images on demand.

    Raises:
      BadFile: if the folder has another structure, a link leads out of it, or more than
        `max_skipped` images cannot be decoded.
    """
    folder = Path(folder)
    classes, files, labels = _list_images(folder)

    def decode(index: int) -> UInt8[np.ndarray, "h w c"]:
        with open_file(files[index], within=folder) as file:
            return decode_image(file, size=size, grey=grey, path=files[index])

    images = LazyImages(
        decode,
        labels,
        input_shape=(*size, 1 if grey else 3),
        outputs=len(classes),
        classes=classes,
        skip_budget=SkipBudget(max_skipped),
    )
    return random_splits(
        images.load_if_fits(memory),
        validation=validation,
        test=test,
        seed=seed,
        outputs=len(classes),
        classes=classes,
    )


def _list_images(folder: Path) -> tuple[tuple[str, ...], list[Path], Int[np.ndarray, " n"]]:
    """Return the classes, the path of every image, and the label of every image."""
    classes, files, labels = [], [], []
    for entry in list_folder(folder):
        _check_link(entry, folder)
        if not entry.is_dir():
            raise BadFile(
                f"{printable(entry.path)}: must be a folder with the images of one class. "
                "Received: a file. Move it elsewhere."
            )
        images = list_folder(Path(entry.path))
        if not images:
            raise BadFile(
                f"{printable(entry.path)}: must hold images of its class. Received: none. "
                "Remove it."
            )
        for image in images:
            _check_link(image, folder)
            if not image.is_file():
                raise BadFile(
                    f"{printable(image.path)}: must be an image. Received: a folder, pipe or "
                    "device. Move it elsewhere."
                )
            files.append(Path(image.path))
            labels.append(len(classes))
        classes.append(entry.name)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise BadFile(
            f"{printable(folder)}: must hold from 2 to {MAX_CLASSES} folders, one per class. "
            f"Received: {len(classes)}."
        )
    return tuple(classes), files, np.array(labels, np.int32)


def _check_link(entry: os.DirEntry, folder: Path) -> None:
    if entry.is_symlink():
        check_within(entry.path, Path(os.path.realpath(entry.path)), folder)
