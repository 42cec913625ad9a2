"""Arrays in an .npz file: a zip archive of .npy files, each a short header and numbers.

`numpy.load` would do, were the files trusted: it makes room for what a header claims, and an
archive may claim anything. Here the claim is checked before, and headers are matched, not run.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Shaped

from jconv.data.dataset import Splits, split_by_share
from jconv.data.labels import checked_labels, scaled_parts
from jconv.data.safe_io import MEMORY, PIECE, BadFile, open_file, read_bytes, shown, size_of
from jconv.data.split import Split

MOST_ARRAYS = 10_000
ENTRY = b"PK\x01\x02"  # with which the archive begins each line of its table of contents
MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 2**12
HEADER = re.compile(
    r"\{'descr': '([<>|][biufc][0-9]{1,2})', 'fortran_order': (True|False), "
    r"'shape': \(((?:[0-9]{1,20}, ?)*(?:[0-9]{1,20})?)\),? *\} *\n?"
)

# What `zipfile` raises for an archive that is none.
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
    classes: int | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    memory: int = MEMORY,
) -> Splits:
    """Images and labels from arrays of an .npz file.

    Args:
      path: the file.
      images: name of the images, (n, rows, columns) or (n, rows, columns, channels); bytes are
        scaled to [-1, 1], other numbers are taken as they are.
      labels: name of the labels, (n,), whole numbers from 0.
      test_images: name of the images to test on, if the file has some apart.
      test_labels: name of their labels.
      classes: how many there are; by default as many as there are in `labels`.
      validation: share of the images to validate on.
      test: share of the images to test on, where none are apart.
      seed: draws the split.
      memory: bytes that the images may take.

    Raises:
      BadFile: where the file does not hold that, in so much memory. Nothing in it is unpickled.
    """
    path = Path(path)
    names = [name for name in (images, labels, test_images, test_labels) if name is not None]
    found = read_npz(path, names, memory=memory)
    data = _labelled(path, found, images, labels, classes)
    outputs = classes or int(data.targets.max()) + 1
    rng = np.random.default_rng(seed)
    if test_images is None or test_labels is None:
        parts = split_by_share(data, (validation, test), rng)
        return Splits(*scaled_parts(parts), outputs=outputs)
    tested = _labelled(path, found, test_images, test_labels, outputs)
    if tested.input_shape != data.input_shape:
        raise BadFile(
            f"{shown(path)}: {images!r} and {test_images!r} must have images of one shape. "
            f"Received: {data.input_shape} and {tested.input_shape}."
        )
    parts = [*split_by_share(data, (validation,), rng), tested]
    return Splits(*scaled_parts(parts), outputs=outputs)


def read_npz(
    path: Path, names: Iterable[str], *, memory: int = MEMORY
) -> dict[str, Shaped[np.ndarray, "*shape"]]:
    """The arrays of those names.

    Args:
      path: the file.
      names: which arrays.
      memory: bytes that they may take together, as numbers of 32 bits where they are bytes.

    Raises:
      BadFile: where the file does not hold them, in so much memory.
    """
    with open_file(path) as file:
        try:
            _check_entries(file, memory)
            with zipfile.ZipFile(file) as archive:
                found = {}
                for name in names:
                    found[name] = _read_array(archive, name, memory)
                    memory -= _bytes_as_numbers(found[name].dtype, found[name].size)
                return found
        except BadFile as error:
            raise BadFile(f"{shown(path)}: {error}") from None
        except MALFORMED as error:
            raise BadFile(
                f"{shown(path)}: must be an .npz file, as `numpy.savez` writes it. "
                f"Received: {type(error).__name__}: {error}."
            ) from error


def _check_entries(file: IO[bytes], memory: int) -> None:
    """Refuses a table of contents that alone would fill the memory."""
    if size_of(file) > memory:
        raise BadFile(
            f"must have at most {memory} bytes; `memory` sets how much. Received: {size_of(file)}."
        )
    entries, end = 0, b""
    while piece := file.read(PIECE):
        entries += (end + piece).count(ENTRY)
        end = piece[1 - len(ENTRY) :]
    if entries > MOST_ARRAYS:
        raise BadFile(f"must hold at most {MOST_ARRAYS} arrays. Received: {entries}.")


def _read_array(archive: zipfile.ZipFile, name: str, memory: int) -> Shaped[np.ndarray, "*shape"]:
    there = [entry.removesuffix(".npy") for entry in archive.namelist()]
    if name not in there:
        raise BadFile(f"must hold an array {name!r}. Received: {shown(sorted(there)[:10])}.")
    info = archive.infolist()[there.index(name)]
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadFile(f"{name!r} must be stored or deflated. Received: another compression.")
    with archive.open(info) as member:
        dtype, fortran, shape, header = _read_header(member, name)
        count = math.prod(shape)
        if not 0 < _bytes_as_numbers(dtype, count) <= memory:
            raise BadFile(
                f"{name!r} must take from 1 to {memory} bytes of memory; `memory` sets how much. "
                f"Received: a header that says {dtype} of shape {shape}."
            )
        size = count * dtype.itemsize
        content = read_bytes(member.read, size)
        if len(content) != size or info.file_size != header + size or member.read(1):
            raise BadFile(
                f"{name!r} must hold the {size} bytes that its header says, {dtype} of shape "
                f"{shape}. Received: {len(content) if len(content) < size else 'another number'}."
            )
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _bytes_as_numbers(dtype: np.dtype, count: int) -> int:
    return count * max(4, dtype.itemsize)  # bytes become numbers of 32 bits


def _read_header(member: IO[bytes], name: str) -> tuple[np.dtype, bool, tuple[int, ...], int]:
    """The type of an array's numbers, their order and shape; and how long the header is."""
    start = member.read(12)
    version = start[6] if start[:6] == MAGIC and len(start) == 12 else None
    if version not in (1, 2, 3):
        raise BadFile(f"{name!r} must be an array as `numpy.save` writes it. Received: no such.")
    bytes_of_length = 2 if version == 1 else 4
    length = int.from_bytes(start[8 : 8 + bytes_of_length], "little")
    if length > LONGEST_HEADER:
        raise BadFile(
            f"{name!r} must have a header of at most {LONGEST_HEADER} bytes. Received: {length}."
        )
    rest = start[8 + bytes_of_length :]
    text = (rest + read_bytes(member.read, length - len(rest))).decode("latin-1")
    matched = HEADER.fullmatch(text)
    if matched is None:
        if text.startswith("{'descr': '|O"):
            raise BadFile(
                f"{name!r} must hold numbers. Received: pickled objects, which may run any "
                "program when they are read. Save it as an array of numbers."
            )
        raise BadFile(f"{name!r} must be an array of numbers. Received: {shown(text[:80])!r}.")
    try:
        dtype = np.dtype(matched[1])
    except TypeError:
        raise BadFile(f"{name!r} must hold numbers. Received: {matched[1]!r}.") from None
    shape = tuple(int(size) for size in matched[3].split(",") if size.strip())
    return dtype, matched[2] == "True", shape, 8 + bytes_of_length + length


def _labelled(
    path: Path,
    found: dict[str, Shaped[np.ndarray, "*shape"]],
    name: str,
    name_of_labels: str,
    classes: int | None,
) -> Split:
    """Images with an axis of channels, and labels that are theirs."""
    images = found[name]
    if images.ndim not in (3, 4) or not (images.dtype == np.uint8 or images.dtype.kind == "f"):
        raise BadFile(
            f"{shown(path)}, {name!r}: images must be bytes (uint8) or floating point numbers, of "
            f"shape (n, rows, columns) or (n, rows, columns, channels). Received: {images.dtype} "
            f"of shape {images.shape}."
        )
    labels = checked_labels(
        found[name_of_labels],
        images=len(images),
        classes=classes,
        where=f"{shown(path)}, {name_of_labels!r}",
    )
    if images.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what becomes infinite is told of below
            images = images.astype(np.float32, copy=False)
        if not np.isfinite(images).all():
            raise BadFile(
                f"{shown(path)}, {name!r}: images must be finite in 32 bits. Received: "
                f"{np.sum(~np.isfinite(images))} numbers that are not."
            )
    return Split(images if images.ndim == 4 else images[..., None], labels)
