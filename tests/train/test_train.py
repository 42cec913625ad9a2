"""Runs, small enough to be trained in a test."""

import errno
import json
import math
import signal

import jax
import numpy as np
import optax
import psutil
import pytest
import yaml
from helpers.at_step import at_step
from helpers.events import events

from jconv.data import load_digits
from jconv.report.page import write_page
from jconv.train import RunFailed, TrainConfig, run_folder, train
from jconv.train.augment import shift
from jconv.train.log import RunLog
from jconv.train.optimizer import build_schedule
from jconv.train.run_folder import RunExists
from jconv.train.tensorboard import EventFile
from jconv.train.trainer import Trainer


def config(**changes):
    content = {
        "name": "tiny",
        "data": {"kind": "digits"},
        "model": {"kind": "parallel_net", "blocks": [{1: 4, 3: 8}], "dropout": 0.2},
        "optimizer": {"kind": "adam", "learning_rate": 1e-2},
        "steps": 40,
        "batch_size": 32,
        "augment": {"shift": 1},
        "log": {"every": 10, "evaluate_every": 20, "kernels_every": 20},
    }
    return TrainConfig.model_validate(content | changes)


def recovery(**changes):
    return config(
        name="recovery",
        data={"kind": "filtered_photos", "patches": 64, "size": 16},
        model={"kind": "conv"},
        loss="mse",
        optimizer={"kind": "adam", "learning_rate": 0.1},
        schedule={"kind": "cosine"},
        augment={},
        **changes,
    )


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def arrays(path):
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(config(), runs=tmp_path_factory.mktemp("runs"))


def test_the_run_folder_is_complete(finished):
    run, summary = finished
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "environment.json", "metrics.jsonl", "tensorboard", "kernels",
                     "checkpoints", "layers.json", "summary.json"}  # fmt: skip
    assert json.loads((run / "summary.json").read_text()) == summary
    assert summary["status"] == "finished" and summary["steps"] == 40
    assert not list(run.rglob("*.part"))
    environment = json.loads((run / "environment.json").read_text())
    assert environment["jax"] == jax.__version__ and environment["devices"]


def test_the_stored_config_is_complete_and_makes_the_same_run(finished):
    run, _ = finished
    stored = yaml.safe_load((run / "config.yaml").read_text())
    assert stored["optimizer"]["b1"] == 0.9 and stored["schedule"] == {
        "kind": "constant",
        "warmup_steps": 0,
    }
    assert TrainConfig.model_validate(stored) == config()


def test_loss_falls_and_kernels_change(finished):
    run, summary = finished
    logged = lines(run)
    assert [line["step"] for line in logged] == [1, 10, 20, 30, 40]
    assert logged[-1]["loss"] < 0.7 * logged[0]["loss"]
    assert [line["step"] for line in logged if "validation_accuracy" in line] == [20, 40]
    assert logged[-1]["validation_accuracy"] == pytest.approx(summary["validation_accuracy"])
    assert summary["test_accuracy"] > 0.5

    steps = [path.stem for path in sorted((run / "kernels").iterdir())]
    assert steps == ["000000", "000020", "000040"]
    first, last = (arrays(run / "kernels" / f"{step}.npz") for step in (steps[0], steps[-1]))
    assert set(first) == {"blocks.0.branches.0.kernel", "blocks.0.branches.1.kernel",
                          "dense.kernel"}  # fmt: skip
    assert all(np.abs(last[name] - first[name]).max() > 1e-3 for name in first)


def test_tensorboard_has_scalars_images_and_histograms(finished):
    run, _ = finished
    found = [event for path in (run / "tensorboard").iterdir() for event in events(path)]
    values = [value for event in found for value in event.summary.value]
    kinds = {(value.tag.split(".")[0], value.WhichOneof("value")) for value in values}
    assert {("loss", "simple_value"), ("dense", "image"), ("dense", "histo")} <= kinds


def test_the_checkpoint_holds_model_and_optimizer(finished):
    run, summary = finished
    training = Trainer(config(seed=5))
    with training.open_checkpoints(run) as checkpoints:
        step, state, facts = checkpoints.restore_newest(training.state)
    assert step == 40 and facts["config"]["steps"] == 40
    kernels = arrays(run / "kernels" / "000040.npz")
    model = training.train_step.model(state)
    np.testing.assert_array_equal(model.dense.kernel[...], kernels["dense.kernel"])
    assert (
        int(optax.tree.get(state.opt_state, "count", filtering=lambda path, _: "Adam" in str(path)))
        == 40
    )
    test = load_digits().test
    accuracy = float(np.mean(np.argmax(model(test.inputs), -1) == test.targets))
    assert accuracy == pytest.approx(summary["test_accuracy"])


