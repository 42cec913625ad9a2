"""Runs in processes that are stopped, killed, or cannot write."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml
from helpers.entries import on_a_cpu
from helpers.tiny_run import TINY, assert_same_run, tiny_config

from jconv.cli import main
from jconv.train import train

# A process that dies or cannot write must not leave incomplete programs in the shared cache.
ENVIRONMENT = os.environ | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}


def start(folder, *arguments):
    command = [sys.executable, "-m", "jconv", *arguments]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL, env=ENVIRONMENT)


def wait_until(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"nothing happened in {seconds} seconds"
        time.sleep(0.05)


def test_sigterm_saves_the_state_and_exits_with_0(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"steps": 4000}))
    process = start(tmp_path, "train", "tiny.yaml")
    run = tmp_path / "runs" / "tiny"
    wait_until((run / "checkpoints" / "000010").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["signal"] == "SIGTERM"
    assert "test_loss" not in summary  # the final evaluation may take minutes
    assert (run / "checkpoints" / f"{summary['steps']:06d}").is_dir()


@pytest.mark.slow
def test_runs_killed_fifty_times_reproduce_the_uninterrupted_run(tmp_path):
    """Kills at random moments: during the start, steps, logging and saving."""
    rng, kills = np.random.default_rng(), 0
    changes = {"steps": 3000, "checkpoints": {"every": 10, "keep": 2}}
    expected, _ = train(tiny_config(**changes), runs=tmp_path / "expected")
    while kills < 50:
        folder = tmp_path / f"after-{kills}-kills"
        folder.mkdir()
        (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changes))
        kills += finish_despite_kills(folder, rng, max_kills=50 - kills)
        assert_same_run(folder / "runs" / "tiny", expected)


def finish_despite_kills(folder, rng, *, max_kills):
    """Start or resume a run until it finishes, and return how often it was killed."""
    run, arguments, kills = folder / "runs" / "tiny", ["train", "tiny.yaml", "--overwrite"], 0
    while True:
        before = checkpoint_names(run)
        process = start(folder, *arguments)
        if kills < max_kills:
            if rng.random() < 0.9:  # otherwise perhaps before the first step
                wait_until(lambda: checkpoint_names(run) - before or process.poll() is not None)  # noqa: B023
            time.sleep(rng.exponential(0.3))
            if process.poll() is None:
                kills += 1
                process.kill()
        if process.wait() == 0:
            return kills
        assert process.returncode == -signal.SIGKILL
        if (run / "config.yaml").exists():
            arguments = ["resume", str(run)]


def checkpoint_names(run):
    return {path.name for path in (run / "checkpoints").glob("*")}


WITH_FILE_SIZE_LIMIT = """
import resource, sys
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
from jconv.cli import main
sys.exit(main())
"""


@on_a_cpu
@pytest.mark.parametrize(
    "size", [12_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (3_000, 40_000))]
)
def test_full_disk_ends_a_run_that_can_be_resumed(size, reference, tmp_path):
    """A file size limit stands for the full disk; which file meets it depends on the size."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    process = subprocess.run(
        [sys.executable, "-c", WITH_FILE_SIZE_LIMIT, str(size), "train", "tiny.yaml"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 2
    message = process.stderr.splitlines()[-1]
    assert message.startswith("jconv train: ") and "File too large" in message
    command = re.search("`jconv (resume|report)", message)[1]
    run = tmp_path / "runs" / "tiny"
    assert main([command, str(run)]) == 0
    assert_same_run(run, reference)
