"""Folders of images: in memory, on demand, and with entries that are not images."""

import io
import os

import numpy as np
import pytest
from helpers.data_files import write_image_folder
from PIL import Image

from jconv.data import BadFile, Examples, load_image_folder


def truncated_jpeg():
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "JPEG")
    return file.getvalue()[:900]


def test_image_folder_is_loaded_as_scaled_floats_with_integer_labels(tmp_path):
    data = load_image_folder(write_image_folder(tmp_path / "data"), size=(9, 12))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert data.input_shape == (9, 12, 3) and data.classes == ("cat", "dog")
    for part in (data.train, data.validation, data.test):
        np.testing.assert_allclose(
            part.inputs[:, 0, 0, 0], 100 * part.targets / 127.5 - 1, atol=1e-6
        )
    grey = load_image_folder(tmp_path / "data", size=(5, 5), grey=True)
    assert grey.input_shape == (5, 5, 1)


def test_images_beyond_the_memory_limit_are_decoded_on_demand(tmp_path):
    folder = write_image_folder(tmp_path / "data", suffix="jpg")
    in_memory = load_image_folder(folder, size=(8, 8), seed=5)
    lazy = load_image_folder(folder, size=(8, 8), seed=5, memory=1000)
    assert not isinstance(lazy.train, Examples) and lazy.input_shape == in_memory.input_shape
    for name in ("train", "validation", "test"):
        expected = getattr(in_memory, name)
        decoded = getattr(lazy, name).take(np.arange(len(expected)))
        for a, b in zip(decoded, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_undecodable_images_are_skipped_up_to_the_limit(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / "bad.jpg").write_bytes(truncated_jpeg())
    with pytest.raises(
        BadFile, match="cat/bad.jpg: must be a PNG or JPEG that can be decoded.*trunc"
    ):
        load_image_folder(folder, size=(8, 8))
    (folder / "dog" / "notes.txt").write_text("not an image")
    with (
        pytest.warns(UserWarning, match="skipped: .*cat/bad.jpg"),
        pytest.raises(BadFile, match="dog/notes.txt.*At most 1 images may be skipped"),
    ):
        load_image_folder(folder, size=(8, 8), max_skipped=1)
    with pytest.warns(UserWarning) as warnings:
        data = load_image_folder(folder, size=(8, 8), max_skipped=2)
    messages = [str(warning.message) for warning in warnings]
    assert [m.split(": must")[0].rpartition("/")[2] for m in messages] == ["bad.jpg", "notes.txt"]
    assert sum(map(len, (data.train, data.validation, data.test))) == 20


@pytest.mark.filterwarnings("ignore:skipped")
def test_skipped_image_on_demand_is_replaced_by_the_next_one_of_its_split(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / "0.png").write_bytes(b"")
    with pytest.raises(BadFile, match="cat/0.png"):
        data = load_image_folder(folder, size=(8, 8), memory=1000)
        for part in (data.train, data.validation, data.test):
            part.take(np.arange(len(part)))
    data = load_image_folder(folder, size=(8, 8), memory=1000, max_skipped=1)
    for part in (data.train, data.validation, data.test):
        first, second = (part.take(np.arange(len(part))) for _ in range(2))
        np.testing.assert_array_equal(first.inputs, second.inputs)
        for i in np.flatnonzero(part.indices == 0):
            np.testing.assert_array_equal(first.inputs[i], first.inputs[(i + 1) % len(part)])


def test_folders_without_class_folders_are_refused(tmp_path):
    with pytest.raises(BadFile, match="missing: must be a folder that can be listed. Received: No"):
        load_image_folder(tmp_path / "missing", size=(8, 8))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadFile, match="empty: must hold from 2 to 100000 folders, one per class"):
        load_image_folder(empty, size=(8, 8))
    folder = write_image_folder(tmp_path / "data")
    (folder / "bird").mkdir()
    with pytest.raises(BadFile, match="bird: must hold images of its class. Received: none"):
        load_image_folder(folder, size=(8, 8))
    (folder / "bird").rmdir()
    (folder / "bird").write_text("")
    with pytest.raises(BadFile, match="bird: must be a folder with the images of one class"):
        load_image_folder(folder, size=(8, 8))
    with pytest.raises(
        BadFile, match="bird: must be a folder that can be listed. .*Not a directory"
    ):
        load_image_folder(folder / "bird", size=(8, 8))


def test_entries_that_are_not_files_are_refused_and_hidden_ones_ignored(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / ".hidden").write_text("ignored")
    load_image_folder(folder, size=(8, 8))
    os.mkfifo(folder / "cat" / "pipe.png")
    with pytest.raises(
        BadFile, match="pipe.png: must be an image. Received: a folder, pipe or device"
    ):
        load_image_folder(folder, size=(8, 8))
    (folder / "cat" / "pipe.png").unlink()
    (folder / "cat" / "deeper").mkdir()
    with pytest.raises(BadFile, match="deeper: must be an image"):
        load_image_folder(folder, size=(8, 8))
