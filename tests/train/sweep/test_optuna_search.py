"""Points of a sweep that Optuna chooses."""

import pytest
from helpers.sweeps import AXES, DROPOUT, RATE

from jconv.report.sweep import ranked
from jconv.train.sweep.axes import Choices, Range
from jconv.train.sweep.optuna_search import OptunaSearch
from jconv.train.sweep.search import sweep


def test_missing_optuna_error_names_the_install_command(
    config, fake_training, tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'jconv\[optuna\]'"):
        sweep(config, AXES, folder=tmp_path / "s", optuna=3)
    assert not (tmp_path / "s").exists()


def test_optuna_continues_and_approaches_the_optimum(config, fake_training, tmp_path):
    pytest.importorskip("optuna")
    axes = [Range(RATE, 1e-4, 1e-1), Choices(DROPOUT, (0.0, 0.5)), Range("batch_size", 8, 32, True)]
    fake_training.stop, fake_training.fail = (4,), (2,)
    results = sweep(config, axes, folder=tmp_path / "s", optuna=25)
    assert [r.status for r in results] == ["finished", "failed", "finished", "interrupted"]

    fake_training.stop, fake_training.fail = (), ()
    results = sweep(config, axes, folder=tmp_path / "s", optuna=25)
    assert len(results) == 25 and [name[:3] for name in fake_training.resumed] == ["002", "004"]
    assert len({r.point.values[RATE] for r in results}) == 25  # the sampler does not start again
    best = ranked(results)[0].point.values
    # The optimum is a rate of 0.01 without dropout; the range spans three decades.
    assert best[DROPOUT] == 0 and 0.005 < best[RATE] < 0.02
    assert len(sweep(config, axes, folder=tmp_path / "s", optuna=10)) == 25


def test_optuna_receives_results_of_runs_finished_by_resume(config, fake_training, tmp_path):
    pytest.importorskip("optuna")
    axes, folder = [Range(RATE, 1e-4, 1e-1)], tmp_path / "s"
    fake_training.stop = (1,)
    (point,) = (result.point for result in sweep(config, axes, folder=folder, optuna=2))
    fake_training.stop = ()
    fake_training.resume(folder / point.name, notify=None)
    assert [r.status for r in sweep(config, axes, folder=folder, optuna=2)] == ["finished"] * 2
    search = OptunaSearch(folder, axes, metric="validation_accuracy", seed=0)
    assert not search.unfinished()
