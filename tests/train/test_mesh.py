"""Runs on several devices and in several processes: the same curve, and an end to all if to one."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml

from jconv.train import TrainConfig, resume, train
from jconv.train.config import Distributed
from jconv.train.distributed import initialize_distributed

CONFIG = {
    "name": "tiny",
    "data": {"kind": "digits"},
    "model": {"kind": "parallel_net", "blocks": [{1: 4, 3: 8}], "norm": True},
    "optimizer": {"kind": "sgd", "learning_rate": 0.02},
    "steps": 20,
    "batch_size": 32,
    "log": {"every": 1, "evaluate_every": 10, "kernels_every": 10},
    "checkpoints": {"every": 10, "keep": 2},
}
MESH = {"data": 4, "height": 2}
EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run, _ = train(TrainConfig.model_validate(CONFIG), runs=tmp_path_factory.mktemp("alone"))
    return run


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_same_curve(run, alone):
    ours, theirs = logged(run), logged(alone)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for name in ("loss", "validation_loss"):
        for a, b in zip(ours, theirs, strict=True):
            assert (name in a) == (name in b)
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=1e-5, abs=1e-5)


def started(folder, words, *, devices, **environment):
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(*processes, seconds=240):
    for process in processes:
        error = process.communicate(timeout=seconds)[1]
        assert process.returncode == 0, error


def written(folder, **changes):
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | changes))


@pytest.fixture(scope="module")
def on_a_mesh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mesh")
    written(folder, mesh=MESH)
    finished(started(folder, ["-m", "jconv", "train", "tiny.yaml"], devices=8))
    return folder / "runs" / "tiny"


def test_a_mesh_of_eight_devices_learns_alike(on_a_mesh, alone):
    assert_same_curve(on_a_mesh, alone)
    a, b = (json.loads((run / "summary.json").read_text()) for run in (on_a_mesh, alone))
    assert a["test_accuracy"] == pytest.approx(b["test_accuracy"], abs=0.01)


def test_a_checkpoint_of_a_mesh_goes_on_alone(on_a_mesh, alone, tmp_path):
    run = tmp_path / "tiny"
    run.mkdir()
    for name in ("checkpoints", "kernels"):
        shutil.copytree(on_a_mesh / name, run / name)
    shutil.copy(on_a_mesh / "metrics.jsonl", run)
    shutil.rmtree(run / "checkpoints" / "000020")
    content = yaml.safe_load((on_a_mesh / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(content | {"mesh": {"data": 1, "height": 1}}))
    told = []
    resume(run, notify=told.append)
    assert told[-1] == "continues after step 10 of 20"
    assert_same_curve(run, alone)


PROGRAM = """
import sys, numpy as np, yaml
from jconv.train import TrainConfig
from jconv.train.step import evaluate_batch, take_steps
from jconv.train.trainer import Trainer
training = Trainer(TrainConfig.model_validate(yaml.safe_load(open("tiny.yaml"))))
train_step, state = training.train_step, training.state
arguments = {
    "learns": (take_steps, *training.next_batches(1), training.keys, np.int32(1), np.int32(1)),
    "judges": (evaluate_batch, *training.data.test.take(np.arange(32)), np.ones(32, bool)),
}
program, *others = arguments[sys.argv[1]]
print(program.lower(train_step, state, *training.mesh.replicate(others)).compile().as_text())
"""


@pytest.mark.parametrize("what", ["learns", "judges"])
def test_neighbouring_rows_are_exchanged_and_no_activation_is_gathered(what, tmp_path):
    written(tmp_path, mesh=MESH, data={"kind": "digits"})
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, what],
        cwd=tmp_path,
        env=os.environ | EIGHT,
        capture_output=True,
        text=True,
        check=True,
    )
    gathers = re.findall(r"= (\S+) all-gather", process.stdout)
    assert "collective-permute" in process.stdout  # the halo
    assert not [shape for shape in gathers if shape.count(",") >= 3], gathers


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def two_processes(folder, words):
    port = free_port()
    return [
        started(
            folder,
            words,
            devices=4,
            JAX_COORDINATOR_ADDRESS=f"127.0.0.1:{port}",
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(i),
        )
        for i in range(2)
    ]


def test_two_processes_learn_alike(alone, tmp_path):
    written(tmp_path, mesh=MESH)
    finished(*two_processes(tmp_path, ["-m", "jconv", "train", "tiny.yaml"]))
    run = tmp_path / "runs" / "tiny"
    assert_same_curve(run, alone)
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"

    # What the first of them refuses, both do. Here the command line says which is which.
    where = {"coordinator": f"127.0.0.1:{free_port()}", "processes": 2}
    written(tmp_path, mesh=MESH, distributed=where)
    words = ["-m", "jconv", "train", "tiny.yaml", "--distributed.process"]
    for process in [started(tmp_path, [*words, str(i)], devices=4) for i in range(2)]:
        error = process.communicate(timeout=60)[1]
        assert process.returncode == 2
        assert f"{run.relative_to(tmp_path)} exists, and a run is never overwritten" in error


def test_sigterm_ends_a_process_that_has_joined_and_not_begun(tmp_path):
    where = f"Distributed(coordinator='127.0.0.1:{free_port()}', processes=1, process=0)"
    program = f"""
import os, signal
from jconv.train.config import Distributed
from jconv.train.distributed import initialize_distributed
initialize_distributed({where})
os.kill(os.getpid(), signal.SIGTERM)
"""
    process = started(tmp_path, ["-c", program], devices=1)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_a_process_is_known_by_its_environment_before_its_config(monkeypatch):
    asked = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *words, **_: asked.append(words))
    config = Distributed(coordinator="10.0.0.1:1234", processes=2, process=0)
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    initialize_distributed(config)
    assert asked == [("10.0.0.1:1234", 2, 1)]
    assert config.model_dump() == {"coordinator": "10.0.0.1:1234", "processes": 2}


@pytest.mark.slow
def test_a_damaged_checkpoint_is_set_aside_by_two_processes(alone, tmp_path):
    written(tmp_path, mesh=MESH)
    finished(*two_processes(tmp_path, ["-m", "jconv", "train", "tiny.yaml"]))
    run = tmp_path / "runs" / "tiny"
    (run / "summary.json").unlink()
    for path in (run / "checkpoints" / "000020").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[::-1])
    finished(*two_processes(tmp_path, ["-m", "jconv", "resume", str(run)]))
    assert_same_curve(run, alone)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"000010", "000020", "000020.unreadable"}


@pytest.fixture
def learning(tmp_path):
    """Two processes that have come so far as to save what they learned, and their run."""
    written(tmp_path, mesh=MESH, steps=100_000, log=CONFIG["log"] | {"every": 100})
    processes = two_processes(tmp_path, ["-m", "jconv", "train", "tiny.yaml"])
    run, end = tmp_path / "runs" / "tiny", time.monotonic() + 120
    while not (run / "checkpoints" / "000010").exists():
        assert time.monotonic() < end and processes[0].poll() is None, processes[0].stderr.read()
        time.sleep(0.1)
    return processes, run


@pytest.mark.slow
def test_sigterm_to_one_of_two_processes_saves_and_ends_both(learning):
    processes, run = learning
    processes[1].terminate()
    finished(*processes, seconds=10)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["signal"]) == ("interrupted", "SIGTERM")
    assert (run / "checkpoints" / f"{summary['steps']:06d}").is_dir()


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_with_an_error(learning):
    processes, _ = learning
    processes[1].kill()
    processes[1].communicate()
    error = processes[0].communicate(timeout=90)[1]
    assert processes[0].returncode != 0 and error
