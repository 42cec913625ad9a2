"""Runs whose examples do not fit into memory: the same run, batch by batch."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jconv.data import Examples
from jconv.train import TrainConfig, resume, train
from jconv.train.trainer import Trainer


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Three kinds of pictures, told apart by where they are bright."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    for kind in range(3):
        (folder / str(kind)).mkdir()
        for i in range(30):
            pixels = rng.integers(0, 100, (16, 16, 3), dtype=np.uint8)
            pixels[:, 5 * kind : 5 * kind + 5] += 150
            Image.fromarray(pixels).save(folder / str(kind) / f"{i}.png")
    return folder


def config(pictures, memory, **changes):
    content = {
        "name": "pictures",
        "data": {"kind": "image_folder", "folder": str(pictures), "size": [64, 64],
                 "memory": memory},
        "model": {"kind": "parallel_net", "blocks": [{3: 4}, {3: 8}]},
        "optimizer": {"kind": "adam", "learning_rate": 1e-2},
        "steps": 12,
        "batch_size": 16,
        "augment": {"shift": 1},
        "log": {"every": 4, "evaluate_every": 6, "kernels_every": 12},
        "checkpoints": {"every": 6},
    }  # fmt: skip
    return TrainConfig.model_validate(content | changes)


def logged(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def test_what_is_read_as_it_is_needed_makes_the_run_of_what_is_in_memory(pictures, tmp_path):
    small = config(pictures, memory=1)
    assert not isinstance(Trainer(small).data.train, Examples)
    read, summary = train(small, runs=tmp_path / "read")
    held, _ = train(config(pictures, memory=100), runs=tmp_path / "held")
    for ours, theirs in zip(logged(read), logged(held), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5)
    assert summary["classes"] == ["0", "1", "2"]


def test_a_run_that_reads_goes_on_with_the_same_bits(pictures, tmp_path):
    whole, _ = train(config(pictures, memory=1), runs=tmp_path / "whole")
    run, _ = train(config(pictures, memory=1), runs=tmp_path / "ended")
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints" / "000012")
    told = []
    resume(run, notify=told.append)
    assert told == ["continues after step 6 of 12"]
    assert logged(run) == logged(whole)


@pytest.mark.slow
def test_replicates_read_each_its_own_batches(pictures, tmp_path):
    many, _ = train(config(pictures, memory=1, replicates=2), runs=tmp_path / "many")
    singles = [
        train(config(pictures, memory=1, seed=seed), runs=tmp_path / str(seed))[0]
        for seed in (0, 1)
    ]
    lines = [logged(run) for run in singles]
    for i, line in enumerate(logged(many)):
        mean = np.mean([own[i]["loss"] for own in lines])
        assert line["loss"] == pytest.approx(mean, rel=1e-3, abs=1e-4)
