"""Training: learning, logging, failures, early stopping."""

import errno
import json

import numpy as np
import psutil
import pytest
from helpers.events import events
from helpers.tiny_run import at_step, read_arrays, read_metrics, tiny_config

from jconv.train import RunFailed, TrainConfig, run_folder, train
from jconv.train.log import RunLog
from jconv.train.tensorboard import EventFile


def test_loss_falls_and_kernels_change(reference):
    metrics = read_metrics(reference)
    summary = json.loads((reference / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["steps"] == 40
    assert [line["step"] for line in metrics] == [1, 5, 10, 15, 20, 25, 30, 35, 40]
    assert metrics[-1]["loss"] < 0.7 * metrics[0]["loss"]
    assert [line["step"] for line in metrics if "validation_accuracy" in line] == [20, 40]
    assert metrics[-1]["validation_accuracy"] == pytest.approx(summary["validation_accuracy"])
    assert summary["test_accuracy"] > 0.5

    steps = [path.stem for path in sorted((reference / "kernels").iterdir())]
    assert steps == ["000000", "000010", "000020", "000030", "000040"]
    first, last = (read_arrays(reference / "kernels" / f"{s}.npz") for s in (steps[0], steps[-1]))
    assert set(first) == {"blocks.0.branches.0.kernel", "blocks.0.branches.1.kernel",
                          "dense.kernel"}  # fmt: skip
    assert all(np.abs(last[name] - first[name]).max() > 1e-3 for name in first)


def test_tensorboard_has_scalars_images_and_histograms(reference):
    files = (reference / "tensorboard").iterdir()
    values = [value for path in files for event in events(path) for value in event.summary.value]
    kinds = {(value.tag.split(".")[0], value.WhichOneof("value")) for value in values}
    assert {("loss", "simple_value"), ("dense", "image"), ("dense", "histo")} <= kinds


def test_equal_configs_give_equal_bits_and_other_seeds_do_not(reference, tmp_path):
    again, _ = train(tiny_config(), runs=tmp_path)
    a, b = (read_arrays(run / "kernels" / "000040.npz") for run in (reference, again))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    other, _ = train(tiny_config(seed=1), runs=tmp_path / "other")
    c = read_arrays(other / "kernels" / "000040.npz")
    assert not np.array_equal(a["dense.kernel"], c["dense.kernel"])


def test_hidden_kernel_is_recovered(tmp_path):
    config = TrainConfig.model_validate(
        {
            "name": "recovery",
            "data": {"kind": "filtered_photos", "patches": 64, "size": 16},
            "model": {"kind": "conv"},
            "loss": "mse",
            "optimizer": {"kind": "adam", "learning_rate": 0.1},
            "schedule": {"kind": "cosine"},
            "steps": 400,
            "batch_size": 32,
            "log": {"every": 10, "evaluate_every": 20, "kernels_every": 20},
        }
    )
    run, summary = train(config, runs=tmp_path)
    assert summary["kernel_error"] < 0.05
    assert summary["kernel_error"] < 0.1 * read_metrics(run)[0]["kernel_error"]
    np.testing.assert_array_equal(read_arrays(run / "target.npz")["kernel"], [[-1, 0, 1]] * 3)
    learned = read_arrays(run / "kernels" / "000400.npz")["kernel"][:, :, 0, 0]
    assert np.abs(learned - [[-1, 0, 1]] * 3).max() == pytest.approx(summary["kernel_error"])


def test_failure_keeps_the_log_and_is_raised(tmp_path, monkeypatch):
    def full_disk():
        raise OSError("no space left on device")

    at_step(monkeypatch, 26, full_disk)
    with pytest.raises(RunFailed, match="no space left.*What was logged until then") as error:
        train(tiny_config(), runs=tmp_path)
    assert error.value.run == tmp_path / "tiny"
    assert isinstance(error.value.__cause__, OSError)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert summary["status"] == "failed" and "no space left" in summary["error"]
    assert summary["steps"] == 25
    assert [line["step"] for line in read_metrics(tmp_path / "tiny")] == [1, 5, 10, 15, 20, 25]


def test_failure_in_the_background_thread_ends_the_run(tmp_path, monkeypatch):
    steps = []

    def fail_at_the_second_call(self, name, values, step):
        steps.append(step)
        if step:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventFile, "histogram", fail_at_the_second_call)
    with pytest.raises(RunFailed, match="No space left on device"):
        train(tiny_config(), runs=tmp_path)
    assert set(steps) == {0, 10}  # the run ends before the kernels of step 20 are rendered
    assert json.loads((tmp_path / "tiny" / "summary.json").read_text())["status"] == "failed"


def test_full_disk_at_the_last_write_fails_the_run(tmp_path, monkeypatch):
    write_json, written = run_folder.write_json, []

    def write_once_less(path, content):
        written.append(path.name)
        if path.name == "summary.json" and written.count("summary.json") == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_json(path, content)

    monkeypatch.setattr(run_folder, "write_json", write_once_less)
    with pytest.raises(RunFailed, match="No space left on device"):
        train(tiny_config(steps=5), runs=tmp_path)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert summary["status"] == "failed" and "No space left" in summary["error"]


def test_evaluation_interval_is_independent_of_the_log_interval(tmp_path):
    log = {"every": 10, "evaluate_every": 15, "kernels_every": 5}
    run, _ = train(tiny_config(log=log, steps=35), runs=tmp_path)
    validated = {line["step"]: "validation_loss" in line for line in read_metrics(run)}
    assert validated == {1: False, 10: False, 15: True, 20: False, 30: True, 35: True}


def test_run_without_improvement_stops_early(tmp_path):
    stopping = {"patience": 2, "min_delta": 10.0}
    log = {"every": 10, "evaluate_every": 10, "kernels_every": 5}
    config = tiny_config(early_stopping=stopping, log=log, steps=500)
    run, summary = train(config, runs=tmp_path)
    assert summary["status"] == "finished" and summary["stopped_early"]
    assert summary["steps"] == 30 and (run / "checkpoints" / "000030").is_dir()


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_steps(tmp_path, monkeypatch):
    """Logging, evaluation and checkpoints included; the first thousands free what compiling used.

    Orbax keeps about 50 KiB of every checkpoint.
    """
    memory, scalars = {}, RunLog.scalars

    def measure(self, step, metrics):
        scalars(self, step, metrics)
        memory[step] = psutil.Process().memory_info().rss

    monkeypatch.setattr(RunLog, "scalars", measure)
    log = {"every": 10, "evaluate_every": 50, "kernels_every": 50}
    train(tiny_config(steps=14_000, log=log, checkpoints={"every": 500}), runs=tmp_path)
    before, after = (
        np.median([size for step, size in memory.items() if start < step <= start + 1_000])
        for start in (3_000, 13_000)
    )
    assert after < 1.01 * before, {s: size for s, size in memory.items() if s % 1_000 == 0}
