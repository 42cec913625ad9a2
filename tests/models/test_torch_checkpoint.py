"""Files of torch.save, made here by `pickle` alone, so that they are read without torch."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from jconv.models.torch_checkpoint import TorchFileError, read_torch_file


class FloatStorage:
    """Stands for `torch.FloatStorage` in the pickles written here."""


class Tensor:
    """Pickles itself as torch's tensors do."""

    def __init__(self, key, numbers, shape, strides, offset=0):
        self.key, self.numbers = key, np.asarray(numbers, "float32")
        self.shape, self.strides, self.offset = shape, strides, offset


def rebuild(*_):
    raise AssertionError("was called")


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Modules of torch's names, for `pickle` to refer to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, thing, name in (
        (torch, FloatStorage, "FloatStorage"),
        (utils, rebuild, "_rebuild_tensor_v2"),
    ):
        setattr(module, name, thing)
        thing.__module__, thing.__qualname__ = module.__name__, name
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def pickled(content, protocol=2):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, tuple) and obj and obj[0] == "storage":
                return obj
            return None

        def reducer_override(self, obj):
            if isinstance(obj, Tensor):
                storage = ("storage", FloatStorage, obj.key, "cpu", len(obj.numbers))
                arguments = (storage, obj.offset, obj.shape, obj.strides, False, OrderedDict())
                return rebuild, arguments
            return NotImplemented

    file = io.BytesIO()
    Pickler(file, protocol).dump(content)
    return file.getvalue()


def archive(path, content, tensors, cut=0):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled(content))
        for tensor in tensors:
            data = tensor.numbers.tobytes()
            file.writestr(f"model/data/{tensor.key}", data[: len(data) - cut])


def stream(path, content, tensors):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            file.write(pickle.dumps(part, 2))
        file.write(pickled(content))
        file.write(pickle.dumps([tensor.key for tensor in tensors], 2))
        for tensor in tensors:
            file.write(len(tensor.numbers).to_bytes(8, "little") + tensor.numbers.tobytes())


A = Tensor("0", range(6), (2, 3), (3, 1))
B = Tensor("1", range(10), (2, 2), (1, 3), offset=2)  # a transposed view


@pytest.mark.parametrize("write", [archive, stream])
@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"epoch": 3, "state_dict": c}])
def test_tensors_are_read(write, wrap, tmp_path):
    path = tmp_path / "weights.pth"
    write(path, wrap(OrderedDict(a=A, b=B)), [A, B])
    found = read_torch_file(path)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["b"], [[2, 5], [3, 6]])


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('was run')",))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("content", [Hostile(), {"a": A, "b": Hostile()}])
def test_nothing_is_run(content, protocol, tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled(content, protocol))
    with pytest.raises(TorchFileError, match=r"exec|instruction"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("0", range(6), (2, 4), (3, 1)),
        Tensor("0", range(6), (2, 3), (3, 1), offset=1),
        Tensor("0", range(6), (2,), (-1,), offset=0),
        Tensor("0", range(6), (2**40,), (2**20,)),
    ],
)
def test_a_tensor_beyond_its_storage(tensor, tmp_path):
    path = tmp_path / "weights.pth"
    archive(path, {"a": tensor}, [tensor])
    with pytest.raises(TorchFileError, match="beyond its storage"):
        read_torch_file(path)


def test_files_cut_short(tmp_path):
    path = tmp_path / "weights.pth"
    archive(path, {"a": A}, [A], cut=4)
    with pytest.raises(TorchFileError, match="cut short"):
        read_torch_file(path)
    stream(path, {"a": A, "b": B}, [A, B])
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(TorchFileError):
            read_torch_file(path)


def test_other_files(tmp_path):
    path = tmp_path / "weights.pth"
    for content in (b"", b"hello", pickle.dumps([1, 2]), b"\x80\x02]."):
        path.write_bytes(content)
        with pytest.raises(TorchFileError, match="weights.pth"):
            read_torch_file(path)
