"""Runs on several devices and in several processes."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest
import yaml
from helpers.compiler import on_devices
from helpers.tiny_run import read_metrics

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
TRAIN = ["-m", "jconv", "train", "tiny.yaml"]


@pytest.fixture(scope="module")
def single_device(tmp_path_factory):
    """The folder of a run on one device."""
    runs = tmp_path_factory.mktemp("single_device")
    return train(TrainConfig.model_validate(CONFIG), runs=runs)[0]


def assert_same_curve(run, expected):
    lines, expected_lines = read_metrics(run), read_metrics(expected)
    assert [line["step"] for line in lines] == [line["step"] for line in expected_lines]
    for name in ("loss", "validation_loss"):
        for a, b in zip(lines, expected_lines, strict=True):
            assert (name in a) == (name in b)
            if name in a:
                assert a[name] == pytest.approx(b[name], rel=1e-5, abs=1e-5)


def start(folder, arguments, *, devices, **variables):
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=on_devices(devices) | variables,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two_processes(folder, arguments):
    address = f"127.0.0.1:{free_port()}"
    variables = dict(JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2")
    return [
        start(folder, arguments, devices=4, JAX_PROCESS_ID=str(i), **variables) for i in range(2)
    ]


def wait_for_success(*processes, timeout=240):
    for process in processes:
        error = process.communicate(timeout=timeout)[1]
        assert process.returncode == 0, error


def write_config(folder, **changes):
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG | changes))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def mesh_run(tmp_path_factory):
    """The folder of a run on eight devices."""
    folder = tmp_path_factory.mktemp("mesh")
    write_config(folder, mesh=MESH)
    wait_for_success(start(folder, TRAIN, devices=8))
    return folder / "runs" / "tiny"


def test_eight_devices_give_the_curve_of_one(mesh_run, single_device):
    assert_same_curve(mesh_run, single_device)
    a, b = (json.loads((run / "summary.json").read_text()) for run in (mesh_run, single_device))
    assert a["test_accuracy"] == pytest.approx(b["test_accuracy"], abs=0.01)


def test_checkpoint_of_a_mesh_can_be_resumed_on_one_device(mesh_run, single_device, tmp_path):
    run = tmp_path / "tiny"
    run.mkdir()
    for name in ("checkpoints", "kernels"):
        shutil.copytree(mesh_run / name, run / name)
    shutil.copy(mesh_run / "metrics.jsonl", run)
    shutil.rmtree(run / "checkpoints" / "000020")
    content = yaml.safe_load((mesh_run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(content | {"mesh": {"data": 1, "height": 1}}))
    messages = []
    resume(run, notify=messages.append)
    assert messages[-1] == "continues after step 10 of 20"
    assert_same_curve(run, single_device)


PRINT_PROGRAMS = """
import numpy as np, yaml
from jconv.train import TrainConfig
from jconv.train.step import evaluate_batch, take_steps
from jconv.train.trainer import Trainer
trainer = Trainer(TrainConfig.model_validate(yaml.safe_load(open("tiny.yaml"))))
for program, arguments in (
    (take_steps, (*trainer.next_batches(1), trainer.keys, np.int32(1), np.int32(1))),
    (evaluate_batch, (*trainer.data.test.take(np.arange(32)), np.ones(32, bool))),
):
    lowered = program.lower(trainer.train_step, trainer.state, *trainer.mesh.replicate(arguments))
    print(lowered.compile().as_text(), end="<end of program>")
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The compiled programs of the steps and of the evaluation on eight devices, as text."""
    folder = tmp_path_factory.mktemp("programs")
    write_config(folder, mesh=MESH)
    output = subprocess.run(
        [sys.executable, "-c", PRINT_PROGRAMS],
        cwd=folder,
        env=on_devices(8),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(zip(("steps", "evaluation"), output.split("<end of program>"), strict=False))


@pytest.mark.parametrize("program", ["steps", "evaluation"])
def test_devices_exchange_neighbouring_rows_and_gather_no_activation(program, programs):
    gathers = re.findall(r"= (\S+) all-gather", programs[program])
    assert "collective-permute" in programs[program]  # the halo
    assert not [shape for shape in gathers if shape.count(",") >= 3], gathers


def test_two_processes_give_the_curve_of_one_device(single_device, tmp_path):
    write_config(tmp_path, mesh=MESH)
    wait_for_success(*start_two_processes(tmp_path, TRAIN))
    run = tmp_path / "runs" / "tiny"
    assert_same_curve(run, single_device)
    assert json.loads((run / "summary.json").read_text())["status"] == "finished"

    # An error of the main process ends both. Here the command line gives the process number.
    where = {"coordinator": f"127.0.0.1:{free_port()}", "processes": 2}
    write_config(tmp_path, mesh=MESH, distributed=where)
    arguments = [*TRAIN, "--distributed.process"]
    for process in [start(tmp_path, [*arguments, str(i)], devices=4) for i in range(2)]:
        error = process.communicate(timeout=60)[1]
        assert process.returncode == 2
        assert f"{run.relative_to(tmp_path)} exists, and a run is never overwritten" in error


def test_sigterm_ends_a_process_between_initialization_and_training(tmp_path):
    config = f"Distributed(coordinator='127.0.0.1:{free_port()}', processes=1, process=0)"
    program = f"""
