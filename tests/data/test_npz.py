"""Arrays and labelled images of .npz files, and archives that are malformed or malicious."""

import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest
from helpers.data_files import IMAGES, LABELS, limited_memory, write_npz

from jconv.data import BadFile, load_npz
from jconv.data.npz import read_npz


def write_zip(path, content, name="images.npy", **options):
    """Write a zip archive with one entry and return its path."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, content)
    return path


def npy_bytes(shape, descr="<f4", numbers=b"", header=None):
    """Return an .npy file with the given shape, dtype or complete header, and the given numbers."""
    header = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode("latin-1") + numbers


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_npz_returns_the_arrays_that_numpy_saved(save, tmp_path, rng):
    arrays = {
        "bytes": rng.integers(0, 256, (3, 4), np.uint8),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4, 5))),
        "big": rng.normal(size=7).astype(">f4"),
        "scalar": np.array(3),
        "boolean": np.array([True, False]),
        "complex": np.array([1 + 2j]),
    }
    result = read_npz(write_npz(tmp_path / "data.npz", save, **arrays), arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].dtype == array.dtype


def test_load_npz_scales_bytes_and_keeps_floats(tmp_path, rng):
    images, labels = rng.integers(0, 256, (30, 6, 5, 3), np.uint8), np.arange(30) % 3
    data = load_npz(write_npz(tmp_path / "data.npz", images=images, labels=labels))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [21, 3, 6]
    assert data.input_shape == (6, 5, 3) and data.outputs == 3
    assert data.train.inputs.min() >= -1 and data.train.inputs.max() <= 1
    floats = images[..., 0] / 10
    path = write_npz(
        tmp_path / "separate.npz", x_train=floats, y_train=labels, x=floats[:5], y=labels[:5]
    )
    names = dict(images="x_train", labels="y_train", test_images="x", test_labels="y")
    data = load_npz(path, **names, num_classes=4)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [27, 3, 5]
    assert data.outputs == 4
    np.testing.assert_array_equal(data.test.inputs[..., 0], floats[:5].astype(np.float32))


class ExitsWhenUnpickled:
    """An object whose unpickling ends the test run."""

    def __reduce__(self):
        return (sys.exit, ("code in the file was run",))


def test_pickled_objects_are_refused(tmp_path):
    objects = np.array([ExitsWhenUnpickled()], dtype=object)
    path = write_npz(tmp_path / "data.npz", images=objects, labels=objects)
    with pytest.raises(BadFile, match="'images' must hold numbers. Received: pickled objects"):
        load_npz(path)
    with pytest.raises(BadFile, match="must be an array as `numpy.save` writes it"):
        load_npz(write_zip(path, pickle.dumps(ExitsWhenUnpickled())))
    path.write_bytes(pickle.dumps(ExitsWhenUnpickled()))
    with pytest.raises(BadFile, match="must be an .npz file"):
        load_npz(path)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "must be an array as `numpy.save`"),
        (npy_bytes("(5,)")[:9], "must be an array as `numpy.save`"),
        (npy_bytes("(5,)", numbers=bytes(19)), r"must hold the 20 bytes.*\(5,\). Received: 19"),
        (npy_bytes("(5,)", numbers=bytes(21)), "must hold the 20 bytes.*Received: another number"),
        (npy_bytes("(0,)"), "must take from 1 to"),
        (npy_bytes("(-5,)"), "must be an array of numbers"),
        (
            npy_bytes(f"({2**40}, {2**40})"),
            "must take from 1 to 1073741824 bytes of memory; `memory`",
        ),
        (npy_bytes("(" + "9" * 20 + ",)"), "must take from 1 to"),
        (npy_bytes(f"({2**28 + 1},)"), "must take from 1 to"),
        (npy_bytes("(1, " * 500 + ")"), "must be an array of numbers"),
        (npy_bytes("(" + "1, " * 500 + ")", numbers=bytes(4)), "must be an .npz file.*dimension"),
        (npy_bytes("(5,)", descr="<f3"), "must hold numbers. Received: '<f3'"),
        (npy_bytes("(5,)", descr="<U5"), "must be an array of numbers"),
        (npy_bytes("", header="__import__('os').system('true')"), "must be an array of numbers"),
        (npy_bytes("", header="(" * 4000), "must be an array of numbers"),
        (npy_bytes("", header="(" * 5000), "must have a header of at most 4096 bytes"),
    ],
)
def test_malformed_npy_headers_are_refused(content, expected, tmp_path):
    with pytest.raises(BadFile, match=f"data.npz: .*{expected}"):
        load_npz(write_zip(tmp_path / "data.npz", content))


def test_zip_bomb_is_not_decompressed_beyond_the_header_size(tmp_path):
    path = tmp_path / "data.npz"
    write_zip(path, npy_bytes("(5,)", numbers=bytes(2**26)), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**17
    refused = pytest.raises(BadFile, match="must hold the 20 bytes of its header's")
    with limited_memory(), refused:
        load_npz(path)
    write_zip(
        path, npy_bytes(f"({2**24},)", numbers=bytes(2**26)), compression=zipfile.ZIP_DEFLATED
    )
    with limited_memory(), pytest.raises(BadFile, match="must take from 1 to 1048576 bytes"):
        load_npz(path, memory=2**20)


def test_malformed_archives_are_refused(tmp_path):
    path = write_npz(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    content = path.read_bytes()
    for malformed in (content[:-30], content[: len(content) // 2], b"", b"PK" * 999, content[500:]):
        path.write_bytes(malformed)
        with pytest.raises(BadFile, match="data.npz: must be an .npz file"):
            load_npz(path)
    corrupt = bytearray(content)
    corrupt[200] ^= 1  # one bit of an array, which the checksum detects
    path.write_bytes(corrupt)
    with pytest.raises(BadFile, match="Bad CRC-32"):
        load_npz(path)
    with pytest.raises(BadFile, match="must be stored or deflated"):
        load_npz(write_zip(path, npy_bytes("(5,)"), compression=zipfile.ZIP_LZMA))
    path.write_bytes(b"PK\1\2" * 20_000)
    with pytest.raises(BadFile, match="at most 10000 arrays. Received: 20000"):
        load_npz(path)
    with open(path, "wb") as file:
        file.truncate(2**31)  # a sparse file: it uses no disk space
    with pytest.raises(BadFile, match="must have at most 1073741824 bytes"):
        load_npz(path)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"labels": LABELS[:-1]}, "one label for each of the 20. Received: 19"),
        ({"labels": LABELS.astype(int) - 1}, "from 0 to 99999. Received: -1, for the image at in"),
        ({"labels": LABELS.astype(np.uint64) + 2**63}, "from 0 to 99999. Received: 92233720"),
        (
            {"labels": LABELS * 2},
            "every class from 0 to 18.*must have an image. Received: none of 1",
        ),
        ({"labels": LABELS * 0}, "at least two classes. Received: the label 0 for all 20 images"),
        ({"labels": LABELS / 2}, "must be integers, one for each image. Received: float"),
        ({"labels": LABELS[:, None]}, r"one for each image. Received: uint8 of shape \(20, 1\)"),
        (
            {"images": IMAGES[0]},
            r"of shape \(n, rows, columns\).*Received: uint8 of shape \(4, 5\)",
        ),
        (
            {"images": IMAGES.astype(int)},
            "must be bytes .uint8. or floating point.*Received: int64",
        ),
        ({"images": IMAGES * np.nan}, "must be finite in float32. Received: 400 numbers"),
        ({"images": IMAGES * 1e300}, "must be finite in float32. Received: 398 numbers"),
    ],
)
def test_arrays_that_are_not_labelled_images_are_refused(change, expected, tmp_path):
    arrays = {"images": IMAGES, "labels": LABELS} | change
    with pytest.raises(BadFile, match=f"data.npz.*{expected}"):
        load_npz(write_npz(tmp_path / "data.npz", **arrays))


def test_missing_array_is_reported_with_the_available_names(tmp_path):
    path = write_npz(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    with pytest.raises(BadFile, match=r"must hold an array 'images'. Received: \['x', 'y'\]"):
        load_npz(path)
    assert load_npz(path, images="x", labels="y").outputs == 10
    with pytest.raises(BadFile, match="from 0 to 8. Received: 9"):
        load_npz(path, images="x", labels="y", num_classes=9)
