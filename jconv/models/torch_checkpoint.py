"""The tensors of a file of `torch.save`, read without torch and without unpickling.

Both formats are supported: the zip archive that torch writes since version 1.6, and the earlier
sequence of pickles followed by the storages.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from jconv.models.pickle_interpreter import (
    BinaryFile,
    Storage,
    TensorRef,
    TorchCheckpointError,
    read_pickle,
)

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

# Exceptions that reading a malformed file can raise.
MALFORMED = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    AttributeError,
    OverflowError,
    RecursionError,
    zipfile.BadZipFile,
)

ReadStorage = Callable[[Storage], np.ndarray]  # returns the elements of a storage


def read_torch_checkpoint(path: Path) -> dict[str, Shaped[np.ndarray, "*shape"]]:
    """Return the tensors of a state dict, also of one that is saved as `state_dict` or `model`.

    Args:
      path: a file of `torch.save`.

    Raises:
      TorchCheckpointError: for another file, or one whose pickle holds more than tensors and plain
        values.
    """
    with open(path, "rb") as file:
        try:
            return _read_state_dict(file)
        except TorchCheckpointError as error:
            raise TorchCheckpointError(f"{path}: {error}") from None
        except MALFORMED as error:
            raise TorchCheckpointError(
                f"{path}: must be a file of torch.save. Received: {type(error).__name__}: {error}."
            ) from error


def _read_state_dict(file: BinaryFile) -> dict[str, np.ndarray]:
    if zipfile.is_zipfile(file):
        content, read_storage = _read_archive(file)
    else:
        file.seek(0)
        content, read_storage = _read_legacy(file)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise TorchCheckpointError("must hold a mapping of tensors, a state dict.")
    return {
        name: _read_tensor(tensor, read_storage)
        for name, tensor in content.items()
        if isinstance(name, str) and isinstance(tensor, TensorRef)
    }


def _read_archive(file: BinaryFile) -> tuple[Any, ReadStorage]:
    archive = zipfile.ZipFile(file)
    pickle_name = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
    if pickle_name is None:
        raise TorchCheckpointError("must hold data.pkl, as the archives of torch.save do.")
    folder = pickle_name.removesuffix("data.pkl")

    def read_storage(storage: Storage) -> np.ndarray:
        info = archive.getinfo(f"{folder}data/{storage.key}")
        # torch.save does not compress. A small compressed entry can expand to any size.
        if not info.file_size == info.compress_size == storage.count * storage.dtype.itemsize:
            raise TorchCheckpointError(f"storage {storage.key} is cut short or compressed.")
        return np.frombuffer(archive.read(info), storage.dtype.newbyteorder("<"))

    info = archive.getinfo(pickle_name)
    if info.file_size > info.compress_size:
        raise TorchCheckpointError("its pickle is compressed, which torch.save does not do.")
    return read_pickle(io.BytesIO(archive.read(info))), read_storage


def _read_legacy(file: BinaryFile) -> tuple[Any, ReadStorage]:
    if read_pickle(file) != LEGACY_MAGIC:
        raise TorchCheckpointError("must be a file of torch.save.")
    read_pickle(file)  # the version of the protocol
    if not read_pickle(file).get("little_endian", True):
        raise TorchCheckpointError("was written on a big-endian machine, which is not supported.")
    content, keys = read_pickle(file), read_pickle(file)
    start, end = file.tell(), file.seek(0, io.SEEK_END)
    storages = {storage.key: storage for storage in _storages(content)}
    offsets, position = {}, start
    for key in keys:
        storage = storages[key]
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != storage.count:
            raise TorchCheckpointError(f"storage {key} has another length than its tensors say.")
        offsets[key] = position + 8
        position += 8 + storage.count * storage.dtype.itemsize
        if position > end:
            raise TorchCheckpointError(f"storage {key} is cut short.")

    def read_storage(storage: Storage) -> np.ndarray:
        file.seek(offsets[storage.key])
        data = file.read(storage.count * storage.dtype.itemsize)
        return np.frombuffer(data, storage.dtype.newbyteorder("<"))

    return content, read_storage


def _storages(content: Any) -> Iterator[Storage]:
    if isinstance(content, TensorRef):
        yield content.storage
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _storages(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _storages(value)


def _read_tensor(tensor: TensorRef, read_storage: ReadStorage) -> np.ndarray:
    elements = read_storage(tensor.storage)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * step for n, step in steps)
    count, smallest = math.prod(tensor.shape), min(*tensor.shape, *tensor.strides, tensor.offset, 0)
    if smallest < 0 or count > len(elements) or (count and last >= len(elements)):
        raise TorchCheckpointError(f"a tensor of shape {tensor.shape} reaches beyond its storage.")
    view = np.lib.stride_tricks.as_strided(
        elements[tensor.offset :],
        tensor.shape,
        [s * elements.itemsize for s in tensor.strides],
        writeable=False,
    )
    return view.astype(elements.dtype.newbyteorder("="))
