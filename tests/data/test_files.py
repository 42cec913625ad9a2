"""Files that are not what they seem: each is refused, with its name and what is wrong with it."""

import contextlib
import gzip
import io
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from jconv.data import BadFile, load_fashion_mnist, load_image_folder, load_mnist, load_npz
from jconv.data import image_decoding as image_module
from jconv.data.idx import read_idx
from jconv.data.image_decoding import decode
from jconv.data.npz import read_npz
from jconv.data.safe_io import open_file


def idx(numbers, shape=None, magic=None):
    """An IDX file of bytes; `shape` and `magic` are what its header says, if not the truth."""
    shape = numbers.shape if shape is None else shape
    magic = bytes([0, 0, 8, len(shape)]) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + numbers.tobytes()


IMAGES = np.arange(20 * 4 * 5, dtype=np.uint8).reshape(20, 4, 5)
LABELS = np.arange(20, dtype=np.uint8) % 10


def mnist(folder, **changes):
    """A folder of four IDX files."""
    folder.mkdir(exist_ok=True)
    files = {
        "train-images-idx3-ubyte": idx(IMAGES),
        "train-labels-idx1-ubyte": idx(LABELS),
        "t10k-images-idx3-ubyte": idx(IMAGES[:7]),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(idx(LABELS[:7])),
    }
    for name, content in (files | changes).items():
        (folder / name).write_bytes(content)
    return folder


