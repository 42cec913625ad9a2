"""`jconv inspect` and `jconv tune`."""

import pytest

import jconv
from jconv.cli import main
from jconv.selection.tuning_table import read_table
from jconv.train import TrainConfig, load_config
from jconv.train.inspect_step import first_step


def test_tune_measures_random_layers_and_prints_the_path_of_the_table(tmp_path, capsys):
    path = tmp_path / "table.json"
    assert main(["tune", "--random", "0.02", "--budget", "0.01", "--out", str(path)]) == 0
    assert f"set JCONV_TUNING={path}" in capsys.readouterr().out
    assert len(read_table(path).seconds) >= 1


@pytest.mark.parametrize("budget", ["inf", "nan", "0", "-1"])
def test_a_budget_that_is_not_positive_and_finite_is_an_error(budget, capsys):
    assert main(["tune", "--only", "conv2", f"--budget={budget}"]) == 2
    assert "`--budget` more than 0 seconds, and finite" in capsys.readouterr().err


@pytest.fixture
def config(tmp_path):
    """A config and the inspection of its training step.

    The network has three convolutions, each with a kernel gradient. Two of them are on images,
    which have no gradient.
    """
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "{data: {kind: digits}, batch_size: 4, steps: 1,\n"
        " model: {kind: parallel_net, blocks: [{1: 2, 3: 4}, {3: 4}]}}\n"
    )
    step, arguments = first_step(load_config(path, TrainConfig, name="tiny"))
    return path, jconv.inspect(step)(*arguments)


def test_inspect_prints_the_convolutions_of_a_training_step(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path, inspection = config
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed and all(word in printed for word in ("bytes", "gradient", "total"))
    assert f"{inspection.multiply_adds:,}" in printed
    assert len(inspection.convolutions) == 7 and printed.count("gradient") == 4


@pytest.mark.slow
def test_tune_measures_the_convolutions_of_a_training_step(config, tmp_path, capsys):
    path, inspection = tmp_path / "table.json", config[1]
    assert main(["tune", str(config[0]), "--budget", "0.01", "--out", str(path)]) == 0
    assert set(read_table(path).seconds) == {c.problem for c in inspection.convolutions}
    assert f"set JCONV_TUNING={path}" in capsys.readouterr().out
