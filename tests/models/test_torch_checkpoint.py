"""Files in the formats of torch.save, written with `pickle`, so no test needs torch."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from jconv.models.pickle_interpreter import TorchCheckpointError
from jconv.models.torch_checkpoint import read_torch_checkpoint


class FloatStorage:
    """Stand-in for `torch.FloatStorage` in pickles."""


class Tensor:
    """Stand-in for a tensor, which is pickled as torch's tensors are."""

    def __init__(self, key, elements, shape, strides, offset=0):
        self.key, self.elements = key, np.asarray(elements, "float32")
        self.shape, self.strides, self.offset = shape, strides, offset


def rebuild(*_):
    raise AssertionError("was called")


@pytest.fixture(autouse=True)
def torch_modules(monkeypatch):
    """Modules named `torch` and `torch._utils`, which pickles refer to."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for module, value, name in (
        (torch, FloatStorage, "FloatStorage"),
        (utils, rebuild, "_rebuild_tensor_v2"),
    ):
        setattr(module, name, value)
        value.__module__, value.__qualname__ = module.__name__, name
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
                storage = ("storage", FloatStorage, obj.key, "cpu", len(obj.elements))
                arguments = (storage, obj.offset, obj.shape, obj.strides, False, OrderedDict())
                return rebuild, arguments
            return NotImplemented

    file = io.BytesIO()
    Pickler(file, protocol).dump(content)
    return file.getvalue()


def write_archive(path, content, tensors, cut=0):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled(content))
        for tensor in tensors:
            data = tensor.elements.tobytes()
            file.writestr(f"model/data/{tensor.key}", data[: len(data) - cut])


def write_legacy(path, content, tensors):
    with open(path, "wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            file.write(pickle.dumps(part, 2))
        file.write(pickled(content))
        file.write(pickle.dumps([tensor.key for tensor in tensors], 2))
        for tensor in tensors:
            file.write(len(tensor.elements).to_bytes(8, "little") + tensor.elements.tobytes())


A = Tensor("0", range(6), (2, 3), (3, 1))
B = Tensor("1", range(10), (2, 2), (1, 3), offset=2)  # a transposed view


@pytest.mark.parametrize("write", [write_archive, write_legacy])
@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"epoch": 3, "state_dict": c}])
def test_tensors_are_read(write, wrap, tmp_path):
    path = tmp_path / "weights.pth"
    write(path, wrap(OrderedDict(a=A, b=B)), [A, B])
    tensors = read_torch_checkpoint(path)
    assert list(tensors) == ["a", "b"]
    np.testing.assert_array_equal(tensors["a"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["b"], [[2, 5], [3, 6]])


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('was run')",))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("content", [Hostile(), {"a": A, "b": Hostile()}])
def test_pickles_are_not_executed(content, protocol, tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", pickled(content, protocol))
    with pytest.raises(TorchCheckpointError, match=r"exec|instruction"):
        read_torch_checkpoint(path)


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("0", range(6), (2, 4), (3, 1)),
        Tensor("0", range(6), (2, 3), (3, 1), offset=1),
        Tensor("0", range(6), (2,), (-1,), offset=0),
        Tensor("0", range(6), (2**40,), (2**20,)),
    ],
)
def test_tensor_beyond_its_storage_raises(tensor, tmp_path):
    path = tmp_path / "weights.pth"
    write_archive(path, {"a": tensor}, [tensor])
    with pytest.raises(TorchCheckpointError, match="beyond its storage"):
        read_torch_checkpoint(path)


def test_truncated_file_raises(tmp_path):
    path = tmp_path / "weights.pth"
    write_archive(path, {"a": A}, [A], cut=4)
    with pytest.raises(TorchCheckpointError, match="cut short"):
        read_torch_checkpoint(path)
    write_archive(path, {"a": A, "b": B}, [A])
    with pytest.raises(TorchCheckpointError, match=r"weights.pth.*model/data/1"):
        read_torch_checkpoint(path)
    write_legacy(path, {"a": A, "b": B}, [A, B])
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(TorchCheckpointError):
            read_torch_checkpoint(path)


def test_file_of_another_kind_raises(tmp_path):
    path = tmp_path / "weights.pth"
    for content in (b"", b"hello", pickle.dumps([1, 2]), b"\x80\x02]."):
        path.write_bytes(content)
        with pytest.raises(TorchCheckpointError, match="weights.pth"):
            read_torch_checkpoint(path)