@contextlib.contextmanager
def little_memory():
    """What happens here must take less than 8 MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


# IDX


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "must begin with 00 00 08 03.*Received: nothing"),
        (b"\0\0", "must begin with 00 00 08 03.*Received: 00 00"),
        (b"GIF89a" * 99, "must begin with 00 00 08 03.*Received: 47 49 46 38"),
        (idx(LABELS), "must begin with 00 00 08 03.*Received: 00 00 08 01"),
        (idx(IMAGES, magic=b"\0\0\x0d\3"), "an IDX file of bytes.*Received: 00 00 0d 03"),
        (idx(IMAGES)[:11], "must have a header of 16 bytes. Received: 11"),
        (idx(IMAGES)[:-1], r"the 400 bytes that its header says, \(20, 4, 5\). Received: 399"),
        (idx(IMAGES) + b"\0", "the 400 bytes that its header says.*Received: (401|more)"),
        (idx(IMAGES, (20, 4, 50)), "the 4000 bytes that its header says.*Received: 400"),
        (idx(IMAGES, (0, 4, 5)), r"must hold from 1 to .*\(0, 4, 5\), which is 0"),
        (idx(IMAGES, (2**32 - 1, 4, 5)), "must hold from 1 to 1073741824 bytes; `memory`"),
        (idx(IMAGES, (2**32 - 1,) * 3), r"must hold from 1 to .*\(4294967295, 4294967295"),
    ],
)
def test_idx_headers_that_lie(content, expected, pack, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(pack(content))
    with pytest.raises(BadFile, match=rf"{path}: .*{expected}"):
        read_idx(path, rank=3)


def test_an_idx_file_that_gzip_did_not_finish(tmp_path):
    path = tmp_path / "images.gz"
    packed = gzip.compress(idx(IMAGES))
    for content in (packed[:-1], packed[:-60], packed[:12], packed[:2]):
        path.write_bytes(content)
        with pytest.raises(BadFile, match="must be what gzip packed. Received: the end is missing"):
            read_idx(path, rank=3)
    for place in (-5, 3, len(packed) // 2):  # the checksum, the flags, what is packed
        content = bytearray(packed)
        content[place] ^= 0xE0
        path.write_bytes(content)
        with pytest.raises(BadFile, match="must be what gzip packed|must begin|must hold"):
            read_idx(path, rank=3)


def test_a_gzip_bomb_unpacks_no_further_than_its_header_says(tmp_path):
    path = tmp_path / "images.gz"
    pack = zlib.compressobj(9, wbits=31)
    content = pack.compress(idx(IMAGES)) + b"".join(pack.compress(bytes(2**20)) for _ in range(60))
    path.write_bytes(content + pack.flush())
    assert path.stat().st_size < 2**17
    refusal = pytest.raises(BadFile, match="the 400 bytes that its header says.*Received: more")
    with little_memory(), refusal:
        read_idx(path, rank=3)


def test_a_long_name_in_a_gzip_header_takes_no_time(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**26)
    with pytest.raises(BadFile, match="the end is missing"):
        read_idx(path, rank=3)


def test_mnist_comes_as_numbers(tmp_path):
    data = load_mnist(mnist(tmp_path / "data"), validation=0.2, seed=3)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [16, 4, 7]
    assert data.input_shape == (4, 5, 1) and data.outputs == 10 and data.classes[7] == "7"
    assert data.train.inputs.dtype == np.float32 and data.train.targets.dtype == np.int32
    np.testing.assert_allclose(data.test.inputs[..., 0], IMAGES[:7] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(data.test.targets, LABELS[:7])
    together = np.concatenate([data.train.inputs, data.validation.inputs])
    assert {image.tobytes() for image in together} == {
        image.tobytes() for image in (IMAGES / np.float32(127.5) - 1).astype(np.float32)[..., None]
    }
    again = load_mnist(tmp_path / "data", validation=0.2, seed=3)
    np.testing.assert_array_equal(data.validation.inputs, again.validation.inputs)


def test_mnist_files_that_do_not_belong_together(tmp_path):
    few = {"train-labels-idx1-ubyte": idx(LABELS[:-1])}
    with pytest.raises(BadFile, match="a label for each of the 20. Received: 19 labels"):
        load_mnist(mnist(tmp_path / "few", **few))
    bad = {"train-labels-idx1-ubyte": idx(LABELS + (LABELS == 4) * np.uint8(196))}
    with pytest.raises(
        BadFile, match="from 0 to 9. Received: 200, for the image at place 4, and 1"
    ):
        load_mnist(mnist(tmp_path / "range", **bad))
    other = {"t10k-images-idx3-ubyte": idx(IMAGES[:7, :3])}
    with pytest.raises(BadFile, match=r"must have one size. Received: \(4, 5\) and \(3, 5\)"):
        load_mnist(mnist(tmp_path / "size", **other))


def test_mnist_that_takes_too_much_memory(tmp_path):
    folder = mnist(tmp_path / "data")
    load_mnist(folder, memory=4 * 27 * 20)
    for memory in (4 * 27 * 20 - 4, 4 * 20 * 20 - 4):
        with pytest.raises(BadFile, match="`memory` sets how much"):
            load_mnist(folder, memory=memory)


def test_missing_files_are_told_with_what_to_install(tmp_path):
    with pytest.raises(BadFile, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist(tmp_path / "nowhere")
    (mnist(tmp_path / "data") / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(
        BadFile, match="must hold t10k-images-idx3-ubyte or t10k-images-idx3-ubyte.gz"
    ):
        load_mnist(tmp_path / "data")


# What is no file


def test_pipes_devices_and_folders_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path, kind in (
        (tmp_path / "pipe", "a pipe"),
        (tmp_path / "folder", "a folder"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(BadFile, match=f"must be a file. Received: {kind}"):
            load_npz(path)
    folder = mnist(tmp_path / "data")
    (folder / "train-images-idx3-ubyte").unlink()
    os.mkfifo(folder / "train-images-idx3-ubyte")
    with pytest.raises(BadFile, match="train-images-idx3-ubyte: must be a file. Received: a pipe"):
        load_mnist(folder)


def test_links_that_lead_out_are_not_followed(tmp_path):
    folder = mnist(tmp_path / "data")
    (folder / "t10k-images-idx3-ubyte").rename(folder / "elsewhere")
    (folder / "t10k-images-idx3-ubyte").symlink_to("elsewhere")
    load_mnist(folder)  # a link within the folder
    (folder / "elsewhere").rename(tmp_path / "secret")
    (folder / "t10k-images-idx3-ubyte").unlink()
    (folder / "t10k-images-idx3-ubyte").symlink_to("../secret")
    with pytest.raises(BadFile, match=rf"must lie in .*a link to {tmp_path}/secret. Copy"):
        load_mnist(folder)


def test_links_that_lead_nowhere_or_round(tmp_path):
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "round").symlink_to("round")
    for name in ("nowhere", "round"):
        with pytest.raises(BadFile, match=f"{name}: must be a file that can be read"):
            load_npz(tmp_path / name)


def test_what_must_not_be_read(tmp_path, monkeypatch):
    # As root everything may be read, so the refusal is played.
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "data.npz"
    path.write_bytes(b"PK")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(
            BadFile, match="data.npz: must be a file that can be read. .*Permission"
        ):
            load_npz(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        with pytest.raises(BadFile, match="must be a folder that can be listed. .*Permission"):
            load_image_folder(tmp_path, size=(8, 8))


# NPZ


def npz(path, save=np.savez, **arrays):
    save(path, **arrays)
    return path


def zipped(path, content, name="images.npy", **options):
    """An .npz file whose one array is this content."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr(name, content)
    return path


