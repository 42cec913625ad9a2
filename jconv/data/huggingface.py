"""Data sets of Hugging Face, from the hub or a folder; needs the package `datasets`."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jconv.data.dataset import Splits
from jconv.data.image_decoding import decode_image
from jconv.data.labels import check_labels
from jconv.data.lazy_images import LazyImages, SkipBudget
from jconv.data.safe_io import DEFAULT_MEMORY, BadFile, open_file, printable
from jconv.data.splitting import random_splits


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
    max_skipped: int = 0,
    memory: int = DEFAULT_MEMORY,
) -> Splits:
    """Load a data set of labelled images, in [-1, 1].

    Args:
      path: its name on the hub, a folder that `save_to_disk` wrote, or a folder of data files.
      size: rows and columns to which images are scaled and cropped.
      name: the configuration of the data set, if it has several.
      split: the split to train on.
      test_split: the split to test on; None to test on a fraction of `split`.
      image: the column of images.
      label: the column of labels.
      grey: one channel instead of three.
      validation: fraction of `split` to validate on.
      test: fraction of `split` to test on, if `test_split` is None.
      seed: draws the split.
      max_skipped: maximum number of images to skip, with a warning, because they cannot be decoded.
      memory: limit of all images in bytes, as float32. If they would exceed it, the splits are
        `Source`s that decode images on demand.

    Raises:
      BadFile: if `datasets` cannot load it, a split or column is missing, labels are invalid, or
        more than `max_skipped` images cannot be decoded.
      ValueError: if `datasets` is not installed.
    """
    skip_budget = SkipBudget(max_skipped)

    def load(split_name: str, num_classes: int | None) -> LazyImages:
        table = _load_table(path, name, split_name)
        where = f"{path}, {split_name!r}"
        _check_columns(table, image, label, where)
        feature = table.features[label]
        has_names = isinstance(feature, _import_datasets().ClassLabel)
        classes = tuple(feature.names) if has_names else None
        num_classes = len(classes) if classes else num_classes
        labels = check_labels(
            np.asarray(table.with_format("numpy")[label]),
            num_images=len(table),
            num_classes=num_classes,
            where=where,
        )
        return LazyImages(
            _decoder(table, image, size, grey, where),
            labels,
            input_shape=(*size, 1 if grey else 3),
            outputs=num_classes or int(labels.max()) + 1,
            classes=classes,
            skip_budget=skip_budget,
        )

    train_images = load(split, None)
    if test_split is None:
        examples = train_images.load_if_fits(memory)
        test_part = test
    else:
        test_images = load(test_split, train_images.outputs)
        # In proportion to their sizes: either both fit into memory, or neither does.
        count = len(train_images) + len(test_images)
        train_memory = memory * len(train_images) // count
        examples = train_images.load_if_fits(train_memory)
        test_part = test_images.load_if_fits(memory - train_memory)
    return random_splits(
        examples,
        validation=validation,
        test=test_part,
        seed=seed,
        outputs=train_images.outputs,
        classes=train_images.classes,
    )


def _import_datasets() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise ValueError(
            "`data.kind` 'huggingface' needs the package `datasets`. Received: an environment "
            "without it. Install it with `pip install 'jconv[huggingface]'`."
        ) from error


def _load_table(path: str, name: str | None, split: str) -> Any:
    datasets = _import_datasets()
    try:
        if (Path(path) / "dataset_dict.json").exists() or (Path(path) / "state.json").exists():
            saved = datasets.load_from_disk(path)
            if isinstance(saved, datasets.Dataset):
                saved = {str(saved.split or "train"): saved}
            return saved[split]
        return datasets.load_dataset(path, name, split=split)
    except Exception as error:  # of `datasets`, pyarrow or the network
        raise BadFile(
            f"{printable(path)}: must be a data set that `datasets` loads, with a split {split!r}. "
            f"Received: {type(error).__name__}: {printable(str(error)[:500])}."
        ) from error


def _check_columns(table: Any, image: str, label: str, where: str) -> None:
    for option, column in (("image", image), ("label", label)):
        if column not in table.column_names:
            raise BadFile(
                f"{where}: `{option}` must be one of its columns, {table.column_names}. "
                f"Received: {column!r}."
            )
    if not isinstance(table.features[image], _import_datasets().Image):
        raise BadFile(
            f"{where}: column {image!r} must hold images. Received: {table.features[image]}."
        )


def _decoder(
    table: Any, image: str, size: tuple[int, int], grey: bool, where: str
) -> Callable[[int], UInt8[np.ndarray, "h w c"]]:
    """Return a function that decodes the image of a row."""
    # `datasets` would decode any format that Pillow supports.
    undecoded = _import_datasets().Image(decode=False)
    encoded = table.select_columns([image]).cast_column(image, undecoded)

    def decode(index: int) -> UInt8[np.ndarray, "h w c"]:
        cell = encoded[index][image] or {}
        content, path = cell.get("bytes"), cell.get("path")
        row = f"{where}, row {index}"
        if content is not None:
            return decode_image(io.BytesIO(content), size=size, grey=grey, path=row)
        if path is None:
            raise BadFile(f"{row}: must hold an image. Received: none.")
        with open_file(Path(path)) as file:
            return decode_image(file, size=size, grey=grey, path=path)

    return decode
