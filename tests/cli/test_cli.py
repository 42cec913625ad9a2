"""The command line: verbs, errors, help and exit codes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jconv.cli import main

ROOT = Path(__file__).parents[2]
TINY = """
data: {kind: digits}
model: {kind: parallel_net, blocks: [{1: 2, 3: 4}]}
steps: 6
batch_size: 16
log: {every: 2, evaluate_every: 6, kernels_every: 3}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current directory with tiny.yaml in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def call(*arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as exit:  # tyro ends help and usage errors itself
        code = exit.code
    out, err = capsys.readouterr()
    return code, out, err


def test_train_then_report_then_overwrite(here, capsys):
    code, out, err = call("train", "tiny.yaml", capsys=capsys)
    assert code == 0
    assert "test accuracy" in out and "runs/tiny/report.html" in out
    assert (here / "runs/tiny/report.html").is_file()

    code, _, err = call("train", "tiny.yaml", capsys=capsys)
    assert code == 2 and "--overwrite" in err

    (here / "runs/tiny/report.html").unlink()
    code, out, _ = call("report", "runs/tiny", capsys=capsys)
    assert code == 0 and (here / "runs/tiny/report.html").is_file()

    code, out, _ = call("train", "tiny.yaml", "--overwrite", "--steps", "4", capsys=capsys)
    assert code == 0
    assert json.loads((here / "runs/tiny/summary.json").read_text())["steps"] == 4


def test_config_values_are_overridden_by_options(here, capsys):
    arguments = ("train", "tiny.yaml", "--name", "other", "--runs", "elsewhere", "--steps", "2",
             "--optimizer.learning-rate", "0.5", "--log.every", "1")  # fmt: skip
    code, *_ = call(*arguments, capsys=capsys)
    assert code == 0
    run = here / "elsewhere" / "other"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["learning_rate"] for line in lines] == [0.5, 0.5]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("train", "tiny.yaml", "--steps", "-5"), "steps: must be greater than or equal to 1"),
        (("train", "tiny.yaml", "--schedule.warmup-steps", "9"), "`schedule.warmup_steps` must be"),
        (("train", "tiny.yaml", "--steps", "many"), "invalid literal for int"),
        (("train", "tiny.yaml", "--optimiser.learning-rate", "1"), "--optimizer.learning-rate"),
        (("train", "tiny.yaml", "--loss", "mae"), "cross_entropy"),
        (("train", "tiny.yaml", "--batch-size", "5000"), "at most the number of training"),
        (("train", "tiny.yml"), "Did you mean tiny.yaml?"),
        (("train",), "`CONFIG` must be the path of a YAML file"),
        (("report", "runs/none"), "must be the folder of a run"),
        (("summary", "none.yaml"), "no such file"),
        (("walkthrough", "--kernel", "prewit"), "or one of ['prewitt'"),
        (("walkthrough", "--x", "1 2; 3"), "rows of equal length"),
        (("bench", "--regret", "-1"), "`--regret` must be at least 0"),
        (("tune", "--random", "-1"), "`--random` must be at least 0 minutes"),
        (("tune", "--random", "nan"), "`--random` must be at least 0 minutes"),
        (("tune", "--budget", "0"), "`--budget` more than 0 seconds"),
        (("inspect", "none.yaml"), "no such file"),
        (("walkthrough", "--stride", "0"), "`stride` must be an int of at least 1"),
        (("trian",), "`VERB` must be one of ['train'"),
    ],
)  # fmt: skip
def test_invalid_arguments_exit_with_2_and_a_message(arguments, expected, here, capsys):
    code, out, err = call(*arguments, capsys=capsys)
    assert code == 2
    assert expected in out + err
    assert "Traceback" not in out + err and "validation error" not in err
    assert not (here / "runs").exists()


def test_config_name_with_spaces_becomes_a_folder_name(here, capsys):
    (here / "my run (2).yaml").write_text(TINY)
    code, out, _ = call("train", "my run (2).yaml", "--steps", "1", capsys=capsys)
    assert code == 0 and "runs/my_run_2_/report.html" in out