def npy(shape, descr="<f4", numbers=b"", header=None):
    """An .npy file whose header says what it is told to."""
    header = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode("latin-1") + numbers


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_arrays_are_those_of_numpy(save, tmp_path, rng):
    arrays = {
        "bytes": rng.integers(0, 256, (3, 4), np.uint8),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4, 5))),
        "big": rng.normal(size=7).astype(">f4"),
        "number": np.array(3),
        "truth": np.array([True, False]),
        "complex": np.array([1 + 2j]),
    }
    found = read_npz(npz(tmp_path / "data.npz", save, **arrays), arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_npz_comes_as_numbers(tmp_path, rng):
    images, labels = rng.integers(0, 256, (30, 6, 5, 3), np.uint8), np.arange(30) % 3
    data = load_npz(npz(tmp_path / "data.npz", images=images, labels=labels))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [21, 3, 6]
    assert data.input_shape == (6, 5, 3) and data.outputs == 3
    assert data.train.inputs.min() >= -1 and data.train.inputs.max() <= 1
    floats = images[..., 0] / 10
    path = npz(tmp_path / "apart.npz", x_train=floats, y_train=labels, x=floats[:5], y=labels[:5])
    names = dict(images="x_train", labels="y_train", test_images="x", test_labels="y", classes=4)
    data = load_npz(path, **names)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [27, 3, 5]
    assert data.outputs == 4
    np.testing.assert_array_equal(data.test.inputs[..., 0], floats[:5].astype(np.float32))


class Trap:
    """Says so if it is ever unpickled."""

    def __reduce__(self):
        return (sys.exit, ("it was run",))


def test_pickled_arrays_are_not_unpickled(tmp_path):
    trap = np.array([Trap()], dtype=object)
    path = npz(tmp_path / "data.npz", images=trap, labels=trap)
    with pytest.raises(BadFile, match="'images' must hold numbers. Received: pickled objects"):
        load_npz(path)
    with pytest.raises(BadFile, match="must be an array as `numpy.save` writes it"):
        load_npz(zipped(path, pickle.dumps(Trap())))
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadFile, match="must be an .npz file"):
        load_npz(path)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", "must be an array as `numpy.save`"),
        (npy("(5,)")[:9], "must be an array as `numpy.save`"),
        (npy("(5,)", numbers=bytes(19)), r"must hold the 20 bytes.*\(5,\). Received: 19"),
        (npy("(5,)", numbers=bytes(21)), "must hold the 20 bytes.*Received: another number"),
        (npy("(0,)"), "must take from 1 to"),
        (npy("(-5,)"), "must be an array of numbers"),
        (npy(f"({2**40}, {2**40})"), "must take from 1 to 1073741824 bytes of memory; `memory`"),
        (npy("(" + "9" * 20 + ",)"), "must take from 1 to"),
        (npy(f"({2**28 + 1},)"), "must take from 1 to"),
        (npy("(1, " * 500 + ")"), "must be an array of numbers"),
        (npy("(" + "1, " * 500 + ")", numbers=bytes(4)), "must be an .npz file.*dimension"),
        (npy("(5,)", descr="<f3"), "must hold numbers. Received: '<f3'"),
        (npy("(5,)", descr="<U5"), "must be an array of numbers"),
        (npy("", header="__import__('os').system('true')"), "must be an array of numbers"),
        (npy("", header="(" * 4000), "must be an array of numbers"),
        (npy("", header="(" * 5000), "must have a header of at most 4096 bytes"),
    ],
)
def test_npz_headers_that_lie(content, expected, tmp_path):
    with pytest.raises(BadFile, match=f"data.npz: .*{expected}"):
        load_npz(zipped(tmp_path / "data.npz", content))


