"""The verbs `sweep` and `compare`."""

from pathlib import Path

import pytest
import yaml
from helpers.sweeps import CONTENT

from jconv.cli import main
from jconv.train.sweep.folder import read_results


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current directory, with tiny.yaml in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("tiny.yaml").write_text(yaml.safe_dump({k: v for k, v in CONTENT.items() if k != "name"}))
    return tmp_path


def test_sweep_and_compare_from_the_command_line(here, capsys):
    """Two points are really trained, for six steps each."""
    arguments = [
        "sweep",
        "tiny.yaml",
        "--optimizer.learning_rate",
        "1e-3,1e-1",
        "--replicates",
        "2",
    ]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    folder = here / "runs/tiny-sweep"
    first, second = (r.point.name for r in read_results(folder))
    assert "accuracy" in out and "±" in out and "jconv compare runs/tiny-sweep/" in out
    assert "2 of 2: learning_rate 0.1" in err
    assert (folder / first / "report.html").is_file() and (folder / "plot.png").is_file()

    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "of 2" not in err and "learning_rate" in out

    assert main(["compare", str(folder / first), str(folder / second)]) == 0
    out, _ = capsys.readouterr()
    assert "learning_rate" in out and "compare.html" in out and (here / "compare.html").is_file()

    assert main([*arguments, "--steps", "3"]) == 2
    _, err = capsys.readouterr()
    assert "config.steps: 6 when it was saved, 3 now" in err


def test_interrupted_sweep_exits_with_130(here, fake_training, capsys):
    fake_training.stop = (1,)
    assert main(["sweep", "tiny.yaml", "--seed", "1,2", "--name", "seeds"]) == 130
    out, _ = capsys.readouterr()
    assert "with the same command" in out and (here / "runs/seeds/sweep.yaml").is_file()
    fake_training.stop, fake_training.fail = (), (1, 2)
    assert main(["sweep", "tiny.yaml", "--seed", "1,2", "--name", "seeds"]) == 2
    assert "all 2 points failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (("sweep",), "`CONFIG` must be the path of a YAML file"),
        (("sweep", "tiny.yaml"), "needs at least one value of the config with commas"),
        (("sweep", "tiny.yaml", "--steps", "1..5"), "a grid needs values with commas"),
        (("sweep", "tiny.yaml", "--steps", "1,2", "--random", "0"), "must be at least 1 point"),
        (("sweep", "tiny.yaml", "--steps", "1,2", "--random", "9"), "which is 2"),
        (("sweep", "tiny.yaml", "--steps", "1..5", "--random", "9000"), "at most 1,000 points"),
        (("sweep", "tiny.yaml", "--steps", "0,2"), "must be greater than or equal to 1"),
        (("compare",), "RUN"),
        (("compare", "runs/none", "runs/more"), "runs/more: no such folder"),
        (("compare", "."), "it has no config.yaml"),
    ],
)
def test_invalid_arguments_exit_with_2_and_a_message(arguments, expected, here, capsys):
    try:
        code = main(arguments)
    except SystemExit as exit:
        code = exit.code
    out, err = capsys.readouterr()
    assert code == 2 and expected.lower() in (out + err).lower() and "Traceback" not in err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    "arguments", [("sweep", "--help"), ("sweep", "tiny.yaml", "--help"), ("compare", "--help")]
)
def test_help_text(arguments, here, capsys):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    out, _ = capsys.readouterr()
    assert exit.value.code == 0 and "jconv" in out and len(out) > 300
