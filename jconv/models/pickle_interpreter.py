"""An interpreter for the pickles of `torch.save` that imports nothing and calls nothing.

A pickle is a program for a stack machine, and the `pickle` module lets it import and call any
function. This interpreter takes the instructions from `pickletools`, which does not execute them,
and follows those that make containers, literals and tensors. Any other instruction is an error.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

BinaryFile = io.BytesIO | io.BufferedReader

MAX_ELEMENTS = 2**33  # of one storage

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

CONSTANTS: dict[str, Callable[[], Any]] = {
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


class TorchCheckpointError(ValueError):
    """A file that cannot be read as a checkpoint of torch."""


class Storage(NamedTuple):
    """Reference to a storage: `count` elements of a data type, under a key of the file."""

    dtype: np.dtype
    key: Any
    count: int


@dataclass(frozen=True)
class TensorRef:
    """Reference to a tensor: elements `offset + sum(index * strides)` of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    """Name of a class or function, which is never imported."""

    name: str


def read_pickle(file: BinaryFile) -> Any:
    """Return the object of the pickle at the file's position, with a `TensorRef` for each tensor.

    Args:
      file: the file, which is left at the end of the pickle.

    Raises:
      TorchCheckpointError: if the pickle does more than to make containers, literals and tensors.
      Exception: of many other types, for a malformed pickle.
    """
    interpreter = _Interpreter()
    for op, argument, _ in pickletools.genops(file):
        if op.name == "STOP":
            return interpreter.stack.pop()
        if op.name not in ("PROTO", "FRAME"):
            interpreter.execute(op.name, argument)
    raise TorchCheckpointError("ends in the middle of a pickle.")


class _Interpreter:
    """Stack, marks and memo of one pickle."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        groups = (self._build_container, self._use_memo, self._make_object)
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in LITERALS:
            self.stack.append(argument)
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif not any(execute(name, argument) for execute in groups):
            raise TorchCheckpointError(
                f"its pickle has the instruction {name}, which is not supported."
            )

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _build_container(self, name: str, _: Any) -> bool:
        """Execute an instruction that puts values into a container; return whether it is one."""
        stack = self.stack
        match name:
            case "TUPLE":
                stack.append(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.marks.append(len(stack) - int(name[-1]))
                stack.append(tuple(self._pop_to_mark()))
            case "LIST":
                stack.append(self._pop_to_mark())
            case "DICT":
                stack.append(_to_dict(self._pop_to_mark()))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                values = self._pop_to_mark()
                stack[-1].update(_to_dict(values))
            case "APPEND":
                value = stack.pop()
                stack[-1].append(value)
            case "APPENDS":
                values = self._pop_to_mark()
                stack[-1].extend(values)
            case _:
                return False
        return True

    def _use_memo(self, name: str, argument: Any) -> bool:
        """Execute an instruction that stores or recalls a value; return whether it is one."""
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

    def _make_object(self, name: str, argument: Any) -> bool:
        """Execute an instruction that refers to or makes an object; return whether it is one."""
        stack = self.stack
        match name:
            case "GLOBAL":
                stack.append(_Global(argument))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_Global(f"{module} {attribute}"))
            case "BINPERSID":
                stack.append(_to_storage(stack.pop()))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_apply(function, arguments))
            case "BUILD":
                stack.pop()  # attributes, such as the `_metadata` of a state dict, are not needed
            case _:
                return False
        return True


def _to_dict(flat: list) -> dict:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _to_storage(identity: Any) -> Storage:
    kind, storage, key, _, count, *_ = identity
    if kind != "storage" or not isinstance(storage, _Global) or storage.name not in DTYPES:
        raise TorchCheckpointError(
            f"its pickle refers to {identity!r}, which is not a storage of numbers."
        )
    if not 0 <= count <= MAX_ELEMENTS:
        raise TorchCheckpointError(
            f"storage {key} must have at most {MAX_ELEMENTS} elements. Received: {count}."
        )
    return Storage(DTYPES[storage.name], key, count)


def _apply(function: Any, arguments: tuple) -> Any:
    """Return what a supported function would return, without calling it."""
    match function:
        case _Global("collections OrderedDict"):
            return dict(*arguments)
        case _Global("torch._utils _rebuild_tensor_v2"):
            storage, offset, shape, strides, *_ = arguments
            return TensorRef(storage, offset, tuple(shape), tuple(strides))
        case _Global("torch._utils _rebuild_parameter"):
            return arguments[0]
    name = function.name.replace(" ", ".") if isinstance(function, _Global) else repr(function)
    raise TorchCheckpointError(
        f"its pickle calls {name}, which may run any code and is not supported. Save a plain state "
        f"dict, or better, a .safetensors file."
    )