def test_zip_bombs_unpack_no_further_than_their_header_says(tmp_path):
    path = tmp_path / "data.npz"
    zipped(path, npy("(5,)", numbers=bytes(2**26)), compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**17
    refusal = pytest.raises(BadFile, match="must hold the 20 bytes that its header says")
    with little_memory(), refusal:
        load_npz(path)
    zipped(path, npy(f"({2**24},)", numbers=bytes(2**26)), compression=zipfile.ZIP_DEFLATED)
    with little_memory(), pytest.raises(BadFile, match="must take from 1 to 1048576 bytes"):
        load_npz(path, memory=2**20)


def test_archives_that_are_none(tmp_path):
    path = npz(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    content = path.read_bytes()
    for other in (content[:-30], content[: len(content) // 2], b"", b"PK" * 999, content[500:]):
        path.write_bytes(other)
        with pytest.raises(BadFile, match="data.npz: must be an .npz file"):
            load_npz(path)
    broken = bytearray(content)
    broken[200] ^= 1  # a number of an array, which its checksum tells
    path.write_bytes(broken)
    with pytest.raises(BadFile, match="Bad CRC-32"):
        load_npz(path)
    with pytest.raises(BadFile, match="must be stored or deflated"):
        load_npz(zipped(path, npy("(5,)"), compression=zipfile.ZIP_LZMA))
    path.write_bytes(b"PK\1\2" * 20_000)
    with pytest.raises(BadFile, match="at most 10000 arrays. Received: 20000"):
        load_npz(path)
    with open(path, "wb") as file:
        file.truncate(2**31)  # of nothing: it takes no room on the disk
    with pytest.raises(BadFile, match="must have at most 1073741824 bytes"):
        load_npz(path)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"labels": LABELS[:-1]}, "a label for each of the 20. Received: 19"),
        ({"labels": LABELS.astype(int) - 1}, "from 0 to 99999. Received: -1, for the image at pl"),
        ({"labels": LABELS.astype(np.uint64) + 2**63}, "from 0 to 99999. Received: 92233720"),
        (
            {"labels": LABELS * 2},
            "every class from 0 to 18.*must have an image. Received: none of 1",
        ),
        ({"labels": LABELS * 0}, "at least two classes. Received: the label 0 for all 20 images"),
        ({"labels": LABELS / 2}, "must be whole numbers, one for each image. Received: float"),
        ({"labels": LABELS[:, None]}, r"one for each image. Received: uint8 of shape \(20, 1\)"),
        (
            {"images": IMAGES[0]},
            r"of shape \(n, rows, columns\).*Received: uint8 of shape \(4, 5\)",
        ),
        (
            {"images": IMAGES.astype(int)},
            "must be bytes .uint8. or floating point.*Received: int64",
        ),
        ({"images": IMAGES * np.nan}, "must be finite in 32 bits. Received: 400 numbers"),
        ({"images": IMAGES * 1e300}, "must be finite in 32 bits. Received: 398 numbers"),
    ],
)
def test_arrays_that_are_no_labelled_images(change, expected, tmp_path):
    arrays = {"images": IMAGES, "labels": LABELS} | change
    with pytest.raises(BadFile, match=f"data.npz.*{expected}"):
        load_npz(npz(tmp_path / "data.npz", **arrays))


def test_arrays_of_other_names(tmp_path):
    path = npz(tmp_path / "data.npz", x=IMAGES, y=LABELS)
    with pytest.raises(BadFile, match=r"must hold an array 'images'. Received: \['x', 'y'\]"):
        load_npz(path)
    assert load_npz(path, images="x", labels="y").outputs == 10
    with pytest.raises(BadFile, match="from 0 to 8. Received: 9"):
        load_npz(path, images="x", labels="y", classes=9)


# Folders of images


def folder_of_images(folder, classes=("cat", "dog"), each=10, form="png"):
    """One colour for each class."""
    for i, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for j in range(each):
            picture = Image.new("RGB", (12, 9), (100 * i, 10 * j, 50))
            picture.save(folder / name / f"{j}.{form}")
    return folder


def bad_jpeg():
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "JPEG")
    return file.getvalue()[:900]


