"""Fixtures: folders of runs."""

import json

import numpy as np
import pytest
from helpers.pages import write_lines
from helpers.runs import (
    CONFIG,
    ENVIRONMENT,
    SHAPES,
    SUMMARY,
    layer_rows,
    metric_lines,
    write_kernels,
)
from helpers.sweeps import CONTENT, FakeTraining

from jconv.train import TrainConfig


@pytest.fixture
def finished(tmp_path, rng):
    """A finished classification run of seven layers."""
    run = tmp_path / "digits-inception"
    run.mkdir()
    (run / "config.yaml").write_text(CONFIG)
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (run / "summary.json").write_text(json.dumps(SUMMARY))
    write_lines(run / "metrics.jsonl", metric_lines(rng))
    write_kernels(run, range(0, 1201, 100), SHAPES, rng)
    (run / "layers.json").write_text(json.dumps(list(layer_rows())))
    return run


@pytest.fixture
def recovery(tmp_path, rng):
    """A finished regression run that recovers a hidden kernel."""
    run = tmp_path / "recover-prewitt"
    (run / "kernels").mkdir(parents=True)
    target = np.outer([1, 1, 1], [-1, 0, 1]).astype("float32")
    noise = rng.normal(size=(3, 3))
    for step in range(0, 401, 40):
        kernel = (target + noise * np.exp(-step / 40))[:, :, None, None].astype("float32")
        np.savez(run / "kernels" / f"{step:06}.npz", **{"conv.kernel": kernel})
    np.savez(run / "target.npz", kernel=target)
    worst = float(np.abs(noise).max())
    errors = [(step, worst * np.exp(-step / 40)) for step in range(0, 401, 5)]
    lines = [{"step": s, "loss": e**2, "kernel_error": e, "grad_norm": 2 * e} for s, e in errors]
    write_lines(run / "metrics.jsonl", lines)
    (run / "config.yaml").write_text("task: {kind: recover, kernel: prewitt}\n")
    (run / "environment.json").write_text(json.dumps(ENVIRONMENT))
    summary = {"status": "finished", "steps": 400, "seconds": 3.2, "parameters": 9}
    (run / "summary.json").write_text(json.dumps(summary))
    return run


@pytest.fixture
def replicated(finished, rng):
    """The finished run, as if it had eight replicates."""
    lines = [
        line
        | {f"{key}_error": 0.03 * line[key] for key in ("loss", "grad_norm")}
        | {"accuracy_error": 0.02 * (1.05 - line["accuracy"])}
        | ({"validation_accuracy_error": 0.01} if "validation_accuracy" in line else {})
        for line in metric_lines(rng)
    ]
    write_lines(finished / "metrics.jsonl", lines)
    summary = SUMMARY | {"test_accuracy_error": 0.0021, "test_loss_error": 0.0012}
    table = rng.poisson(0.4, size=(10, 10)) * 2 + np.eye(10, dtype=int) * 280
    table[8, 1] = 23
    summary |= {"test_images": int(table.sum()) // 8, "test_confusion": table.tolist()}
    (finished / "summary.json").write_text(json.dumps(summary))
    return finished


@pytest.fixture
def config():
    """A config that trains in a few seconds."""
    return TrainConfig.model_validate(CONTENT)


@pytest.fixture
def fake_training(monkeypatch):
    """Training that only writes files."""
    return FakeTraining(monkeypatch)