def test_a_checkpoint_round_trip_is_bit_equal_random_streams_too(tmp_path):
    one, other = Trainer(config()), Trainer(config(seed=1))
    with one.open_checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, one.state, {})
        step, state, facts = checkpoints.restore_newest(other.state)
    assert (step, facts) == (3, {})
    for a, b in zip(*map(jax.tree.leaves, (one.state, state)), strict=True):
        assert (a == b).all()


def test_the_same_config_gives_the_same_bits(finished, tmp_path):
    again, _ = train(config(), runs=tmp_path)
    a, b = (arrays(run / "kernels" / "000040.npz") for run in (finished[0], again))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    other, _ = train(config(seed=1, steps=20), runs=tmp_path / "other")
    c = arrays(other / "kernels" / "000020.npz")
    assert not np.array_equal(
        arrays(again / "kernels" / "000020.npz")["dense.kernel"], c["dense.kernel"]
    )


def test_a_hidden_kernel_emerges(tmp_path):
    run, summary = train(recovery(steps=400), runs=tmp_path)
    assert summary["kernel_error"] < 0.05
    assert summary["kernel_error"] < 0.1 * lines(run)[0]["kernel_error"]
    np.testing.assert_array_equal(arrays(run / "target.npz")["kernel"], [[-1, 0, 1]] * 3)
    learned = arrays(run / "kernels" / "000400.npz")["kernel"][:, :, 0, 0]
    assert np.abs(learned - [[-1, 0, 1]] * 3).max() == pytest.approx(summary["kernel_error"])


def test_a_run_is_never_overwritten_by_itself(finished, tmp_path):
    run, _ = finished
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(RunExists, match="never overwritten by default.*`--overwrite`"):
        train(config(), runs=run.parent)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.yaml").write_text("of another program")
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunExists, match="holds 'thesis.tex', which is not part of a run"):
        train(config(), runs=tmp_path, overwrite=True)
    assert (tmp_path / "tiny" / "thesis.tex").read_text() == "years of work"


def test_overwrite_never_follows_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tiny").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunExists, match="is a link or a file"):
        train(config(), runs=tmp_path, overwrite=True)


def test_overwrite_replaces_all_of_a_run(tmp_path):
    train(config(steps=20), runs=tmp_path)
    run, _ = train(config(steps=3), runs=tmp_path, overwrite=True)
    assert sorted(path.stem for path in (run / "kernels").iterdir()) == ["000000", "000003"]


