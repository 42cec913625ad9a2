"""Ctrl-C and SIGTERM during a run."""

import json
import signal

import numpy as np
import pytest
from helpers.tiny_run import (
    assert_same_run,
    at_step,
    fail,
    ignore,
    read_arrays,
    read_metrics,
    tiny_config,
)

from jconv.train import RunFailed, resume, train
from jconv.train.trainer import Trainer


@pytest.fixture
def sigint_enabled():
    """Install Python's handler of Ctrl-C, which shells disable in background jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_stops_a_run_after_the_current_step(
    reference, tmp_path, monkeypatch, sigint_enabled
):
    with monkeypatch.context() as patch:
        at_step(patch, 25, lambda: signal.raise_signal(signal.SIGINT))
        run, summary = train(tiny_config(), runs=tmp_path)
    assert summary["status"] == "interrupted" and summary["steps"] == 25
    assert summary["signal"] == "SIGINT"
    assert [line["step"] for line in read_metrics(run)] == [1, 5, 10, 15, 20, 25]
    assert max(path.stem for path in (run / "kernels").iterdir()) == "000025"
    assert (run / "checkpoints" / "000025").is_dir()
    assert 0 <= summary["test_accuracy"] <= 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    # The kernels after the interruption are those of a run of 25 steps.
    expected, _ = train(tiny_config(steps=25), runs=tmp_path / "expected")
    for name, kernel in read_arrays(expected / "kernels" / "000025.npz").items():
        np.testing.assert_array_equal(read_arrays(run / "kernels" / "000025.npz")[name], kernel)
    resume(run, notify=ignore)
    assert_same_run(run, reference)


def test_second_ctrl_c_stops_a_run_at_once(tmp_path, monkeypatch, sigint_enabled):
    def press_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_step(monkeypatch, 26, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_config(), runs=tmp_path)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["steps"] == 25


def test_sigterm_during_compilation(reference, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "compile_evaluation", lambda _: signal.raise_signal(signal.SIGTERM))
        run, summary = train(tiny_config(), runs=tmp_path)
    assert (summary["status"], summary["steps"]) == ("interrupted", 0)
    resume(run, notify=ignore)
    assert_same_run(run, reference)


@pytest.mark.parametrize(
    "evaluation, step, lines",
    [(1, 20, 4), (2, 40, 8), (3, 40, 9), (4, 40, 9)],
    ids=["during training", "last step", "final validation", "test"],
)
def test_sigterm_abandons_an_evaluation(evaluation, step, lines, reference, tmp_path, monkeypatch):
    evaluate, calls = Trainer.evaluate, []

    def evaluate_with_signal(*args):
        calls.append(args)
        if len(calls) == evaluation:
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", evaluate_with_signal)
        run, summary = train(tiny_config(), runs=tmp_path)
    assert len(calls) == evaluation  # no evaluation follows
    assert summary["status"] == "interrupted" and summary["signal"] == "SIGTERM"
    assert summary["steps"] == step
    assert "test_loss" not in summary
    assert (run / "checkpoints" / f"{step:06d}").is_dir()
    assert read_metrics(run) == read_metrics(reference)[:lines]
    resume(run, notify=ignore)
    assert_same_run(run, reference)


def test_evaluation_that_is_abandoned_twice(reference, tmp_path, monkeypatch):
    evaluate = Trainer.evaluate

    def evaluate_with_signal(*args):
        signal.raise_signal(signal.SIGTERM)
        return evaluate(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", evaluate_with_signal)
        run, _ = train(tiny_config(), runs=tmp_path)
        _, summary = resume(run, notify=ignore)
    assert (summary["status"], summary["steps"]) == ("interrupted", 20)
    with monkeypatch.context() as patch:  # evaluates step 20, and fails before it saves again
        at_step(patch, 25, fail)
        with pytest.raises(RunFailed):
            resume(run, notify=ignore)
    assert read_metrics(run) == read_metrics(reference)[:5]
    resume(run, notify=ignore)
    assert_same_run(run, reference)