def test_tilde_after_an_equals_sign_is_expanded(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "my home"))
    assert main(["train", "tiny.yaml", "--steps=2", "--runs=~/runs"]) == 0
    assert (here / "my home/runs/tiny/report.html").is_file() and not (here / "~").exists()


def test_invalid_config_writes_no_files(here, capsys):
    (here / "bad.yaml").write_text(TINY + "stepz: 4\n")
    code, _, err = call("train", "bad.yaml", capsys=capsys)
    assert code == 2 and "stepz: unknown key. Did you mean `steps`?" in err
    assert {path.name for path in here.iterdir()} == {"tiny.yaml", "bad.yaml"}


@pytest.mark.parametrize(
    "verb",
    [
        (),
        ("train",),
        ("report",),
        ("summary",),
        ("walkthrough",),
        ("bench",),
        ("tune",),
        ("inspect",),
    ],
)
def test_help_text(verb, here, capsys):
    code, out, _ = call(*verb, "--help", capsys=capsys)
    assert code == 0 and "jconv" in out and len(out) > 200


def test_help_with_a_config_lists_its_values(here, capsys):
    code, out, _ = call("train", "tiny.yaml", "--help", capsys=capsys)
    assert code == 0
    assert "--optimizer.learning-rate" in out and "--overwrite" in out


def test_summary_of_the_parallel_block(here, capsys):
    code, out, _ = call("summary", str(ROOT / "configs/parallel_224.yaml"), capsys=capsys)
    assert code == 0
    assert "224x224x192" in out and "6,912" in out and "337,182,720" in out


def test_summary_of_a_training_config(here, capsys):
    code, out, _ = call("summary", "tiny.yaml", capsys=capsys)
    assert code == 0 and "blocks.0.branches.1" in out


def test_walkthrough_prints_sums(here, capsys):
    code, out, _ = call("walkthrough", capsys=capsys)
    assert code == 0 and "-1 + 3 - 5 + 7 - 9 + 11 = 6" in out
    code, out, _ = call("walkthrough", "--x", "1 2; 3 4", "--kernel", "1, 1", capsys=capsys)
    assert code == 0 and "1 + 2 = 3" in out


# Processes in the background of a shell ignore SIGINT; this one restores the default handler.
WITH_INTERRUPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from jconv.cli import main
sys.exit(main())
"""


def test_interrupt_during_training_exits_with_130_and_writes_the_report(here):
    """A signal is sent to a process that trains."""
    arguments = [sys.executable, "-c", WITH_INTERRUPT, "train", "tiny.yaml", "--steps", "1000000"]
    metrics = here / "runs/tiny/metrics.jsonl"
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            deadline = time.monotonic() + 120
            while not (metrics.is_file() and metrics.read_text().count("\n") > 3):
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    summary = json.loads((here / "runs/tiny/summary.json").read_text())
    assert summary["status"] == "interrupted" and summary["steps"] > 0
    assert "interrupted" in (here / "runs/tiny/report.html").read_text().lower()


def test_recovery_experiment(tmp_path):
    (tmp_path / "easy.yaml").write_text(
        "data: {kind: filtered_photos, kernel: sharpen, patches: 64, size: 16}\n"
        "model: {kind: conv}\nloss: mse\nsteps: 600\nbatch_size: 32\n"
        "optimizer: {kind: adam, learning_rate: 0.1}\nschedule: {kind: cosine}\n"
        "log: {every: 10, kernels_every: 100}\n"
    )
    script = str(ROOT / "experiments/recover_kernel.py")
    run = lambda *arguments: subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    done = run("easy.yaml")
    assert done.returncode in (0, 1) and "hidden kernel" in done.stdout, done.stderr
    error = json.loads((tmp_path / "runs/easy/summary.json").read_text())["kernel_error"]
    assert (done.returncode == 0) == (error <= 1e-3)
    again = run("easy.yaml")
    assert again.returncode == 2 and "--overwrite" in again.stderr
    wrong = run(str(ROOT / "configs/digits.yaml"))
    assert wrong.returncode == 2 and "data.kind: must be 'filtered_photos'" in wrong.stderr