def test_an_image_folder_comes_as_numbers(tmp_path):
    data = load_image_folder(folder_of_images(tmp_path / "data"), size=(9, 12))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert data.input_shape == (9, 12, 3) and data.classes == ("cat", "dog")
    for part in (data.train, data.validation, data.test):
        np.testing.assert_allclose(
            part.inputs[:, 0, 0, 0], 100 * part.targets / 127.5 - 1, atol=1e-6
        )
    grey = load_image_folder(tmp_path / "data", size=(5, 5), grey=True)
    assert grey.input_shape == (5, 5, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(9, 12), (24, 32)])
def test_images_are_upright_however_the_camera_was_held(orientation, size):
    lying, upright, exif = io.BytesIO(), io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((32, 24), 50).save(lying, "PNG", exif=exif)
    with Image.open(lying) as image:
        ImageOps.exif_transpose(image).save(upright, "PNG")
    found, expected = (
        decode(io.BytesIO(file.getvalue()), size=size, grey=True, path="noise.png").astype(int)
        for file in (lying, upright)
    )
    np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_that_is_none_is_left_aside(exif):
    file = io.BytesIO()
    Image.new("RGB", (12, 9)).save(file, "JPEG", exif=exif)
    found = decode(io.BytesIO(file.getvalue()), size=(9, 12), grey=False, path="x")
    assert found.shape == (9, 12, 3)


