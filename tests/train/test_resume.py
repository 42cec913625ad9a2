"""Resumed runs reproduce uninterrupted ones."""

import shutil

import pytest
import yaml
from helpers.events import events
from helpers.tiny_run import (
    TINY,
    assert_same_run,
    at_step,
    fail,
    failed_run,
    ignore,
    read_metrics,
    tiny_config,
)
from tensorboardX.proto.event_pb2 import SessionLog

from jconv.cli import main
from jconv.train import RunFailed, loop, resume, train
from jconv.train.log import rewind


@pytest.mark.parametrize("step", [4, 11, 18, 38])
def test_resumed_run_reproduces_the_uninterrupted_run_bit_for_bit(
    step, reference, tmp_path, monkeypatch
):
    run = failed_run(tmp_path, monkeypatch, step)
    messages = []
    resume(run, notify=messages.append)
    assert messages == [f"continues after step {(step - 1) // 10 * 10} of 40"]
    assert_same_run(run, reference)


def test_resumed_run_with_every_kind_of_state(tmp_path, monkeypatch):
    changes = {
        "replicates": 2,
        "accumulate": 2,
        "ema": 0.9,
        "precision": "bfloat16",
        "clip_norm": 1.0,
        "model": TINY["model"] | {"blocks": [{3: 4}], "norm": True},
        "schedule": {"kind": "cosine", "warmup_steps": 6},
    }
    expected, _ = train(tiny_config(**changes), runs=tmp_path / "expected")
    run = failed_run(tmp_path, monkeypatch, 26, **changes)
    resume(run, notify=ignore)
    assert_same_run(run, expected)


EARLY = {"early_stopping": {"patience": 1, "min_delta": 10.0}, "steps": 60}


@pytest.mark.parametrize("changes", [{"steps": 25}, EARLY], ids=["last step", "stopped early"])
def test_run_that_failed_during_its_final_evaluation(changes, tmp_path, monkeypatch):
    expected, metrics = train(tiny_config(**changes), runs=tmp_path / "expected")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_final_metrics", fail)
        with pytest.raises(RunFailed):
            train(tiny_config(**changes), runs=tmp_path)
    run = tmp_path / "tiny"
    _, summary = resume(run, notify=ignore)
    assert_same_run(run, expected)
    assert summary.keys() == metrics.keys() - {"first_call_seconds"}


def test_result_does_not_depend_on_how_steps_are_divided_into_calls(
    reference, tmp_path, monkeypatch
):
    calls = []
    at_step(monkeypatch, 7, lambda: calls.append(7))
    run, _ = train(tiny_config(), runs=tmp_path)
    assert len(calls) == 1
    assert_same_run(run, reference)


def test_partially_written_files_of_a_killed_run_are_removed(reference, tmp_path, monkeypatch):
    run = failed_run(tmp_path, monkeypatch, 29)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 30, "loss": 0.')
    (run / "kernels" / "000030.npz.part").write_bytes(b"PK half")
    (run / "kernels" / "000030.npz").write_bytes(b"PK")
    (run / "checkpoints" / "000030.orbax-checkpoint-tmp").mkdir()
    (run / "summary.json").unlink()
    resume(run, notify=ignore)
    assert_same_run(run, reference)


def test_rewound_log_ends_at_the_given_step(reference, tmp_path):
    run = tmp_path / "tiny"
    shutil.copytree(reference, run)
    (run / "kernels" / "000013.npz").write_bytes(b"of an interruption")
    rewind(run, 20, tiny_config())
    assert [line["step"] for line in read_metrics(run)] == [1, 5, 10, 15, 20]
    kept = sorted(path.name for path in (run / "kernels").iterdir())
    assert kept == ["000000.npz", "000010.npz", "000020.npz"]


def test_tensorboard_hides_the_steps_before_a_restart(tmp_path, monkeypatch):
    run = failed_run(tmp_path, monkeypatch, 5)
    before = set((run / "tensorboard").iterdir())
    resume(run, notify=ignore)
    (new,) = set((run / "tensorboard").iterdir()) - before
    starts = [e.step for e in events(new) if e.session_log.status == SessionLog.START]
    assert starts == [1]


@pytest.mark.parametrize(
    "section, value, difference",
    [
        (
            "optimizer",
            {"kind": "adam", "learning_rate": 0.5},
            "learning_rate: 0.01 when it was saved, 0.5",
        ),
        ("ema", 0.9, "ema: 0.0 when it was saved, 0.9"),  # adds arrays to the state
    ],
)
def test_changed_config_is_refused_with_the_difference(
    section, value, difference, tmp_path, monkeypatch
):
    run = failed_run(tmp_path, monkeypatch, 25)
    content = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(content | {section: value}))
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=difference):
        resume(run, notify=ignore)
    assert (run / "metrics.jsonl").read_bytes() == before
    assert not list((run / "checkpoints").glob("*.unreadable"))


def test_finished_run_and_folder_without_a_run_cannot_be_resumed(reference, tmp_path, capsys):
    assert main(["resume", str(reference)]) == 2
    assert "is finished: no step remains to be taken" in capsys.readouterr().err
    assert main(["resume", str(tmp_path)]) == 2
    assert "`RUN` must be the folder of a run" in capsys.readouterr().err
