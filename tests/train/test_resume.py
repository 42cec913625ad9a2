"""Runs that were ended, killed or damaged, and what becomes of them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from flax import nnx
from helpers.at_step import at_step
from helpers.entries import on_a_cpu
from helpers.events import events
from tensorboardX.proto.event_pb2 import SessionLog

from jconv.cli import main
from jconv.train import RunFailed, TrainConfig, checkpoint, loop, resume, train
from jconv.train.log import rewind
from jconv.train.nonfinite import locate_nonfinite
from jconv.train.run_folder import RunBusy, locked
from jconv.train.signals import EvaluationInterrupted
from jconv.train.trainer import Trainer

CONFIG = {
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


def config(**changes):
    return TrainConfig.model_validate(CONFIG | changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run, _ = train(config(), runs=tmp_path_factory.mktemp("whole"))
    return run


def logged(run):
    """The lines of metrics.jsonl, without what is timed."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in lines]


def assert_same_bits(run, whole):
    assert logged(run) == logged(whole)
    names = [sorted(path.name for path in (r / "kernels").iterdir()) for r in (run, whole)]
    assert names[0] == names[1]
    for name in names[0]:
        with np.load(run / "kernels" / name) as ours, np.load(whole / "kernels" / name) as theirs:
            for path in theirs:
                np.testing.assert_array_equal(ours[path], theirs[path])
    summaries = [json.loads((r / "summary.json").read_text()) for r in (run, whole)]
    for key in ("status", "steps", "test_loss", "test_accuracy", "validation_loss"):
        assert summaries[0][key] == summaries[1][key]


def fail(*_):
    raise RuntimeError("the power went")


def ended(runs, monkeypatch, step, **changes):
    """A run that an error ended before its `step`-th step."""
    with monkeypatch.context() as patch:
        at_step(patch, step, fail)
        with pytest.raises(RunFailed):
            train(config(**changes), runs=runs)
    return runs / "tiny"


@pytest.mark.parametrize("step", [4, 11, 18, 38])
def test_a_run_goes_on_with_the_same_bits(step, whole, tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, step)
    told = []
    resume(run, notify=told.append)
    assert told == [f"continues after step {(step - 1) // 10 * 10} of 40"]
    assert_same_bits(run, whole)


def test_all_that_a_state_may_hold_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    changes = {
        "replicates": 2,
        "accumulate": 2,
        "ema": 0.9,
        "precision": "bfloat16",
        "clip_norm": 1.0,
        "model": CONFIG["model"] | {"norm": True},
        "schedule": {"kind": "cosine", "warmup_steps": 6},
    }
    whole, _ = train(config(**changes), runs=tmp_path / "whole")
    run = ended(tmp_path, monkeypatch, 26, **changes)
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


EARLY = {"early_stopping": {"patience": 1, "min_delta": 10.0}, "steps": 60}


@pytest.mark.parametrize("changes", [{"steps": 25}, EARLY], ids=["at the end", "stopped early"])
def test_a_run_that_ended_while_it_was_judged(changes, tmp_path, monkeypatch):
    whole, figures = train(config(**changes), runs=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_final_metrics", fail)
        with pytest.raises(RunFailed):
            train(config(**changes), runs=tmp_path)
    run = tmp_path / "tiny"
    _, summary = resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)
    assert summary.keys() == figures.keys() - {"first_call_seconds"}


def test_steps_have_the_same_bits_however_they_are_cut(whole, tmp_path, monkeypatch):
    calls = []
    at_step(monkeypatch, 7, calls.append)
    run, _ = train(config(), runs=tmp_path)
    assert len(calls) == 1
    assert_same_bits(run, whole)


def test_what_a_kill_left_half_written_is_dropped(whole, tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, 29)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "loss": 0.')
    (run / "kernels" / "000030.npz.part").write_bytes(b"PK half")
    (run / "kernels" / "000030.npz").write_bytes(b"PK")
    (run / "checkpoints" / "000030.orbax-checkpoint-tmp").mkdir()
    (run / "summary.json").unlink()
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


def test_a_log_is_what_it_was_after_a_step(whole, tmp_path):
    run = tmp_path / "tiny"
    shutil.copytree(whole, run)
    (run / "kernels" / "000013.npz").write_bytes(b"of a Ctrl-C")
    rewind(run, 20, config())
    assert [line["step"] for line in logged(run)] == [1, 5, 10, 15, 20]
    kept = sorted(path.name for path in (run / "kernels").iterdir())
    assert kept == ["000000.npz", "000010.npz", "000020.npz"]