def test_what_does_not_fit_the_data_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be at most .* 1258"):
        train(config(batch_size=5000), runs=tmp_path / "runs")
    with pytest.raises(ValueError, match="few enough to halve"):
        train(
            config(model={"kind": "parallel_net", "blocks": [{3: 4}] * 5}), runs=tmp_path / "runs"
        )
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def listening():
    """A shell in the background starts its processes deaf to Ctrl-C; this one is not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_run_after_its_step(tmp_path, monkeypatch, listening):
    at_step(monkeypatch, 25, lambda _: signal.raise_signal(signal.SIGINT))
    run, summary = train(config(), runs=tmp_path)
    assert summary["status"] == "interrupted" and summary["steps"] == 25
    assert [line["step"] for line in lines(run)] == [1, 10, 20]
    assert max(path.stem for path in (run / "kernels").iterdir()) == "000025"
    assert (run / "checkpoints" / "000025").is_dir()
    assert 0 <= summary["test_accuracy"] <= 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    # What was kept after 25 steps is what 25 steps make.
    whole, _ = train(config(name="whole", log={"every": 5, "kernels_every": 25}), runs=tmp_path)
    for name, kernel in arrays(run / "kernels" / "000025.npz").items():
        np.testing.assert_array_equal(kernel, arrays(whole / "kernels" / "000025.npz")[name])


def test_a_second_ctrl_c_ends_it_at_once_and_it_is_not_called_finished(
    tmp_path, monkeypatch, listening
):
    def press_twice(_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    at_step(monkeypatch, 26, press_twice)
    with pytest.raises(KeyboardInterrupt):
        train(config(), runs=tmp_path)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["steps"] == 25


def test_a_failure_keeps_what_was_logged_and_is_not_swallowed(tmp_path, monkeypatch):
    def fail(_):
        raise OSError("no space left on device")

    at_step(monkeypatch, 26, fail)
    with pytest.raises(RunFailed, match="no space left.*What was logged until then") as error:
        train(config(), runs=tmp_path)
    assert error.value.run == tmp_path / "tiny"
    assert isinstance(error.value.__cause__, OSError)
    summary = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert summary["status"] == "failed" and "no space left" in summary["error"]
    assert [line["step"] for line in lines(tmp_path / "tiny")] == [1, 10, 20]


def test_what_goes_wrong_beside_the_steps_ends_the_run(tmp_path, monkeypatch):
    drawn = []

    def fails_at_the_second(self, name, values, step):
        drawn.append(step)
        if step:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventFile, "histogram", fails_at_the_second)
    with pytest.raises(RunFailed, match="No space left on device"):
        train(config(), runs=tmp_path)
    assert set(drawn) == {0, 20}  # it is told before the kernels of step 40 are drawn
    assert json.loads((tmp_path / "tiny" / "summary.json").read_text())["status"] == "failed"


def test_validation_keeps_its_own_rhythm(tmp_path):
    run, _ = train(config(log={"every": 20, "evaluate_every": 15}, steps=35), runs=tmp_path)
    logged = {line["step"]: "validation_loss" in line for line in lines(run)}
    assert logged == {1: False, 15: True, 20: False, 30: True, 35: True}


def test_cosine_warms_up_and_ends_at_nothing():
    schedule = build_schedule(config(schedule={"kind": "cosine", "warmup_steps": 10}, steps=110))
    rates = [float(schedule(step)) for step in (0, 5, 10, 60, 110)]
    np.testing.assert_allclose(rates, [0, 5e-3, 1e-2, 5e-3, 0], atol=1e-9)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_every_optimizer_learns(kind, tmp_path):
    optimizer = {"kind": kind, "learning_rate": 0.1 if kind == "sgd" else 1e-2}
    run, _ = train(config(optimizer=optimizer), runs=tmp_path)
    logged = lines(run)
    assert logged[-1]["loss"] < 0.9 * logged[0]["loss"]


def test_shift_moves_whole_images_by_at_most_its_pixels(rng):
    images = rng.normal(size=(64, 6, 6, 1)).astype("float32")
    moved = np.asarray(shift(images, 2, jax.random.key(0)))
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge")
    found = set()
    for i in range(64):
        (offset,) = [
            (r, c)
            for r, c in np.ndindex(5, 5)
            if np.array_equal(moved[i], padded[i, r : r + 6, c : c + 6])
        ]
        found.add(offset)
    assert len(found) > 15
    np.testing.assert_array_equal(shift(images, 0, jax.random.key(0)), images)


def test_what_is_not_finite_is_logged_as_json_can_say_it(tmp_path):
    run_folder.write_json(tmp_path / "figures.json", {"loss": [math.inf, math.nan, 1.0]})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"loss": [None, None, 1.0]}


def test_the_page_of_a_run_that_went_bad_says_where(tmp_path):
    with pytest.raises(RunFailed) as error:
        train(config(optimizer={"kind": "sgd", "learning_rate": 1e30}, steps=20), runs=tmp_path)
    page = write_page(error.value.run).read_text()
    assert "was not taken" in page and "blocks.0" in page


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_steps(tmp_path, monkeypatch):
    """Logged, evaluated and saved all along; what compiles is given back in the first thousands.
    Orbax keeps about 50 KiB of every checkpoint."""
    held, scalars = {}, RunLog.scalars

    def measured(self, step, metrics):
        scalars(self, step, metrics)
        held[step] = psutil.Process().memory_info().rss

    monkeypatch.setattr(RunLog, "scalars", measured)
    often = {"every": 10, "evaluate_every": 50, "kernels_every": 50}
    train(config(steps=14_000, log=often, checkpoints={"every": 500}), runs=tmp_path)
    before, after = (
        np.median([size for step, size in held.items() if start < step <= start + 1_000])
        for start in (3_000, 13_000)
    )
    assert after < 1.01 * before, {step: size for step, size in held.items() if step % 1_000 == 0}
