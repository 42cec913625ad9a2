"""Tiny runs, actions in the middle of a run, and the comparison of two runs."""

import json

import numpy as np
import pytest

from jconv.train import RunFailed, TrainConfig, step_loop, train, trainer

TINY = {
    "name": "tiny",
    "data": {"kind": "digits"},
    "model": {"kind": "parallel_net", "blocks": [{1: 4, 3: 8}], "dropout": 0.2},
    "optimizer": {"kind": "adam", "learning_rate": 1e-2},
    "steps": 40,
    "batch_size": 32,
    "augment": {"shift": 1},
    "log": {"every": 5, "evaluate_every": 20, "kernels_every": 10},
    "checkpoints": {"every": 10, "keep": 2},
}


def tiny_config(**changes):
    """Return the config of a tiny run, in which whole sections may be replaced."""
    return TrainConfig.model_validate(TINY | changes)


def read_metrics(run):
    """Return the lines of metrics.jsonl without the measured throughput."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def read_arrays(path):
    """Return the arrays of an .npz file."""
    with np.load(path) as arrays:
        return dict(arrays)


def assert_same_run(run, reference):
    """Assert that two runs have the same metrics, kernel files and final metrics bit for bit."""
    assert read_metrics(run) == read_metrics(reference)
    names = [sorted(path.name for path in (r / "kernels").iterdir()) for r in (run, reference)]
    assert names[0] == names[1]
    for name in names[0]:
        kernels, expected = (read_arrays(r / "kernels" / name) for r in (run, reference))
        for path in expected:
            np.testing.assert_array_equal(kernels[path], expected[path])
    summaries = [json.loads((r / "summary.json").read_text()) for r in (run, reference)]
    for key in ("status", "steps", "test_loss", "test_accuracy", "validation_loss"):
        assert summaries[0][key] == summaries[1][key]


def at_step(monkeypatch, step, action):
    """Run `action` before one step of all subsequent runs, which then take one step per call.

    Args:
      monkeypatch: the pytest fixture, or a context of it.
      step: the number of the step.
      action: called without arguments.
    """
    original = trainer.take_steps

    def take_steps(train_step, state, data, indices, keys, first, count):
        if first <= step < first + count:
            action()
        return original(train_step, state, data, indices, keys, first, count)

    monkeypatch.setattr(step_loop, "MAX_CALL_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "take_steps", take_steps)


def fail(*_):
    """Raise an error that stands for any failure."""
    raise RuntimeError("injected failure")


def failed_run(runs, monkeypatch, step, **changes):
    """Train a tiny run until an error before its `step`-th step, and return its folder."""
    with monkeypatch.context() as patch:
        at_step(patch, step, fail)
        with pytest.raises(RunFailed):
            train(tiny_config(**changes), runs=runs)
    return runs / "tiny"


def ignore(_):
    """Ignore the messages of `resume`."""