@pytest.mark.parametrize("damage", ["truncated", "gone", "other bytes", "one bit"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(
    damage, whole, tmp_path, monkeypatch
):
    run = ended(tmp_path, monkeypatch, 29)
    (run / "checkpoints" / "000020.unreadable" / "state").mkdir(parents=True)  # not the first
    files = [p for p in (run / "checkpoints" / "000020" / "state").rglob("*") if p.is_file()]
    if damage == "one bit":  # of an array's numbers, which orbax does not notice
        largest = max(files, key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)
    else:
        for path in files:
            content = path.read_bytes()
            if damage == "gone":
                path.unlink()
            elif damage == "truncated":
                path.write_bytes(content[: len(content) // 2])
            else:
                path.write_bytes(bytes(255 - byte for byte in content))
    told = []
    resume(run, notify=told.append)
    assert told[0].startswith("the checkpoint of step 20 cannot be read")
    assert told[1] == "continues after step 10 of 40"
    assert_same_bits(run, whole)


def test_a_damaged_fact_is_told_and_the_checkpoint_before_taken(whole, tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, 29)
    file = run / "checkpoints" / "000020" / "metadata" / "metadata"
    file.write_text(file.read_text().replace('"tiny"', '"tinz"'))
    told = []
    resume(run, notify=told.append)
    assert "step 20 cannot be read (its content is not what was saved)" in told[0]
    assert_same_bits(run, whole)


def test_a_checkpoint_that_another_process_cannot_read_is_taken_by_none(
    whole, tmp_path, monkeypatch
):
    run = ended(tmp_path, monkeypatch, 29)
    others = iter([False, True])  # the facts of step 20, its state
    monkeypatch.setattr(checkpoint, "any_process", lambda says: says or next(others, False))
    told = []
    resume(run, notify=told.append)
    assert "step 20 cannot be read (another process cannot read it)" in told[0]
    assert_same_bits(run, whole)


def test_sigterm_while_the_first_program_is_compiled(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "compile_evaluation", lambda _: signal.raise_signal(signal.SIGTERM))
        run, summary = train(config(), runs=tmp_path)
    assert (summary["status"], summary["steps"]) == ("interrupted", 0)
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


def test_a_run_can_be_gone_on_with_once_all_that_began_it_is_there(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("jconv.train.run_folder.environment", fail)
        with pytest.raises(RuntimeError):
            train(config(), runs=tmp_path)
    assert not (tmp_path / "tiny" / "config.yaml").exists()


def test_tensorboard_leaves_out_what_was_killed_before_its_first_checkpoint(tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, 5)
    before = set((run / "tensorboard").iterdir())
    resume(run, notify=lambda _: None)
    (new,) = set((run / "tensorboard").iterdir()) - before
    starts = [e.step for e in events(new) if e.session_log.status == SessionLog.START]
    assert starts == [1]


@pytest.mark.parametrize(
    "section, changed, told",
    [
        ("optimizer", {"learning_rate": 0.5}, "learning_rate: 0.01 when it was saved, 0.5"),
        ("ema", 0.9, "ema: 0.0 when it was saved, 0.9"),  # more is in its state
    ],
)
def test_a_changed_config_is_refused_with_the_difference(
    section, changed, told, tmp_path, monkeypatch
):
    run = ended(tmp_path, monkeypatch, 25)
    content = yaml.safe_load((run / "config.yaml").read_text())
    content[section] = content[section] | changed if isinstance(changed, dict) else changed
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=told):
        resume(run, notify=lambda _: None)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert not list((run / "checkpoints").glob("*.unreadable"))


def test_what_cannot_be_resumed(whole, tmp_path, capsys):
    assert main(["resume", str(whole)]) == 2
    assert "is finished: no step remains to be taken" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 2
    assert "`RUN` must be the folder of a run" in capsys.readouterr().err


def test_two_processes_do_not_write_one_run(tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, 15)
    with locked(run):
        for act in (lambda: resume(run), lambda: train(config(), runs=tmp_path, overwrite=True)):
            with pytest.raises(RunBusy, match="is being written by another process"):
                act()
    assert (run / "kernels" / "000010.npz").exists()
    resume(run, notify=lambda _: None)


@pytest.mark.parametrize("at_once", [True, False], ids=["each step logged", "every 5 steps"])
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(at_once, tmp_path, monkeypatch):
    spoilt = 13

    def spoil(data):
        return data[0].at[:, 0, 0].set(np.inf), data[1]

    at_step(monkeypatch, spoilt, spoil)
    log = CONFIG["log"] | {"every": 1 if at_once else 5}
    with pytest.raises(RunFailed, match=f"step {spoilt} was not taken") as error:
        train(config(log=log), runs=tmp_path)
    run = error.value.run
    assert max(line["step"] for line in logged(run)) < spoilt
    assert (run / "checkpoints" / f"{spoilt - 1:06d}").is_dir()


@pytest.mark.parametrize("spoilt", ["blocks.0.branches.1.kernel", "dense.kernel"])
def test_a_parameter_that_went_bad_is_named(spoilt):
    training = Trainer(config())
    batch = training.data.train.take(np.arange(8))
    for path, parameter in nnx.to_flat_state(training.state.params):
        if ".".join(map(str, path)) == spoilt:
            parameter[...] = parameter[...].at[0].set(np.inf)
    told = locate_nonfinite(training.train_step, training.state, batch.inputs, batch.targets)
    assert re.match(rf"{spoilt} has \d+ non-finite values of \d+", told)


def test_the_layer_that_went_bad_is_named(tmp_path):
    """Steps so long that products of the second layer are beyond float32."""
    rates = {"kind": "sgd", "learning_rate": 1e30}
    with pytest.raises(RunFailed, match=r"step \d+ was not taken: the output of dense has"):
        train(config(optimizer=rates), runs=tmp_path)


def test_a_run_that_went_bad_ends_with_a_sentence(tmp_path, capsys):
    bad = CONFIG | {"optimizer": {"kind": "sgd", "learning_rate": 1e30}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(bad))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--runs", str(tmp_path)]) == 2
    assert "was not taken" in capsys.readouterr().err.splitlines()[-1]


# Of a process that is killed, or can write no more, others must not find half a program.
MINDFUL = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}


def in_a_process(tmp_path, *words):
    command = [sys.executable, "-m", "jconv", *words]
    return subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, env=MINDFUL)


def wait_for(happened, seconds=120):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"nothing happened in {seconds} seconds"
        time.sleep(0.05)


def test_sigterm_saves_and_exits_with_0(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | {"steps": 4000}))
    process = in_a_process(tmp_path, "train", "tiny.yaml")
    run = tmp_path / "runs" / "tiny"
    wait_for((run / "checkpoints" / "000010").exists)
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert process.wait(60) == 0
    assert time.monotonic() - started < 10
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["signal"] == "SIGTERM"
    assert "test_loss" not in summary  # judging may take minutes
    assert (run / "checkpoints" / f"{summary['steps']:06d}").is_dir()


@pytest.mark.parametrize(
    "evaluation, at", [(1, 20), (2, 40), (3, 40), (4, 40)], ids=["amid", "last", "final", "test"]
)
def test_sigterm_does_not_wait_for_an_evaluation(evaluation, at, whole, tmp_path, monkeypatch):
    figures, begun = Trainer.evaluate, []

    def asked_to_end(*args):
        begun.append(args)
        if len(begun) == evaluation:
            signal.raise_signal(signal.SIGTERM)
        return figures(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", asked_to_end)
        run, summary = train(config(), runs=tmp_path)
    assert len(begun) == evaluation  # and none after it
    assert (summary["status"], summary["signal"], summary["steps"]) == (
        "interrupted",
        "SIGTERM",
        at,
    )
    assert "test_loss" not in summary
    assert (run / "checkpoints" / f"{at:06d}").is_dir()
    assert logged(run) == logged(whole)[: -1 if evaluation == 2 else 4 if at == 20 else None]
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


def test_an_evaluation_that_is_cut_short_twice(whole, tmp_path, monkeypatch):
    figures = Trainer.evaluate

    def asked_to_end(*args):
        signal.raise_signal(signal.SIGTERM)
        return figures(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", asked_to_end)
        run, _ = train(config(), runs=tmp_path)
        _, summary = resume(run, notify=lambda _: None)
    assert (summary["status"], summary["steps"]) == ("interrupted", 20)
    with monkeypatch.context() as patch:  # the evaluation is made up for, and lost again
        at_step(patch, 25, fail)
        with pytest.raises(RunFailed):
            resume(run, notify=lambda _: None)
    assert logged(run)[-1].keys() == logged(whole)[-1].keys()
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


@pytest.mark.parametrize("when", ["never", "while it was judged", "later"])
def test_the_best_checkpoint_stays_besides_the_newest(when, tmp_path, monkeypatch):
    changes = {"steps": 60, "checkpoints": {"every": 10, "keep": 1}}

    cuts = [EvaluationInterrupted] if when == "while it was judged" else []

    def figures(self, split, asked):
        if cuts and self.step == 20:
            signal.raise_signal(signal.SIGTERM)
            raise cuts.pop()
        return {"loss": np.array(0.1 if self.step == 20 else 1.0)}

    monkeypatch.setattr(Trainer, "evaluate", figures)
    with monkeypatch.context() as patch, contextlib.suppress(RunFailed):
        if when == "later":
            at_step(patch, 45, fail)
        train(config(**changes), runs=tmp_path)
    run = tmp_path / "tiny"
    if when != "never":
        resume(run, notify=lambda _: None)
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"000020", "000060"}


def test_a_checkpoint_of_other_arrays_is_refused_and_stays(whole, tmp_path, monkeypatch):
    run = ended(tmp_path, monkeypatch, 25)
    before = logged(run)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_layout", lambda arrays: "another")
        with pytest.raises(ValueError, match="step 20 holds other arrays"):
            resume(run)
    assert logged(run) == before
    resume(run, notify=lambda _: None)
    assert_same_bits(run, whole)


@pytest.mark.slow
def test_runs_killed_fifty_times_end_with_the_same_bits(tmp_path):
    """At random moments: while they start, step, log, or write a checkpoint."""
    rng, kills = np.random.default_rng(), 0
    changes = {"steps": 3000, "checkpoints": {"every": 10, "keep": 2}}
    whole, _ = train(config(**changes), runs=tmp_path / "whole")
    while kills < 50:
        folder = tmp_path / f"after-{kills}-kills"
        folder.mkdir()
        (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | changes))
        kills += killed_again_and_again(folder, rng, most=50 - kills)
        assert_same_bits(folder / "runs" / "tiny", whole)


def killed_again_and_again(folder, rng, *, most):
    """Carries out a run in spite of so many kills at most; returns how many it lived through."""
    run, words, kills = folder / "runs" / "tiny", ["train", "tiny.yaml", "--overwrite"], 0
    while True:
        before = saved(run)
        process = in_a_process(folder, *words)
        if kills < most:
            if rng.random() < 0.9:  # else perhaps before the first step
                wait_for(lambda: saved(run) - before or process.poll() is not None)  # noqa: B023
            time.sleep(rng.exponential(0.3))
            if process.poll() is None:
                kills += 1
                process.kill()
        if process.wait() == 0:
            return kills
        assert process.returncode == -signal.SIGKILL
        if (run / "config.yaml").exists():
            words = ["resume", str(run)]


def saved(run):
    return {path.name for path in (run / "checkpoints").glob("*")}


LIMITED = """
import resource, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
from jconv.cli import main
sys.exit(main())
"""


@on_a_cpu
@pytest.mark.parametrize(
    "most", [12_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (3_000, 40_000))]
)
def test_a_disk_that_takes_no_more_ends_a_run_that_can_go_on(most, whole, tmp_path):
    """Stood in for by a limit to the size of files, which is met in one or another of them."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(most), "train", "tiny.yaml"],
        cwd=tmp_path,
        env=MINDFUL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2
    told = ended.stderr.splitlines()[-1]
    assert told.startswith("jconv train: ") and "File too large" in told and "`jconv re" in told
    run = tmp_path / "runs" / "tiny"
    assert main([re.search("`jconv (resume|report)", told)[1], str(run)]) == 0
    assert_same_bits(run, whole)


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    nowhere = "/sys/jconv"  # where not even the superuser makes folders
    assert main(["train", str(tmp_path / "tiny.yaml"), "--runs", nowhere]) == 2
    told = capsys.readouterr().err
    assert told.startswith("jconv train: ") and nowhere in told and "--runs" in told
