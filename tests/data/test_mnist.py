"""IDX files, and the data sets that consist of them."""

import gzip
import zlib

import numpy as np
import pytest
from helpers.data_files import IMAGES, LABELS, idx_bytes, limited_memory, write_mnist

from jconv.data import BadFile, load_fashion_mnist, load_mnist
from jconv.data.idx import read_idx
from jconv.data.mnist import FASHION_MNIST_FOLDER


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "must begin with 00 00 08 03.*Received: nothing"),
        (b"\0\0", "must begin with 00 00 08 03.*Received: 00 00"),
        (b"GIF89a" * 99, "must begin with 00 00 08 03.*Received: 47 49 46 38"),
        (idx_bytes(LABELS), "must begin with 00 00 08 03.*Received: 00 00 08 01"),
        (idx_bytes(IMAGES, magic=b"\0\0\x0d\3"), "an IDX file of bytes.*Received: 00 00 0d 03"),
        (idx_bytes(IMAGES)[:11], "must have a header of 16 bytes. Received: 11"),
        (idx_bytes(IMAGES)[:-1], r"the 400 bytes of .* shape \(20, 4, 5\). Received: 399"),
        (idx_bytes(IMAGES) + b"\0", "the 400 bytes of its header's.*Received: (401|more)"),
        (idx_bytes(IMAGES, (20, 4, 50)), "the 4000 bytes of its header's.*Received: 400"),
        (idx_bytes(IMAGES, (0, 4, 5)), r"must hold from 1 to .*\(0, 4, 5\), which is 0"),
        (idx_bytes(IMAGES, (2**32 - 1, 4, 5)), "must hold from 1 to 1073741824 bytes; `memory`"),
        (idx_bytes(IMAGES, (2**32 - 1,) * 3), r"must hold from 1 to .*\(4294967295, 4294967295"),
    ],
)
def test_malformed_idx_files_are_refused(content, expected, compress, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(compress(content))
    with pytest.raises(BadFile, match=rf"{path}: .*{expected}"):
        read_idx(path, rank=3)


def test_truncated_and_corrupt_gzip_files_are_refused(tmp_path):
    path = tmp_path / "images.gz"
    compressed = gzip.compress(idx_bytes(IMAGES))
    for content in (compressed[:-1], compressed[:-60], compressed[:12], compressed[:2]):
        path.write_bytes(content)
        with pytest.raises(BadFile, match="must be a valid gzip file. Received: the end is miss"):
            read_idx(path, rank=3)
    for position in (-5, 3, len(compressed) // 2):  # the checksum, the flags, the content
        content = bytearray(compressed)
        content[position] ^= 0xE0
        path.write_bytes(content)
        with pytest.raises(BadFile, match="must be a valid gzip file|must begin|must hold"):
            read_idx(path, rank=3)


def test_gzip_bomb_is_not_decompressed_beyond_the_header_size(tmp_path):
    path = tmp_path / "images.gz"
    compressor = zlib.compressobj(9, wbits=31)
    content = compressor.compress(idx_bytes(IMAGES))
    content += b"".join(compressor.compress(bytes(2**20)) for _ in range(60))
    path.write_bytes(content + compressor.flush())
    assert path.stat().st_size < 2**17
    refused = pytest.raises(BadFile, match="the 400 bytes of its header's.*Received: more")
    with limited_memory(), refused:
        read_idx(path, rank=3)


def test_long_file_name_in_a_gzip_header_is_skipped(tmp_path):
    """Python's `gzip` takes minutes for this file, which would end the test run."""
    path = tmp_path / "images.gz"
    path.write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**26)
    with pytest.raises(BadFile, match="the end is missing"):
        read_idx(path, rank=3)


def test_mnist_is_loaded_as_scaled_floats_with_integer_labels(tmp_path):
    data = load_mnist(write_mnist(tmp_path / "data"), validation=0.2, seed=3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [16, 4, 7]
    assert data.input_shape == (4, 5, 1) and data.outputs == 10 and data.classes[7] == "7"
    assert data.train.inputs.dtype == np.float32 and data.train.targets.dtype == np.int32
    np.testing.assert_allclose(data.test.inputs[..., 0], IMAGES[:7] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(data.test.targets, LABELS[:7])
    images = np.concatenate([data.train.inputs, data.validation.inputs])
    assert {image.tobytes() for image in images} == {
        image.tobytes() for image in (IMAGES / np.float32(127.5) - 1).astype(np.float32)[..., None]
    }
    repeated = load_mnist(tmp_path / "data", validation=0.2, seed=3)
    np.testing.assert_array_equal(data.validation.inputs, repeated.validation.inputs)


def test_inconsistent_mnist_files_are_refused(tmp_path):
    fewer_labels = {"train-labels-idx1-ubyte": idx_bytes(LABELS[:-1])}
    with pytest.raises(BadFile, match="one label for each of the 20. Received: 19 labels"):
        load_mnist(write_mnist(tmp_path / "fewer", **fewer_labels))
    out_of_range = {"train-labels-idx1-ubyte": idx_bytes(LABELS + (LABELS == 4) * np.uint8(196))}
    with pytest.raises(
        BadFile, match="from 0 to 9. Received: 200, for the image at index 4, and 1"
    ):
        load_mnist(write_mnist(tmp_path / "range", **out_of_range))
    other_size = {"t10k-images-idx3-ubyte": idx_bytes(IMAGES[:7, :3])}
    with pytest.raises(BadFile, match=r"must have the same size. Received: \(4, 5\) and \(3, 5\)"):
        load_mnist(write_mnist(tmp_path / "size", **other_size))


def test_mnist_beyond_the_memory_limit_is_refused(tmp_path):
    folder = write_mnist(tmp_path / "data")
    load_mnist(folder, memory=4 * 27 * 20)
    for memory in (4 * 27 * 20 - 4, 4 * 20 * 20 - 4):
        with pytest.raises(BadFile, match="`memory` sets the limit"):
            load_mnist(folder, memory=memory)


def test_error_of_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(BadFile, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist(tmp_path / "nowhere")
    (write_mnist(tmp_path / "data") / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(
        BadFile, match="must hold t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"
    ):
        load_mnist(tmp_path / "data")


@pytest.mark.skipif(
    not FASHION_MNIST_FOLDER.exists(), reason="dataset-fashion-mnist is not installed"
)
def test_fashion_mnist_of_the_debian_package():
    data = load_fashion_mnist()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    assert data.input_shape == (28, 28, 1) and data.classes[9] == "boot"
    assert np.bincount(data.test.targets).tolist() == [1000] * 10
    assert data.train.inputs.min() == -1 and data.train.inputs.max() == 1
