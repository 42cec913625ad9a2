import itertools
import struct

import numpy as np
import pytest
import skimage.data
from PIL import Image
from pydantic import TypeAdapter

import jconv
from jconv.data import (
    batches,
    load_digits,
    load_fashion_mnist,
    load_filtered_photos,
    load_photos,
)
from jconv.data.mnist import FASHION_FOLDER
from jconv.train.build import build_data
from jconv.train.config import Data, Npz


def test_digits_are_those_of_uci():
    data = load_digits()
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 1797
    assert [len(part) for part in parts] == [1258, 180, 359]
    assert data.input_shape == (8, 8, 1) and data.outputs == 10
    labels = np.concatenate([part.targets for part in parts])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images = np.concatenate([part.inputs for part in parts])
    assert images.min() == -1 and images.max() == 1 and images.dtype == np.float32


def test_splits_share_no_example_and_depend_on_the_seed_alone():
    a, again, other = load_digits(seed=1), load_digits(seed=1), load_digits(seed=2)
    np.testing.assert_array_equal(a.test.inputs, again.test.inputs)
    assert not np.array_equal(a.test.targets, other.test.targets)
    seen = {image.tobytes() for image in a.train.inputs}
    # Two of the 1,797 may be drawn alike, pixel by pixel; a leak would be hundreds.
    assert sum(image.tobytes() in seen for image in a.test.inputs) <= 2


def test_filtered_photos_are_what_the_kernel_makes_of_them():
    kernel = np.asarray(jconv.kernels.sobel())
    data = load_filtered_photos(kernel, patches=20, size=12, seed=3)
    assert data.train.inputs.shape == (16, 12, 12, 1)
    assert data.train.targets.shape == (16, 10, 10, 1)
    np.testing.assert_array_equal(data.hidden_kernel, kernel)
    image, target = data.train.inputs[5, :, :, 0], data.train.targets[5, :, :, 0]
    assert target[4, 7] == pytest.approx((image[4:7, 7:10] * kernel).sum(), rel=1e-4, abs=1e-5)
    every = np.concatenate([p.inputs for p in (data.train, data.validation, data.test)])
    assert every.std() == pytest.approx(1, rel=1e-4)
    assert np.abs(every.mean(axis=(1, 2, 3))).max() < 1e-5


def test_an_epoch_visits_every_example_once_in_batches_of_one_size():
    epoch = list(itertools.islice(batches(10, 3, seed=0), 3))
    assert all(batch.shape == (3,) for batch in epoch)
    assert len(set(np.concatenate(epoch))) == 9
    following = list(itertools.islice(batches(10, 3, seed=0, start=3), 3))
    assert not np.array_equal(epoch, following)


def test_batches_can_be_entered_at_any_step():
    straight = list(itertools.islice(batches(10, 3, seed=4), 12))
    for start in (1, 3, 7):
        entered = itertools.islice(batches(10, 3, seed=4, start=start), 4)
        np.testing.assert_array_equal(list(entered), straight[start : start + 4])


@pytest.mark.parametrize("grey", [False, True])
def test_photos_are_labelled_by_the_photograph(grey):
    data = load_photos(patches=60, size=24, grey=grey, seed=1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [48, 6, 6]
    assert data.input_shape == (24, 24, 1 if grey else 3)
    assert data.classes == ("astronaut", "coffee", "chelsea") and data.outputs == 3
    inputs, labels = data.train
    assert inputs.dtype == np.float32 and labels.dtype == np.int32
    assert set(labels) == {0, 1, 2} and inputs.min() >= -1 and inputs.max() <= 1
    photo = skimage.data.coffee() / np.float32(127.5) - 1
    if not grey:
        patch = inputs[np.flatnonzero(labels == 1)[0]]
        corners = np.argwhere(np.isclose(photo[:-23, :-23], patch[0, 0], atol=1e-6).all(-1))
        assert any(np.allclose(photo[i : i + 24, j : j + 24], patch, atol=1e-6) for i, j in corners)


CONFIGS = {
    "photos": dict(patches=100, size=8),
    "fashion_mnist": dict(folder="~/mnist"),
    "mnist": dict(folder="mnist"),
    "npz": dict(path="data.npz", images="x", labels="y"),
    "image_folder": dict(folder="pictures", size=[8, 8]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_names_each_source(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    images = np.arange(20 * 8 * 8, dtype=np.uint8).reshape(20, 8, 8)
    labels = np.arange(20, dtype=np.uint8) % 10
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (tmp_path / "mnist" / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    np.savez(tmp_path / "data.npz", x=images, y=labels)
    for i, image in enumerate(images):
        (tmp_path / f"pictures/{labels[i]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"pictures/{labels[i]}/{i}.png")
    config = TypeAdapter(Data).validate_python({"kind": kind, **CONFIGS[kind]})
    data = build_data(config)
    assert data.input_shape[:2] == (8, 8)
    assert data.outputs == (3 if kind == "photos" else 10)
    taken = data.train.take(np.array([0, 1]))
    assert taken.inputs.dtype == np.float32 and taken.targets.dtype == np.int32


def test_the_memory_of_a_config_is_in_mib(tmp_path):
    np.savez(tmp_path / "data.npz", images=np.zeros((300, 32, 32), np.uint8), labels=[0, 1] * 150)
    config = Npz(path=str(tmp_path / "data.npz"), memory=1)
    with pytest.raises(ValueError, match="must take from 1 to 1048576 bytes"):
        build_data(config)
    assert build_data(config.model_copy(update={"memory": 2})).outputs == 2


def test_images_to_test_on_need_labels():
    with pytest.raises(ValueError, match="`test_images` and `test_labels` must be given both"):
        Npz(path="data.npz", test_images="x")


@pytest.mark.skipif(not FASHION_FOLDER.exists(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    data = load_fashion_mnist()
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    assert data.input_shape == (28, 28, 1) and data.classes[9] == "boot"
    assert np.bincount(data.test.targets).tolist() == [1000] * 10
    assert data.train.inputs.min() == -1 and data.train.inputs.max() == 1
