"""Data sets of Hugging Face, from the hub or a folder; needs the package `datasets`."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jconv.data.dataset import Splits, split_by_share
from jconv.data.image_decoding import decode
from jconv.data.labels import checked_labels, scaled_parts
from jconv.data.lazy_images import EncodedImages, Skipping
from jconv.data.safe_io import MEMORY, BadFile, open_file, shown


def load_huggingface(
    path: str,
    *,
    size: tuple[int, int],
    name: str | None = None,
    split: str = "train",
    test_split: str | None = "test",
    image: str = "image",
    label: str = "label",
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    skip_at_most: int = 0,
    memory: int = MEMORY,
) -> Splits:
    """A data set of labelled images, in [-1, 1].

    Args:
      path: its name on the hub, or a folder: one that `save_to_disk` wrote, or of files.
      size: rows and columns, to which images are scaled and cut.
      name: which configuration of it.
      split: what to learn from.
      test_split: what to test on; None to test on a share of `split`.
      image: the column of images.
      label: the column of labels.
      grey: one channel instead of three.
      validation: share of the images to validate on.
      test: share of the images to test on, where there is no `test_split`.
      seed: draws the split.
      skip_at_most: images that may be left out because they cannot be decoded; each is told of.
      memory: bytes that the images may take; where they would take more, they are decoded when
        they are asked for, and the splits are sources.

    Raises:
      BadFile: where it does not hold that.
      ValueError: where `datasets` is missing.
    """
    skipping = Skipping(skip_at_most)

    def images_of(split: str, outputs: int | None) -> EncodedImages:
        table = _table(path, name, split)
        return _images(table, f"{path}, {split!r}", image, label, size, grey, outputs, skipping)

    whole = images_of(split, None)
    rng = np.random.default_rng(seed)
    if test_split is None:
        data = whole.in_memory(memory)
        parts = split_by_share(data, (validation, test), rng)
    else:
        tested = images_of(test_split, whole.outputs)
        # In memory all of them or none, and within it all together.
        left = memory * len(whole) // (len(whole) + len(tested))
        data, tested = whole.in_memory(left), tested.in_memory(memory - left)
        parts = [*split_by_share(data, (validation,), rng), tested]
    return Splits(*scaled_parts(parts), outputs=whole.outputs, classes=whole.classes)


def _table(path: str, name: str | None, split: str) -> Any:
    datasets = _package()
    try:
        if (Path(path) / "dataset_dict.json").exists() or (Path(path) / "state.json").exists():
            found = datasets.load_from_disk(path)
            if isinstance(found, datasets.Dataset):
                found = {str(found.split or "train"): found}
            return found[split]
        return datasets.load_dataset(path, name, split=split)
    except Exception as error:  # of the package, of arrow, of the net
        raise BadFile(
            f"{shown(path)}: must be a data set that `datasets` loads, with a split {split!r}. "
            f"Received: {type(error).__name__}: {shown(str(error)[:500])}."
        ) from error


def _package() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ValueError(
            "`data.kind` 'huggingface' needs the package `datasets`. Received: an environment "
            "without it. Install it with `pip install 'jconv[huggingface]'`."
        ) from error


def _images(
    table: Any, where: str, image: str, label: str, size, grey, outputs, skipping
) -> EncodedImages:
    datasets = _package()
    for key, column in (("image", image), ("label", label)):
        if column not in table.column_names:
            raise BadFile(
                f"{where}: `{key}` must be one of its columns, {table.column_names}. "
                f"Received: {column!r}."
            )
    if not isinstance(table.features[image], datasets.Image):
        raise BadFile(
            f"{where}: column {image!r} must hold images. Received: {table.features[image]}."
        )
    feature = table.features[label]
    classes = tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
    labels = checked_labels(
        np.asarray(table.with_format("numpy")[label]),
        images=len(table),
        classes=len(classes) if classes else outputs,
        where=where,
    )
    # Pillow would decode whatever it is given, in whatever format.
    encoded = table.select_columns([image]).cast_column(image, datasets.Image(decode=False))

    def read(index: int) -> UInt8[np.ndarray, "h w c"]:
        found = encoded[index][image] or {}
        content, path = found.get("bytes"), found.get("path")
        named = f"{where}, row {index}"
        if content is not None:
            return decode(io.BytesIO(content), size=size, grey=grey, path=named)
        if path is None:
            raise BadFile(f"{named}: must hold an image. Received: none.")
        with open_file(Path(path)) as file:
            return decode(file, size=size, grey=grey, path=path)

    return EncodedImages(
        read,
        labels,
        (*size, 1 if grey else 3),
        outputs=len(classes) if classes else outputs or int(labels.max()) + 1,
        classes=classes,
        skipping=skipping,
    )
