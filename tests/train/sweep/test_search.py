"""Sweeps: training of all points, continuation, and the folder."""

from pathlib import Path

import pytest
import yaml
from helpers.sweeps import AXES, DROPOUT, RATE

from jconv.report.sweep import status_line
from jconv.train import RunFailed, run_folder
from jconv.train.config.loading import ConfigError
from jconv.train.run_folder import RunBusy
from jconv.train.sweep import search
from jconv.train.sweep.axes import Choices, Range
from jconv.train.sweep.folder import MAX_NAME_LENGTH, make_point, read_plan
from jconv.train.sweep.search import sweep


def test_each_point_has_a_run_named_after_its_values(config, fake_training, tmp_path):
    started = []
    results = sweep(
        config, AXES, folder=tmp_path / "s", on_start=lambda p, n: started.append((p, n))
    )

    names = ["001-learning_rate-0.001_dropout-0", "002-learning_rate-0.001_dropout-0.5",
             "003-learning_rate-0.01_dropout-0", "004-learning_rate-0.01_dropout-0.5"]  # fmt: skip
    assert fake_training.trained == names == [r.point.name for r in results]
    assert {r.status for r in results} == {"finished"} and [n for _, n in started] == [4] * 4
    run = yaml.safe_load((tmp_path / "s" / names[1] / "config.yaml").read_text())
    assert (run["optimizer"]["learning_rate"], run["model"]["dropout"]) == (0.001, 0.5)
    plan = read_plan(tmp_path / "s")
    assert (plan.search, plan.count) == ("grid", 4)
    assert plan.axes == {RATE: [0.001, 0.01], DROPOUT: [0, 0.5]}


def test_point_names_are_valid_folder_names(config):
    values = {"model.blocks": [{1: 2, 3: 4} for _ in range(40)], "optimizer": {"kind": "../sgd"}}
    name = make_point(7, values).name
    assert name.startswith("007-blocks-_1_2_3_4") and len(name) <= MAX_NAME_LENGTH
    assert "/" not in name


def test_second_call_skips_finished_points_and_continues_the_rest(config, fake_training, tmp_path):
    fake_training.stop, fake_training.fail = (3,), (2,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["finished", "failed", "interrupted", "waiting"]
    assert len(fake_training.trained) == 3

    fake_training.stop, fake_training.fail = (), ()
    (tmp_path / "s" / "004-learning_rate-0.01_dropout-0.5").mkdir()  # killed before its config
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["finished"] * 4
    assert [name[:3] for name in fake_training.resumed] == ["002", "003"]
    assert [name[:3] for name in fake_training.trained] == ["001", "002", "003", "004"]


def test_axes_in_another_order_continue_the_same_sweep(config, fake_training, tmp_path):
    first = sweep(config, AXES, folder=tmp_path / "s")
    (tmp_path / "s" / ".DS_Store").write_bytes(b"")  # of whoever looked at it
    assert (
        sweep(config, AXES[::-1], folder=tmp_path / "s") == first
        and len(fake_training.trained) == 4
    )
    axes = [Range(RATE, 1e-4, 1e-1), Range(DROPOUT, 0.0, 0.5)]
    drawn = sweep(config, axes, folder=tmp_path / "drawn", random=2)
    more = sweep(config, axes[::-1], folder=tmp_path / "drawn", random=3)
    assert more[:2] == drawn and len(fake_training.trained) == 7


def test_sweep_continues_after_a_failed_run_but_not_after_a_full_disk(
    config, fake_training, tmp_path, monkeypatch
):
    fake_training.fail = (1, 2)
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["failed", "failed", "finished", "finished"]
    assert "step 3 was not taken" in status_line(results[0])

    def full(config, *, runs, overwrite):
        raise RunFailed(Path(runs), "no space left on device") from OSError("no space")

    monkeypatch.setattr(search, "train", full)
    with pytest.raises(OSError, match="no space left"):
        sweep(config, AXES, folder=tmp_path / "other")


def test_another_config_or_other_axes_are_an_error_listing_the_differences(
    config, fake_training, tmp_path
):
    sweep(config, AXES, folder=tmp_path / "s")
    other = config.model_copy(update={"steps": 12})
    with pytest.raises(ValueError, match="config.steps: 6 when it was saved, 12 now"):
        sweep(other, AXES, folder=tmp_path / "s")
    with pytest.raises(ValueError, match=r"axes.*\[0.001, 0.01\] when it was saved"):
        sweep(config, [Choices(RATE, (0.001, 0.02)), AXES[1]], folder=tmp_path / "s")
    assert len(fake_training.trained) == 4

    sweep(other, AXES, folder=tmp_path / "s", overwrite=True)
    assert len(fake_training.trained) == 8 and read_plan(tmp_path / "s").config["steps"] == 12


def test_larger_random_count_adds_points(config, fake_training, tmp_path):
    axes = [Range(RATE, 1e-4, 1e-1)]
    first = sweep(config, axes, folder=tmp_path / "s", random=3)
    more = sweep(config, axes, folder=tmp_path / "s", random=5)
    fewer = sweep(config, axes, folder=tmp_path / "s", random=2)
    assert [r.point for r in more[:3]] == [r.point for r in first] and len(
        fake_training.trained
    ) == 5
    assert fewer == more


def test_all_invalid_points_are_listed_before_training(config, fake_training, tmp_path):
    axes = [Choices(DROPOUT, (0.5, 1.5)), Choices("batch_size", (8, 5000))]
    with pytest.raises(ConfigError) as error:
        sweep(config, [*axes, Choices("stepz", (1, 2))], folder=tmp_path / "s")
    assert "8 of 8 points cannot be trained" in str(error.value)
    assert "stepz: unknown key. Did you mean `steps`?" in str(error.value)

    with pytest.raises(ConfigError) as error:
        sweep(config, axes, folder=tmp_path / "s")
    assert "3 of 4 points cannot be trained" in str(error.value)
    assert "model.dropout: must be less than 1. Received: 1.5. (at dropout 1.5" in str(error.value)
    assert "`batch_size` must be at most the number of training examples" in str(error.value)
    assert not fake_training.trained and not (tmp_path / "s").exists()


def test_folder_of_other_files_is_not_changed(config, fake_training, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(
            ValueError, match="contains 'thesis.tex', which was not written by a sweep"
        ):
            sweep(config, AXES, folder=tmp_path / "mine", overwrite=overwrite)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match="is a link or a file, not a folder"):
        sweep(config, AXES, folder=tmp_path / "link", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists() and not fake_training.trained


def test_folders_named_like_runs_are_not_deleted(config, fake_training, tmp_path):
    photograph = tmp_path / "mine" / "2023-holiday" / "photo.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"x")
    with pytest.raises(
        ValueError, match="contains '2023-holiday', which was not written by a sweep"
    ):
        sweep(config, AXES, folder=tmp_path / "mine", overwrite=True)
    assert photograph.exists()


def test_second_process_on_the_same_sweep_is_an_error(config, fake_training, tmp_path):
    (tmp_path / "s").mkdir()
    with run_folder.locked(tmp_path / "s"), pytest.raises(RunBusy, match="another process"):
        sweep(config, AXES, folder=tmp_path / "s")
    assert not fake_training.trained


@pytest.mark.parametrize(
    "options, expected",
    [({"random": 2, "optuna": 2}, "must not both be given"), ({"axes": ()}, "at least one value")],
)
def test_missing_or_contradictory_options_are_an_error(options, expected, config, tmp_path):
    with pytest.raises(ConfigError, match=expected):
        sweep(config, options.pop("axes", AXES), folder=tmp_path / "s", **options)