import os, signal
from jconv.train.config import Distributed
from jconv.train.distributed import initialize_distributed
initialize_distributed({config})
os.kill(os.getpid(), signal.SIGTERM)
"""
    process = start(tmp_path, ["-c", program], devices=1)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_environment_variables_take_precedence_over_the_config(monkeypatch):
    calls = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *args, **_: calls.append(args))
    config = Distributed(coordinator="10.0.0.1:1234", processes=2, process=0)
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    initialize_distributed(config)
    assert calls == [("10.0.0.1:1234", 2, 1)]
    assert config.model_dump() == {"coordinator": "10.0.0.1:1234", "processes": 2}


@pytest.mark.slow
def test_two_processes_use_the_previous_checkpoint_if_one_is_corrupt(single_device, tmp_path):
    write_config(tmp_path, mesh=MESH)
    wait_for_success(*start_two_processes(tmp_path, TRAIN))
    run = tmp_path / "runs" / "tiny"
    (run / "summary.json").unlink()
    for path in (run / "checkpoints" / "000020").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[::-1])
    wait_for_success(*start_two_processes(tmp_path, ["-m", "jconv", "resume", str(run)]))
    assert_same_curve(run, single_device)
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {"000010", "000020", "000020.unreadable"}


@pytest.fixture
def training_processes(tmp_path):
    """Two processes that have saved their first checkpoint, and the folder of their run."""
    write_config(tmp_path, mesh=MESH, steps=100_000, log=CONFIG["log"] | {"every": 100})
    processes = start_two_processes(tmp_path, TRAIN)
    run, end = tmp_path / "runs" / "tiny", time.monotonic() + 120
    while not (run / "checkpoints" / "000010").exists():
        assert time.monotonic() < end and processes[0].poll() is None, processes[0].stderr.read()
        time.sleep(0.1)
    return processes, run


@pytest.mark.slow
def test_sigterm_to_one_of_two_processes_saves_and_ends_both(training_processes):
    processes, run = training_processes
    processes[1].terminate()
    wait_for_success(*processes, timeout=60)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["status"], summary["signal"]) == ("interrupted", "SIGTERM")
    assert (run / "checkpoints" / f"{summary['steps']:06d}").is_dir()


@pytest.mark.slow
def test_killed_process_ends_the_other_one_with_an_error(training_processes):
    processes, _ = training_processes
    processes[1].kill()
    processes[1].communicate()
    error = processes[0].communicate(timeout=90)[1]
    assert processes[0].returncode != 0 and error
