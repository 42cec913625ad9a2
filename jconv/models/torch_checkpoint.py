"""Reads the tensors of a file that `torch.save` wrote, without torch and without unpickling.

Such a file is a pickle: a program for a stack machine, which in `pickle`'s hands may import and
call anything. Here the program is read by `pickletools`, which runs nothing, and its few
instructions that make dictionaries and tensors are followed; whatever else it asks for is refused
by name.

Two forms are read: the archive that torch writes since 1.6, and the stream of pickles before it.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
MOST_BYTES = 2**33

# What reading a file raises that is not what it says it is.
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

DTYPES = {
    "torch DoubleStorage": np.dtype(np.float64),
    "torch FloatStorage": np.dtype(np.float32),
    "torch HalfStorage": np.dtype(np.float16),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype(np.int64),
    "torch IntStorage": np.dtype(np.int32),
    "torch ShortStorage": np.dtype(np.int16),
    "torch CharStorage": np.dtype(np.int8),
    "torch ByteStorage": np.dtype(np.uint8),
    "torch BoolStorage": np.dtype(np.bool_),
}


class TorchFileError(ValueError):
    """Why a file cannot be read."""


@dataclass(frozen=True)
class _Global:
    """The name of a class or function, which is never imported."""

    name: str


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies: numbers `offset + i * strides` of a storage."""

    storage: tuple
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict, or of a mapping that has one as `state_dict` or `model`.

    Raises:
      TorchFileError: for another file, or one whose pickle does more than to hold tensors.
    """
    with open(path, "rb") as file:
        try:
            if zipfile.is_zipfile(file):
                content, read = _read_archive(file)
            else:
                file.seek(0)
                content, read = _read_stream(file)
        except TorchFileError as error:
            raise TorchFileError(f"{path}: {error}") from None
        except MALFORMED as error:
            raise TorchFileError(
                f"{path}: must be a file that torch.save wrote. "
                f"Received: {type(error).__name__}: {error}."
            ) from error
        for key in ("state_dict", "model"):
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
        if not isinstance(content, dict):
            raise TorchFileError(f"{path}: must hold a mapping of tensors, a state dict.")
        return {
            name: _laid_out(tensor, read)
            for name, tensor in content.items()
            if isinstance(name, str) and isinstance(tensor, _Tensor)
        }


Reader = Callable[[tuple], np.ndarray]  # the numbers of a storage


def _read_archive(file: IO[bytes]) -> tuple[Any, Reader]:
    archive = zipfile.ZipFile(file)
    head = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
    if head is None:
        raise TorchFileError("must hold data.pkl, as the archives of torch.save do.")
    folder = head.removesuffix("data.pkl")

    def read(storage: tuple) -> np.ndarray:
        dtype, key, count = storage
        name = f"{folder}data/{key}"
        size, stored = archive.getinfo(name).file_size, archive.getinfo(name).compress_size
        if not size == stored == count * dtype.itemsize:  # what is compressed may be endless
            raise TorchFileError(f"storage {key} is cut short.")
        return np.frombuffer(archive.read(name), dtype.newbyteorder("<"))

    if archive.getinfo(head).file_size > archive.getinfo(head).compress_size:
        raise TorchFileError("its pickle is compressed, which torch.save does not do.")
    return _follow(io.BytesIO(archive.read(head))), read


def _read_stream(file: IO[bytes]) -> tuple[Any, Reader]:
    if _follow(file) != LEGACY_MAGIC:
        raise TorchFileError("must be a file that torch.save wrote.")
    _follow(file)  # the version of the protocol
    if not _follow(file).get("little_endian", True):
        raise TorchFileError("was written on a big-endian machine, which is not read.")
    content, keys = _follow(file), _follow(file)
    start, end = file.tell(), file.seek(0, io.SEEK_END)
    storages = {storage[1]: storage for storage in _storages(content)}
    places, position = {}, start
    for key in keys:
        dtype, _, count = storages[key]
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != count:
            raise TorchFileError(f"storage {key} has another length than its tensors say.")
        places[key] = position + 8
        position += 8 + count * dtype.itemsize
        if position > end:
            raise TorchFileError(f"storage {key} is cut short.")

    def read(storage: tuple) -> np.ndarray:
        dtype, key, count = storage
        file.seek(places[key])
        return np.frombuffer(file.read(count * dtype.itemsize), dtype.newbyteorder("<"))

    return content, read


def _storages(content: Any):
    if isinstance(content, _Tensor):
        yield content.storage
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _storages(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _storages(value)


def _laid_out(tensor: _Tensor, read: Reader) -> np.ndarray:
    numbers = read(tensor.storage)
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((n - 1) * step for n, step in steps)
    count, ends = math.prod(tensor.shape), (*tensor.shape, *tensor.strides, tensor.offset)
    if min(ends) < 0 or count > len(numbers) or (count and last >= len(numbers)):
        raise TorchFileError(f"a tensor of shape {tensor.shape} reaches beyond its storage.")
    view = np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :],
        tensor.shape,
        [s * numbers.itemsize for s in tensor.strides],
        writeable=False,
    )
    return view.astype(numbers.dtype.newbyteorder("="))


NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
LITERALS = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "SHORT_BINSTRING", "BINSTRING",
)  # fmt: skip


def _follow(file: IO[bytes]) -> Any:
    """What the pickle that starts here makes, by following its instructions one by one."""
    machine = _Machine()
    for op, argument, _ in pickletools.genops(file):
        if op.name == "STOP":
            return machine.stack.pop()
        if op.name not in ("PROTO", "FRAME"):
            machine.follow(op.name, argument)
    raise TorchFileError("ends in the middle of a pickle.")


class _Machine:
    """The stack that a pickle's instructions work on; nothing is imported and nothing called."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        """Does what one instruction says."""
        if name in NEW:
            self.stack.append(NEW[name]())
        elif name in LITERALS:
            self.stack.append(argument)
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif not any(does(name, argument) for does in (self._gathers, self._recalls, self._makes)):
            raise TorchFileError(f"its pickle has the instruction {name}, which is not read.")

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def _gathers(self, name: str, _: Any) -> bool:
        """Puts values into a container."""
        stack = self.stack
        match name:
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.marks.append(len(stack) - int(name[-1]))
                stack.append(tuple(self._since_mark()))
            case "LIST":
                stack.append(self._since_mark())
            case "DICT":
                stack.append(_pairs(self._since_mark()))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                taken = self._since_mark()
                stack[-1].update(_pairs(taken))
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                taken = self._since_mark()
                stack[-1].extend(taken)
            case _:
                return False
        return True

    def _recalls(self, name: str, argument: Any) -> bool:
        """Keeps a value for later, or brings one back."""
        match name:
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[int(argument)] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                self.stack.append(self.memo[int(argument)])
            case _:
                return False
        return True

    def _makes(self, name: str, argument: Any) -> bool:
        """Stands for an object by what is known of it."""
        stack = self.stack
        match name:
            case "GLOBAL":
                stack.append(_Global(argument))
            case "STACK_GLOBAL":
                own, module = stack.pop(), stack.pop()
                stack.append(_Global(f"{module} {own}"))
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_called(function, arguments))
            case "BUILD":
                stack.pop()  # attributes, such as a state dict's `_metadata`
            case _:
                return False
        return True


def _pairs(flat: list) -> dict:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _storage(identity: Any) -> tuple:
    kind, storage, key, _, count, *_ = identity
    if kind != "storage" or not isinstance(storage, _Global) or storage.name not in DTYPES:
        raise TorchFileError(f"its pickle refers to {identity!r}, which is no storage of numbers.")
    if not 0 <= count <= MOST_BYTES:
        raise TorchFileError(f"storage {key} has {count} numbers.")
    return DTYPES[storage.name], key, count


def _called(function: Any, arguments: tuple) -> Any:
    match function:
        case _Global("collections OrderedDict"):
            return dict(*arguments)
        case _Global("torch._utils _rebuild_tensor_v2"):
            storage, offset, shape, strides, *_ = arguments
            return _Tensor(storage, offset, tuple(shape), tuple(strides))
        case _Global("torch._utils _rebuild_parameter"):
            return arguments[0]
    name = function.name.replace(" ", ".") if isinstance(function, _Global) else repr(function)
    raise TorchFileError(
        f"its pickle calls {name}, which may do anything, so it is not read. Save a plain state "
        f"dict, or better, a .safetensors file."
    )
