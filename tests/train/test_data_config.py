"""Data sets that are loaded from a config."""

import numpy as np
import pytest
from helpers.data_files import idx_bytes
from PIL import Image
from pydantic import TypeAdapter

from jconv.train.build import build_data
from jconv.train.config import Data, Npz

CONFIGS = {
    "photos": dict(patches=100, size=8),
    "fashion_mnist": dict(folder="~/mnist"),
    "mnist": dict(folder="mnist"),
    "npz": dict(path="data.npz", images="x", labels="y"),
    "image_folder": dict(folder="images", size=[8, 8]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_config_of_each_kind_loads_its_data_set(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    images = np.arange(20 * 8 * 8, dtype=np.uint8).reshape(20, 8, 8)
    labels = np.arange(20, dtype=np.uint8) % 10
    (tmp_path / "mnist").mkdir()
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            (tmp_path / "mnist" / f"{part}-{name}-ubyte").write_bytes(idx_bytes(array))
    np.savez(tmp_path / "data.npz", x=images, y=labels)
    for i, image in enumerate(images):
        (tmp_path / f"images/{labels[i]}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"images/{labels[i]}/{i}.png")
    config = TypeAdapter(Data).validate_python({"kind": kind, **CONFIGS[kind]})
    data = build_data(config)
    assert data.input_shape[:2] == (8, 8)
    assert data.outputs == (3 if kind == "photos" else 10)
    batch = data.train.take(np.array([0, 1]))
    assert batch.inputs.dtype == np.float32 and batch.targets.dtype == np.int32


def test_memory_limit_of_a_config_is_in_mib(tmp_path):
    np.savez(tmp_path / "data.npz", images=np.zeros((300, 32, 32), np.uint8), labels=[0, 1] * 150)
    config = Npz(path=str(tmp_path / "data.npz"), memory=1)
    with pytest.raises(ValueError, match="must take from 1 to 1048576 bytes"):
        build_data(config)
    assert build_data(config.model_copy(update={"memory": 2})).outputs == 2


def test_test_images_without_test_labels_are_refused():
    with pytest.raises(ValueError, match="`test_images` and `test_labels` must be given both"):
        Npz(path="data.npz", test_images="x")