def test_images_that_do_not_fit_are_read_as_they_are_needed(tmp_path):
    folder = folder_of_images(tmp_path / "data", form="jpg")
    held = load_image_folder(folder, size=(8, 8), seed=5)
    lazy = load_image_folder(folder, size=(8, 8), seed=5, memory=1000)
    assert not isinstance(lazy.train, tuple) and lazy.input_shape == held.input_shape
    for name in ("train", "validation", "test"):
        every = np.arange(len(getattr(held, name)))
        for a, b in zip(getattr(lazy, name).take(every), getattr(held, name), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_images_that_cannot_be_decoded_are_named_and_counted(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / "bad.jpg").write_bytes(bad_jpeg())
    with pytest.raises(
        BadFile, match="cat/bad.jpg: must be a PNG or JPEG that can be decoded.*trunc"
    ):
        load_image_folder(folder, size=(8, 8))
    (folder / "dog" / "notes.txt").write_text("not an image")
    with (
        pytest.warns(UserWarning, match="skipped: .*cat/bad.jpg"),
        pytest.raises(BadFile, match="dog/notes.txt.*At most `skip_at_most`, 1, may be skipped"),
    ):
        load_image_folder(folder, size=(8, 8), skip_at_most=1)
    with pytest.warns(UserWarning) as told:
        data = load_image_folder(folder, size=(8, 8), skip_at_most=2)
    assert [str(w.message).split(": must")[0].rpartition("/")[2] for w in told] == [
        "bad.jpg",
        "notes.txt",
    ]
    assert sum(map(len, (data.train, data.validation, data.test))) == 20


@pytest.mark.filterwarnings("ignore:skipped")
def test_an_image_that_is_skipped_while_streaming_is_the_next_one_of_its_split(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / "0.png").write_bytes(b"")
    with pytest.raises(BadFile, match="cat/0.png"):
        data = load_image_folder(folder, size=(8, 8), memory=1000)
        for part in (data.train, data.validation, data.test):
            part.take(np.arange(len(part)))
    data = load_image_folder(folder, size=(8, 8), memory=1000, skip_at_most=1)
    for part in (data.train, data.validation, data.test):
        first, second = (part.take(np.arange(len(part))) for _ in range(2))
        np.testing.assert_array_equal(first.inputs, second.inputs)
        bad = [i for i in range(len(part)) if part.indices[i] == 0]
        for i in bad:
            np.testing.assert_array_equal(first.inputs[i], first.inputs[(i + 1) % len(part)])


def png_that_says(columns, rows):
    """A PNG of one pixel whose header says more."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", columns, rows)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [6_000, 10_000, 60_000, 2**31 - 1])
def test_decompression_bombs_are_not_unpacked(side, tmp_path):
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / "bomb.png").write_bytes(png_that_says(side, side))
    with pytest.raises(
        BadFile, match="bomb.png: must (have at most 33554432 pixels|be a PNG .*Bomb)"
    ):
        load_image_folder(folder, size=(8, 8))


def test_jpegs_that_go_over_their_pixels_without_end(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    file = io.BytesIO()
    Image.new("L", (2000, 2000)).save(file, "JPEG", progressive=True)
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\0"
    content = file.getvalue()
    (folder / "cat" / "slow.jpg").write_bytes(content[:-2] + 200 * scan + content[-2:])
    with pytest.raises(BadFile, match="slow.jpg: .*Received: 2000 x 2000, gone over 2.. times"):
        load_image_folder(folder, size=(8, 8))


def test_large_files_and_deep_pixels(tmp_path, monkeypatch):
    folder = folder_of_images(tmp_path / "data")
    Image.fromarray(np.ones((9, 12), np.uint16)).save(folder / "cat" / "deep.png")
    with pytest.raises(
        BadFile, match="deep.png: must have at most 8 bits a channel. Received: mode"
    ):
        load_image_folder(folder, size=(8, 8))
    monkeypatch.setattr(image_module, "MOST_BYTES", 50)
    with pytest.raises(BadFile, match="0.png: must have at most 50 bytes"):
        load_image_folder(folder, size=(8, 8))


def test_other_formats_are_not_decoded(tmp_path):
    """Among them such that Pillow hands to another program."""
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(BadFile, match="0.png: must be a PNG or JPEG"):
        load_image_folder(folder, size=(8, 8))


def test_folders_that_hold_no_classes(tmp_path):
    with pytest.raises(BadFile, match="missing: must be a folder that can be listed. Received: No"):
        load_image_folder(tmp_path / "missing", size=(8, 8))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadFile, match="empty: must hold a folder for each of at least two classes"):
        load_image_folder(empty, size=(8, 8))
    folder = folder_of_images(tmp_path / "data")
    (folder / "bird").mkdir()
    with pytest.raises(BadFile, match="bird: must hold images of its class. Received: none"):
        load_image_folder(folder, size=(8, 8))
    (folder / "bird").rmdir()
    (folder / "bird").write_text("")
    with pytest.raises(BadFile, match="bird: must be a folder of images, one for each class"):
        load_image_folder(folder, size=(8, 8))
    with pytest.raises(
        BadFile, match="bird: must be a folder that can be listed. .*Not a directory"
    ):
        load_image_folder(folder / "bird", size=(8, 8))


def test_what_is_no_image_in_a_folder_of_images(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / ".hidden").write_text("left alone")
    load_image_folder(folder, size=(8, 8))
    os.mkfifo(folder / "cat" / "pipe.png")
    with pytest.raises(
        BadFile, match="pipe.png: must be an image. Received: a folder, pipe or dev"
    ):
        load_image_folder(folder, size=(8, 8))
    (folder / "cat" / "pipe.png").unlink()
    (folder / "cat" / "deeper").mkdir()
    with pytest.raises(BadFile, match="deeper: must be an image"):
        load_image_folder(folder, size=(8, 8))


def test_links_out_of_a_folder_of_images(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    (folder / "cat" / "link.png").symlink_to("0.png")
    load_image_folder(folder, size=(8, 8))
    outside = folder_of_images(tmp_path / "outside")
    (folder / "cat" / "out.png").symlink_to(outside / "cat" / "0.png")
    with pytest.raises(BadFile, match="out.png: must lie in .* Received: a link to .*outside/cat"):
        load_image_folder(folder, size=(8, 8))
    (folder / "cat" / "out.png").unlink()
    (folder / "bird").symlink_to(outside / "cat")
    with pytest.raises(BadFile, match="bird: must lie in"):
        load_image_folder(folder, size=(8, 8))


def test_a_file_that_becomes_a_link_after_it_was_listed(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    data = load_image_folder(folder, size=(8, 8), memory=1000)
    for path in folder.rglob("*.png"):
        path.unlink()
        path.symlink_to("/etc/hostname")
    with pytest.raises(BadFile, match="must lie in"):
        data.train.take(np.array([0]))


def test_names_that_are_no_text(tmp_path):
    folder = folder_of_images(tmp_path / "data")
    path = os.path.join(os.fsencode(folder / "cat"), b"\xff\x1b[2J.png")
    with open(path, "wb"):
        pass
    with pytest.raises(BadFile) as error:
        load_image_folder(folder, size=(8, 8))
    assert r"\udcff\x1b[2J.png: must have a name in UTF-8" in str(error.value)
    str(error.value).encode()


def test_a_path_with_a_zero_in_it(tmp_path):
    with pytest.raises(ValueError, match="null byte"):
        open_file(tmp_path / "a\0b")
