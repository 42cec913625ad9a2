"""Checkpoints: round trip, corruption, and which ones are kept."""

import contextlib
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers.tiny_run import (
    assert_same_run,
    at_step,
    fail,
    failed_run,
    ignore,
    read_arrays,
    read_metrics,
    tiny_config,
)

from jconv.data import load_digits
from jconv.train import RunFailed, checkpoint, resume, train
from jconv.train.run_folder import status
from jconv.train.signals import EvaluationInterrupted
from jconv.train.trainer import Trainer


def test_checkpoint_holds_model_and_optimizer(reference):
    trainer = Trainer(tiny_config(seed=5))
    with trainer.open_checkpoints(reference) as checkpoints:
        step, state, metadata = checkpoints.restore_newest(trainer.state)
    assert step == 40 and metadata["config"]["steps"] == 40
    model = trainer.train_step.model(state)
    kernels = read_arrays(reference / "kernels" / "000040.npz")
    np.testing.assert_array_equal(model.dense.kernel[...], kernels["dense.kernel"])
    in_adam = lambda path, _: "Adam" in str(path)
    assert int(optax.tree.get(state.opt_state, "count", filtering=in_adam)) == 40
    test = load_digits().test
    accuracy = float(np.mean(np.argmax(model(jnp.asarray(test.inputs)), -1) == test.targets))
    summary = json.loads((reference / "summary.json").read_text())
    assert accuracy == pytest.approx(summary["test_accuracy"])


def test_round_trip_is_bit_equal_including_random_streams(tmp_path):
    saved, other = Trainer(tiny_config()), Trainer(tiny_config(seed=1))
    with saved.open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, saved.state, {})
        step, state, metadata = checkpoints.restore_newest(other.state)
    assert (step, metadata) == (3, {})
    for a, b in zip(*map(jax.tree.leaves, (saved.state, state)), strict=True):
        assert (a == b).all()


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def invert(path):
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


def flip_one_bit(path):
    """Flip one bit in the middle of an array, which orbax does not notice."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, invert, flip_one_bit, lambda path: path.unlink()])
def test_corrupt_checkpoint_is_reported_and_the_previous_one_is_used(
    damage, reference, tmp_path, monkeypatch
):
    run = failed_run(tmp_path, monkeypatch, 29)
    # A folder of this name exists if the checkpoint of this step was corrupt before.
    (run / "checkpoints" / "000020.unreadable" / "state").mkdir(parents=True)
    files = [p for p in (run / "checkpoints" / "000020" / "state").rglob("*") if p.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    for path in [largest] if damage is flip_one_bit else files:
        damage(path)
    messages = []
    resume(run, notify=messages.append)
    assert messages[0].startswith("the checkpoint of step 20 cannot be read")
    assert messages[1] == "continues after step 10 of 40"
    assert_same_run(run, reference)


def test_corrupt_metadata_is_reported_and_the_previous_checkpoint_is_used(
    reference, tmp_path, monkeypatch
):
    run = failed_run(tmp_path, monkeypatch, 29)
    file = run / "checkpoints" / "000020" / "metadata" / "metadata"
    file.write_text(file.read_text().replace('"tiny"', '"tinz"'))
    messages = []
    resume(run, notify=messages.append)
    assert "step 20 cannot be read (its content is not what was saved)" in messages[0]
    assert_same_run(run, reference)


def test_checkpoint_that_another_process_cannot_read_is_used_by_none(
    reference, tmp_path, monkeypatch
):
    run = failed_run(tmp_path, monkeypatch, 29)
    other_process = iter([False, True])  # the metadata of step 20, its state
    monkeypatch.setattr(checkpoint, "any_process", lambda flag: flag or next(other_process, False))
    messages = []
    resume(run, notify=messages.append)
    assert "step 20 cannot be read (another process cannot read it)" in messages[0]
    assert_same_run(run, reference)


def test_checkpoint_with_other_arrays_is_refused_and_kept(reference, tmp_path, monkeypatch):
    run = failed_run(tmp_path, monkeypatch, 25)
    before = read_metrics(run)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_layout", lambda arrays: "another")
        with pytest.raises(ValueError, match="step 20 holds other arrays"):
            resume(run)
    assert read_metrics(run) == before
    resume(run, notify=ignore)
    assert_same_run(run, reference)


@pytest.mark.parametrize("interruption", ["none", "evaluation of the best step", "later"])
def test_best_checkpoint_is_kept_in_addition_to_the_newest(interruption, tmp_path, monkeypatch):
    pending = [signal.SIGTERM] if interruption == "evaluation of the best step" else []

    def evaluate(self, split, signals):
        if pending and self.step == 20:
            signal.raise_signal(pending.pop())
            raise EvaluationInterrupted
        return {"loss": np.array(0.1 if self.step == 20 else 1.0)}

    monkeypatch.setattr(Trainer, "evaluate", evaluate)
    with monkeypatch.context() as patch, contextlib.suppress(RunFailed):
        if interruption == "later":
            at_step(patch, 45, fail)
        train(tiny_config(steps=60, checkpoints={"every": 10, "keep": 1}), runs=tmp_path)
    run = tmp_path / "tiny"
    assert (status(run) == "finished") == (interruption == "none")
    if interruption != "none":
        resume(run, notify=ignore)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"000020", "000060"}
