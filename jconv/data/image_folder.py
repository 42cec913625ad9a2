"""Images in folders, one for each class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jconv.data.dataset import Splits, split_by_share
from jconv.data.image_decoding import decode
from jconv.data.labels import MOST_CLASSES, scaled_parts
from jconv.data.lazy_images import EncodedImages, Skipping
from jconv.data.safe_io import MEMORY, BadFile, list_folder, open_file, shown


def load_image_folder(
    folder: Path | str,
    *,
    size: tuple[int, int],
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    skip_at_most: int = 0,
    memory: int = MEMORY,
) -> Splits:
    """The PNG and JPEG images of a folder, whose sub-folders are the classes, in [-1, 1].

    Args:
      folder: holds one folder for each class; what begins with a dot is left alone.
      size: rows and columns, to which images are scaled and cut.
      grey: one channel instead of three.
      validation: share of the images to validate on.
      test: share of the images to test on.
      seed: draws the split.
      skip_at_most: images that may be left out because they cannot be decoded; each is told of.
      memory: bytes that all images may take; where they would take more, they are decoded when
        they are asked for, and the splits are sources.

    Raises:
      BadFile: for another folder, a link that leads out of it, and one image too many that cannot
        be decoded.
    """
    folder = Path(folder)
    classes, files, labels = _listed(folder)

    def read(index: int) -> UInt8[np.ndarray, "h w c"]:
        with open_file(files[index], within=folder) as file:
            return decode(file, size=size, grey=grey, path=files[index])

    images = EncodedImages(
        read,
        labels,
        (*size, 1 if grey else 3),
        outputs=len(classes),
        classes=classes,
        skipping=Skipping(skip_at_most),
    )
    data = images.in_memory(memory)
    parts = split_by_share(data, (validation, test), np.random.default_rng(seed))
    return Splits(*scaled_parts(parts), outputs=len(classes), classes=classes)


def _listed(folder: Path) -> tuple[tuple[str, ...], list[Path], np.ndarray]:
    """The classes, every image, and its class."""
    classes, files, labels = [], [], []
    for entry in list_folder(folder):
        if not _within(entry, folder).is_dir():
            raise BadFile(
                f"{shown(entry.path)}: must be a folder of images, one for each class. "
                "Received: a file. Move it away."
            )
        images = list_folder(Path(entry.path))
        if not images:
            raise BadFile(
                f"{shown(entry.path)}: must hold images of its class. Received: none. Remove it."
            )
        for image in images:
            if not _within(image, folder).is_file():
                raise BadFile(
                    f"{shown(image.path)}: must be an image. Received: a folder, pipe or device. "
                    "Move it away."
                )
            files.append(Path(image.path))
            labels.append(len(classes))
        classes.append(entry.name)
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise BadFile(
            f"{shown(folder)}: must hold a folder for each of at least two classes. "
            f"Received: {len(classes)}."
        )
    return tuple(classes), files, np.array(labels, np.int32)


def _within(entry: os.DirEntry, folder: Path) -> os.DirEntry:
    """The same entry, where it is no link that leads out of the folder."""
    if entry.is_symlink():
        real = Path(os.path.realpath(entry.path))
        if not real.is_relative_to(os.path.realpath(folder)):
            raise BadFile(
                f"{shown(entry.path)}: must lie in {shown(folder)}. Received: a link to "
                f"{shown(real)}. Copy it there."
            )
    return entry
