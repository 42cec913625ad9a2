"""Arrays in an .npz file: a zip archive of .npy files, each a short header and numbers.

`numpy.load` allocates whatever a header claims, and an untrusted archive may claim anything. Here
each claim is checked before memory is allocated, and headers are matched, never evaluated.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from jconv.data.dataset import Examples, Splits
from jconv.data.labels import check_labels
from jconv.data.safe_io import (
    CHUNK_SIZE,
    DEFAULT_MEMORY,
    BadFile,
    open_file,
    printable,
    read_bytes,
    size_of,
)
from jconv.data.splitting import random_splits

MAX_ARRAYS = 10_000
DIRECTORY_SIGNATURE = b"PK\x01\x02"  # begins each entry of a zip archive's central directory
NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 2**12
HEADER = re.compile(
    r"\{'descr': '([<>|][biufc][0-9]{1,2})', 'fortran_order': (True|False), "
    r"'shape': \(((?:[0-9]{1,20}, ?)*(?:[0-9]{1,20})?)\),? *\} *\n?"
)

# `zipfile` raises any of these for a malformed archive.
MALFORMED = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error,
    UnicodeError, ValueError, IndexError, OverflowError, OSError,
)  # fmt: skip


def load_npz(
    path: Path | str,
    *,
    images: str = "images",
    labels: str = "labels",
    test_images: str | None = None,
    test_labels: str | None = None,
    num_classes: int | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    memory: int = DEFAULT_MEMORY,
) -> Splits:
    """Load images and labels from the arrays of an .npz file.

    Args:
      path: the file.
      images: name of the array of images, of shape (n, rows, columns) or (n, rows, columns,
        channels). Bytes (uint8) are scaled to [-1, 1]; floating point numbers are not changed.
      labels: name of the array of labels, of shape (n,): integers from 0.
      test_images: name of the array of test images, if the file has separate ones.
      test_labels: name of the array of their labels.
      num_classes: the number of classes; by default the largest label + 1.
      validation: fraction of the images to validate on.
      test: fraction of the images to test on, if there are no `test_images`.
      seed: draws the split.
      memory: limit of the images in bytes, as float32.

    Raises:
      BadFile: if the file is malformed, does not hold these arrays, or exceeds `memory`. Pickled
        objects are refused.
    """
    path = Path(path)
    names = [name for name in (images, labels, test_images, test_labels) if name is not None]
    arrays = read_npz(path, names, memory=memory)
    examples = _labelled_images(path, arrays, images, labels, num_classes)
    outputs = num_classes or int(examples.targets.max()) + 1
    test_part: float | Examples = test
    if test_images is not None and test_labels is not None:
        test_part = _labelled_images(path, arrays, test_images, test_labels, outputs)
        if test_part.input_shape != examples.input_shape:
            raise BadFile(
                f"{printable(path)}: {images!r} and {test_images!r} must have images of the same "
                f"shape. Received: {examples.input_shape} and {test_part.input_shape}."
            )
    return random_splits(
        examples,
        validation=validation,
        test=test_part,
        seed=seed,
        outputs=outputs,
    )


def read_npz(
    path: Path, names: Iterable[str], *, memory: int = DEFAULT_MEMORY
) -> dict[str, Shaped[np.ndarray, "*shape"]]:
    """Read arrays by name.

    Args:
      path: the file.
      names: names of the arrays.
      memory: limit of all arrays together in bytes; a number counts as at least 4 bytes.

    Raises:
      BadFile: if the file is malformed, does not hold these arrays, or exceeds `memory`.
    """
    with open_file(path) as file:
        try:
            _check_archive_size(file, memory)
            with zipfile.ZipFile(file) as archive:
                arrays = {}
                for name in names:
                    arrays[name] = _read_array(archive, name, memory)
                    memory -= _memory_of(arrays[name].dtype, arrays[name].size)
                return arrays
        except BadFile as error:
            raise BadFile(f"{printable(path)}: {error}") from None
        except MALFORMED as error:
            raise BadFile(
                f"{printable(path)}: must be an .npz file, as `numpy.savez` writes it. "
                f"Received: {type(error).__name__}: {error}."
            ) from error


def _check_archive_size(file: BufferedIOBase, memory: int) -> None:
    """Check that reading the archive's directory alone cannot exhaust memory."""
    if size_of(file) > memory:
        raise BadFile(
            f"must have at most {memory} bytes; `memory` sets the limit. Received: {size_of(file)}."
        )
    entries, tail = 0, b""
    while chunk := file.read(CHUNK_SIZE):
        entries += (tail + chunk).count(DIRECTORY_SIGNATURE)
        tail = chunk[1 - len(DIRECTORY_SIGNATURE) :]  # a signature may span two chunks
    if entries > MAX_ARRAYS:
        raise BadFile(f"must hold at most {MAX_ARRAYS} arrays. Received: {entries}.")


