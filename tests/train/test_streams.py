"""Runs whose examples do not fit into memory and are read batch by batch."""

import shutil

import numpy as np
import pytest
from helpers.tiny_run import read_metrics
from PIL import Image

from jconv.data import Examples
from jconv.train import TrainConfig, resume, train
from jconv.train.trainer import Trainer


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of three classes of images, which differ in the position of a bright stripe."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    for label in range(3):
        (folder / str(label)).mkdir()
        for i in range(30):
            pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[:, 5 * label : 5 * label + 5] += 150
            Image.fromarray(pixels).save(folder / str(label) / f"{i}.png")
    return folder


def config(images, memory, **changes):
    content = {
        "name": "images",
        "data": {"kind": "image_folder", "folder": str(images), "size": [64, 64],
                 "memory": memory},
        "model": {"kind": "parallel_net", "blocks": [{3: 4}]},
        "optimizer": {"kind": "adam", "learning_rate": 1e-2},
        "steps": 12,
        "batch_size": 16,
        "augment": {"shift": 1},
        "log": {"every": 4, "evaluate_every": 6, "kernels_every": 12},
        "checkpoints": {"every": 6},
    }  # fmt: skip
    return TrainConfig.model_validate(content | changes)


@pytest.fixture(scope="module")
def streamed(images, tmp_path_factory):
    """A run that reads its batches, and its summary."""
    return train(config(images, memory=1), runs=tmp_path_factory.mktemp("streamed"))


def test_streamed_run_equals_the_run_from_memory(images, streamed, tmp_path):
    assert not isinstance(Trainer(config(images, memory=1)).data.train, Examples)
    run, summary = streamed
    in_memory, _ = train(config(images, memory=100), runs=tmp_path)
    for line, expected in zip(read_metrics(run), read_metrics(in_memory), strict=True):
        assert line == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert summary["classes"] == ["0", "1", "2"]


def test_resumed_streamed_run_reproduces_the_uninterrupted_run(streamed, tmp_path):
    run = tmp_path / "images"
    shutil.copytree(streamed[0], run)
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / "000012")
    messages = []
    resume(run, notify=messages.append)
    assert messages == ["continues after step 6 of 12"]
    assert read_metrics(run) == read_metrics(streamed[0])


@pytest.mark.slow
def test_each_replicate_reads_its_own_batches(images, tmp_path):
    run, _ = train(config(images, memory=1, replicates=2), runs=tmp_path / "run")
    singles = [
        train(config(images, memory=1, seed=seed), runs=tmp_path / str(seed))[0] for seed in (0, 1)
    ]
    lines = [read_metrics(single) for single in singles]
    for i, line in enumerate(read_metrics(run)):
        mean = np.mean([single[i]["loss"] for single in lines])
        assert line["loss"] == pytest.approx(mean, rel=1e-3, abs=1e-4)
