"""The folder of a run: content, overwriting, locking."""

import json
import math

import jax
import pytest
import yaml
from helpers.tiny_run import TINY, fail, failed_run, ignore, tiny_config

from jconv.cli import main
from jconv.train import TrainConfig, resume, run_folder, train
from jconv.train.run_folder import RunBusy, RunExists, locked


def test_run_folder_is_complete(reference):
    names = {path.name for path in reference.iterdir()}
    assert names == {"config.yaml", "environment.json", "metrics.jsonl", "tensorboard", "kernels",
                     "checkpoints", "layers.json", "summary.json"}  # fmt: skip
    assert not list(reference.rglob("*.part"))
    environment = json.loads((reference / "environment.json").read_text())
    assert environment["jax"] == jax.__version__ and environment["devices"]
    assert environment["tuning_table"] is None


def test_stored_config_has_every_default_and_describes_the_same_run(reference):
    stored = yaml.safe_load((reference / "config.yaml").read_text())
    assert stored["optimizer"]["b1"] == 0.9
    assert stored["schedule"] == {"kind": "constant", "warmup_steps": 0}
    assert TrainConfig.model_validate(stored) == tiny_config()


def test_existing_run_is_not_overwritten_by_default(reference):
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    with pytest.raises(RunExists, match="never overwritten by default.*`--overwrite`"):
        train(tiny_config(), runs=reference.parent)
    assert before == {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}


def test_overwrite_does_not_replace_a_folder_with_foreign_files(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.yaml").write_text("of another program")
    (tmp_path / "tiny" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunExists, match="holds 'thesis.tex', which is not part of a run"):
        train(tiny_config(), runs=tmp_path, overwrite=True)
    assert (tmp_path / "tiny" / "thesis.tex").read_text() == "years of work"


def test_overwrite_does_not_follow_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tiny").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunExists, match="is a link or a file"):
        train(tiny_config(), runs=tmp_path, overwrite=True)


def test_overwrite_replaces_the_whole_run(tmp_path):
    train(tiny_config(steps=10), runs=tmp_path)
    run, _ = train(tiny_config(steps=5), runs=tmp_path, overwrite=True)
    assert sorted(path.stem for path in (run / "kernels").iterdir()) == ["000000", "000005"]


def test_config_that_does_not_fit_the_data_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be at most .* 1258"):
        train(tiny_config(batch_size=5000), runs=tmp_path / "runs")
    model = {"kind": "parallel_net", "blocks": [{3: 4}] * 5}
    with pytest.raises(ValueError, match="few enough to halve"):
        train(tiny_config(model=model), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_config_is_written_last_so_that_a_folder_with_it_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "environment", fail)
    with pytest.raises(RuntimeError, match="injected failure"):
        train(tiny_config(), runs=tmp_path)
    assert not (tmp_path / "tiny" / "config.yaml").exists()


def test_two_processes_cannot_write_the_same_run(tmp_path, monkeypatch):
    run = failed_run(tmp_path, monkeypatch, 15)
    with locked(run):
        with pytest.raises(RunBusy, match="is being written by another process"):
            resume(run)
        with pytest.raises(RunBusy, match="is being written by another process"):
            train(tiny_config(), runs=tmp_path, overwrite=True)
    assert (run / "kernels" / "000010.npz").exists()
    resume(run, notify=ignore)


def test_folder_that_cannot_be_written_is_reported(tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    read_only = "/sys/jconv"  # not even the superuser can create folders there
    assert main(["train", str(tmp_path / "tiny.yaml"), "--runs", read_only]) == 2
    message = capsys.readouterr().err
    assert message.startswith("jconv train: ") and read_only in message and "--runs" in message


def test_nonfinite_numbers_are_null_in_json(tmp_path):
    run_folder.write_json(tmp_path / "metrics.json", {"loss": [math.inf, math.nan, 1.0]})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"loss": [None, None, 1.0]}