def _read_array(archive: zipfile.ZipFile, name: str, memory: int) -> Shaped[np.ndarray, "*shape"]:
    entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if name not in entries:
        available = printable(sorted(entries)[:10])
        raise BadFile(f"must hold an array {name!r}. Received: {available}.")
    info = entries[name]
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadFile(f"{name!r} must be stored or deflated. Received: another compression.")
    with archive.open(info) as member:
        header = _read_header(member.read, name)
        count = math.prod(header.shape)
        if not 0 < _memory_of(header.dtype, count) <= memory:
            raise BadFile(
                f"{name!r} must take from 1 to {memory} bytes of memory; `memory` sets the limit. "
                f"Received: a header with {header.dtype} of shape {header.shape}."
            )
        size = count * header.dtype.itemsize
        content = read_bytes(member.read, size)
        if len(content) != size or info.file_size != header.size + size or member.read(1):
            raise BadFile(
                f"{name!r} must hold the {size} bytes of its header's {header.dtype} of shape "
                f"{header.shape}. "
                f"Received: {len(content) if len(content) < size else 'another number'}."
            )
    order = "F" if header.fortran_order else "C"
    return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)


def _memory_of(dtype: np.dtype, count: int) -> int:
    return count * max(4, dtype.itemsize)  # narrower numbers become float32 or int32


class _Header(NamedTuple):
    """The header of an .npy file."""

    dtype: np.dtype
    fortran_order: bool
    shape: tuple[int, ...]
    size: int  # bytes before the numbers


def _read_header(read: Callable[[int], bytes], name: str) -> _Header:
    magic = bytes(read_bytes(read, 8))
    is_npy = magic[:6] == NPY_MAGIC and len(magic) == 8
    length_size = {1: 2, 2: 4, 3: 4}.get(magic[6], 0) if is_npy else 0  # by format version
    length_bytes = read_bytes(read, length_size)
    if not length_size or len(length_bytes) < length_size:
        raise BadFile(
            f"{name!r} must be an array as `numpy.save` writes it. Received: another format."
        )
    length = int.from_bytes(length_bytes, "little")
    if length > MAX_HEADER_BYTES:
        raise BadFile(
            f"{name!r} must have a header of at most {MAX_HEADER_BYTES} bytes. Received: {length}."
        )
    text = read_bytes(read, length).decode("latin-1")
    match = HEADER.fullmatch(text)
    if match is None:
        if text.startswith("{'descr': '|O"):
            raise BadFile(
                f"{name!r} must hold numbers. Received: pickled objects, which can run any code "
                "when they are read. Save an array of numbers."
            )
        raise BadFile(f"{name!r} must be an array of numbers. Received: {printable(text[:80])!r}.")
    try:
        dtype = np.dtype(match[1])
    except TypeError:
        raise BadFile(f"{name!r} must hold numbers. Received: {match[1]!r}.") from None
    shape = tuple(int(size) for size in match[3].split(",") if size.strip())
    return _Header(dtype, match[2] == "True", shape, len(magic) + length_size + length)


def _labelled_images(
    path: Path,
    arrays: dict[str, Shaped[np.ndarray, "*shape"]],
    images_name: str,
    labels_name: str,
    num_classes: int | None,
) -> Examples:
    """Check two arrays and return them as images with a channel axis and their labels."""
    images = arrays[images_name]
    if images.ndim not in (3, 4) or not (images.dtype == np.uint8 or images.dtype.kind == "f"):
        raise BadFile(
            f"{printable(path)}, {images_name!r}: images must be bytes (uint8) or floating point "
            "numbers, of shape (n, rows, columns) or (n, rows, columns, channels). Received: "
            f"{images.dtype} of shape {images.shape}."
        )
    labels = check_labels(
        arrays[labels_name],
        num_images=len(images),
        num_classes=num_classes,
        where=f"{printable(path)}, {labels_name!r}",
    )
    if images.dtype != np.uint8:
        with np.errstate(over="ignore"):  # overflow to infinity is reported below
            images = images.astype(np.float32, copy=False)
        if not np.isfinite(images).all():
            raise BadFile(
                f"{printable(path)}, {images_name!r}: images must be finite in float32. Received: "
                f"{np.sum(~np.isfinite(images))} numbers that are not."
            )
    return Examples(images if images.ndim == 4 else images[..., None], labels)
