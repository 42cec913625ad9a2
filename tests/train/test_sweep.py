"""Sweeps: their axes, their folder, and going on; and runs side by side."""

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.pages import Page, write_lines
from PIL import Image
from rich.console import Console

from jconv import cli
from jconv.report import compare as comparing
from jconv.report import sweep as sweep_report
from jconv.train import RunFailed, TrainConfig, run_folder
from jconv.train.config.loading import ConfigError
from jconv.train.run_folder import RunBusy
from jconv.train.sweep import folder as sweeping
from jconv.train.sweep.axes import (
    MOST_POINTS,
    Choices,
    Range,
    draw,
    grid,
    read_axes,
    short_names,
    with_values,
)
from jconv.train.sweep.folder import read_results, read_sweep, sweep
from jconv.train.sweep.optuna_search import Study

CONTENT = {
    "name": "tiny",
    "data": {"kind": "digits"},
    "model": {"kind": "parallel_net", "blocks": [{1: 2, 3: 4}]},
    "steps": 6,
    "batch_size": 16,
    "log": {"every": 2, "evaluate_every": 6, "kernels_every": 6},
}
RATE, DROPOUT = "optimizer.learning_rate", "model.dropout"
AXES = (Choices(RATE, (0.001, 0.01)), Choices(DROPOUT, (0.0, 0.5)))


@pytest.fixture
def config():
    return TrainConfig.model_validate(CONTENT)


class Fake:
    """Stands for training: writes what a run leaves behind, and remembers which were trained."""

    def __init__(self):
        self.trained, self.resumed, self.fail, self.stop = [], [], (), ()

    def train(self, config, *, runs, overwrite):
        run = Path(runs) / config.name
        run.mkdir(exist_ok=overwrite)
        (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
        self.trained.append(config.name)
        return self.carried_out(run, config)

    def resume(self, run, *, tell):
        self.resumed.append(run.name)
        return self.carried_out(run, TrainConfig.model_validate(yaml.safe_load(
            (run / "config.yaml").read_text())))  # fmt: skip

    def carried_out(self, run, config):
        number = int(run.name[:3])
        found = {"steps": config.steps, "seconds": 1.5}
        if number in self.fail:
            found |= {"status": "failed", "error": "NotFinite: step 3 was not taken"}
        elif number in self.stop:
            found |= {"status": "interrupted", "signal": "SIGINT"}
        else:
            # Best at a rate of 0.01 and no dropout, so that there is something to find.
            loss = abs(math.log10(config.optimizer.learning_rate) + 2) + config.model.dropout
            found |= {"status": "finished", "validation_loss": loss, "validation_loss_error": 0.01}
            found |= {"validation_accuracy": 1 / (1 + loss), "validation_accuracy_error": 0.0021}
        run_folder.write_json(run / "summary.json", found)
        if number in self.fail:
            raise RunFailed(run, found["error"])
        return run, found


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    monkeypatch.setattr(sweeping, "train", made.train)
    monkeypatch.setattr(sweeping, "resume", made.resume)
    return made


def printed(table, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table)
    return console.export_text()


# Axes.


def test_values_with_commas_are_axes_and_other_words_are_left(config):
    words = ["--optimizer.learning-rate", "1e-3,3e-3", "--replicates", "4", "--model.norm=true,no",
             "--overwrite", "--clip_norm=None,1.5"]  # fmt: skip
    axes, rest = read_axes(words, config)
    assert axes == (
        Choices(RATE, (0.001, 0.003)),
        Choices("model.norm", (True, False)),
        Choices("clip_norm", (None, 1.5)),
    )
    assert rest == ["--replicates", "4", "--overwrite"]


def test_commas_in_brackets_do_not_part_values(config):
    axes, rest = read_axes(["--model.blocks", "[{1: 2, 3: 4}],[{1: 4}]"], config)
    assert axes[0].values == ([{"1": 2, "3": 4}], [{"1": 4}])
    blocks = [with_values(config, point, "x").model.blocks for point in grid(axes)]
    assert blocks == [({1: 2, 3: 4},), ({1: 4},)]
    assert read_axes(["--model.blocks", "[{1: 2, 3: 4}]"], config)[1] == [
        "--model.blocks", "[{1: 2, 3: 4}]"]  # fmt: skip


def test_a_range_is_logarithmic_if_wide_and_whole_where_the_config_is(config):
    words = [f"--{RATE}", "1e-4..1e-1", "--steps", "10..1000", f"--{DROPOUT}", "0..0.5"]
    (rate, steps, dropout), _ = read_axes(words, config)
    assert (rate.log, steps.log, dropout.log) == (True, True, False)
    assert (rate.whole, steps.whole, dropout.whole) == (False, True, False)
    points = draw((rate, steps, dropout), 400, seed=0)
    drawn = np.array([[p[RATE], p["steps"], p[DROPOUT]] for p in points])
    assert all(isinstance(point["steps"], int) for point in points)
    assert (drawn.min(0) >= (1e-4, 10, 0)).all() and (drawn.max(0) <= (1e-1, 1000, 0.5)).all()
    # Half of the points lie below the geometric mean, or the mean: 400 draws stray by 2.5%.
    shares = (drawn < (10**-2.5, 100, 0.25)).mean(0)
    np.testing.assert_allclose(shares, 0.5, atol=0.1)


def test_a_range_of_what_the_config_leaves_out_is_whole_only_where_it_must_be(config):
    words = ["--clip_norm", "1..5", "--early_stopping.patience", "1..5"]
    (norm, patience), _ = read_axes(words, config)
    assert (norm.whole, patience.whole) == (False, True)
    words = ["--data.kind", "photos,filtered_photos", "--data.patches", "100..900"]
    assert read_axes(words, config)[0][1].whole


def test_random_points_are_different_and_fewer_are_the_first_of_more(config):
    axes = (Choices(RATE, (0.1, 0.2, 0.3)), Choices(DROPOUT, (0.0, 0.1)))
    points = draw(axes, 6, seed=3)
    assert sorted(map(str, points)) == sorted(map(str, grid(axes)))
    assert draw(axes, 4, seed=3) == points[:4] != draw(axes, 4, seed=4)
    with pytest.raises(ConfigError, match="at most the number of different points, which is 6"):
        draw(axes, 7, seed=0)


def test_a_section_of_another_kind_starts_with_its_own_defaults(config):
    adamw = with_values(config, {RATE: 0.5, "optimizer.kind": "adamw"}, "x").optimizer
    assert (adamw.kind, adamw.learning_rate, adamw.weight_decay) == ("adamw", 0.5, 1e-4)
    stopping = with_values(config, {"early_stopping.patience": 3}, "x").early_stopping
    assert stopping.patience == 3


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--steps", "1,2,"], "`--steps` must be different values with commas between them"),
        (["--steps", "1,2,1"], "1 and 1 are the same"),
        (["--steps", "10..5"], "`--steps` must go from a whole number to a larger one"),
        (["--steps", "1.5..5"], "must go from a whole number"),
        (["--steps", "1,2", "--steps", "3,4"], "`--steps` is given twice"),
        (["--name", "a,b"], "`--name` is that of the whole sweep"),
        (["--steps.x", "1,2"], "`--steps.x` must be the path of a value of the config"),
        (["--clip_norm", "{a,b"], None),
    ],
)
def test_what_cannot_be_an_axis_is_told(words, expected, config):
    if expected is None:
        assert read_axes(words, config) == ((), words)
        return
    with pytest.raises(ConfigError) as told:
        read_axes(words, config)
    assert expected in str(told.value)


def test_a_grid_is_of_values_and_not_too_large():
    with pytest.raises(ConfigError, match="is a range, and a grid needs values"):
        grid([Range("steps", 1, 5, True)])
    numbers = tuple(range(40))
    with pytest.raises(ConfigError, match=f"at most {MOST_POINTS:,} points. Received: 1,600"):
        grid([Choices("seed", numbers), Choices("data.seed", numbers)])


def test_short_names_tell_paths_apart():
    names = short_names(["optimizer.learning_rate", "data.seed", "seed", "a.b.x", "c.b.x"])
    assert list(names.values()) == ["learning_rate", "data.seed", "seed", "a.b.x", "c.b.x"]


# The folder.


def test_each_point_has_a_run_named_by_its_values(config, fake, tmp_path):
    seen = []
    results = sweep(config, AXES, folder=tmp_path / "s", before=lambda p, n: seen.append((p, n)))

    names = ["001-learning_rate-0.001_dropout-0", "002-learning_rate-0.001_dropout-0.5",
             "003-learning_rate-0.01_dropout-0", "004-learning_rate-0.01_dropout-0.5"]  # fmt: skip
    assert fake.trained == names == [r.point.name for r in results]
    assert {r.status for r in results} == {"finished"} and [n for _, n in seen] == [4] * 4
    run = yaml.safe_load((tmp_path / "s" / names[1] / "config.yaml").read_text())
    assert (run["optimizer"]["learning_rate"], run["model"]["dropout"]) == (0.001, 0.5)
    plan = read_sweep(tmp_path / "s")
    assert (plan.search, plan.count) == ("grid", 4)
    assert plan.axes == {RATE: [0.001, 0.01], DROPOUT: [0, 0.5]}


def test_names_hold_what_a_folder_may_be_called(config):
    values = {"model.blocks": [{1: 2, 3: 4} for _ in range(40)], "optimizer": {"kind": "../sgd"}}
    name = sweeping.point(7, values).name
    assert name.startswith("007-blocks-_1_2_3_4") and len(name) <= sweeping.LONGEST_NAME
    assert "/" not in name


def test_asked_again_it_leaves_what_is_finished_and_goes_on_with_the_rest(config, fake, tmp_path):
    fake.stop, fake.fail = (3,), (2,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["finished", "failed", "interrupted", "waiting"]
    assert len(fake.trained) == 3

    fake.stop, fake.fail = (), ()
    (tmp_path / "s" / "004-learning_rate-0.01_dropout-0.5").mkdir()  # killed before its config
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["finished"] * 4
    assert [name[:3] for name in fake.resumed] == ["002", "003"]
    assert [name[:3] for name in fake.trained] == ["001", "002", "003", "004"]


def test_options_in_another_order_are_the_same_sweep(config, fake, tmp_path):
    first = sweep(config, AXES, folder=tmp_path / "s")
    (tmp_path / "s" / ".DS_Store").write_bytes(b"")  # of whoever looked at it
    assert sweep(config, AXES[::-1], folder=tmp_path / "s") == first and len(fake.trained) == 4
    axes = [Range(RATE, 1e-4, 1e-1), Range(DROPOUT, 0.0, 0.5)]
    drawn = sweep(config, axes, folder=tmp_path / "drawn", random=2)
    more = sweep(config, axes[::-1], folder=tmp_path / "drawn", random=3)
    assert more[:2] == drawn and len(fake.trained) == 7


def test_a_run_that_fails_does_not_end_the_sweep_and_a_full_disk_does(config, fake, tmp_path):
    fake.fail = (1, 2)
    results = sweep(config, AXES, folder=tmp_path / "s")
    assert [r.status for r in results] == ["failed", "failed", "finished", "finished"]
    assert "step 3 was not taken" in sweep_report.line(results[0])

    def full(config, *, runs, overwrite):
        raise RunFailed(Path(runs), "no space left on device") from OSError("no space")

    sweeping.train = full
    with pytest.raises(OSError, match="no space left"):
        sweep(config, AXES, folder=tmp_path / "other")


def test_another_config_or_other_axes_are_refused_with_the_difference(config, fake, tmp_path):
    sweep(config, AXES, folder=tmp_path / "s")
    other = config.model_copy(update={"steps": 12})
    with pytest.raises(ValueError, match="config.steps: 6 when it was saved, 12 now"):
        sweep(other, AXES, folder=tmp_path / "s")
    with pytest.raises(ValueError, match=r"axes.*\[0.001, 0.01\] when it was saved"):
        sweep(config, [Choices(RATE, (0.001, 0.02)), AXES[1]], folder=tmp_path / "s")
    assert len(fake.trained) == 4

    sweep(other, AXES, folder=tmp_path / "s", overwrite=True)
    assert len(fake.trained) == 8 and read_sweep(tmp_path / "s").config["steps"] == 12


def test_more_random_points_may_be_asked_for(config, fake, tmp_path):
    axes = [Range(RATE, 1e-4, 1e-1)]
    first = sweep(config, axes, folder=tmp_path / "s", random=3)
    more = sweep(config, axes, folder=tmp_path / "s", random=5)
    fewer = sweep(config, axes, folder=tmp_path / "s", random=2)
    assert [r.point for r in more[:3]] == [r.point for r in first] and len(fake.trained) == 5
    assert fewer == more


def test_all_problems_are_told_before_anything_is_trained(config, fake, tmp_path):
    axes = [Choices(DROPOUT, (0.5, 1.5)), Choices("batch_size", (8, 5000))]
    with pytest.raises(ConfigError) as told:
        sweep(config, [*axes, Choices("stepz", (1, 2))], folder=tmp_path / "s")
    assert "8 of 8 points cannot be trained" in str(told.value)
    assert "stepz: unknown key. Did you mean `steps`?" in str(told.value)

    with pytest.raises(ConfigError) as told:
        sweep(config, axes, folder=tmp_path / "s")
    assert "3 of 4 points cannot be trained" in str(told.value)
    assert "model.dropout: must be less than 1. Received: 1.5. (at dropout 1.5" in str(told.value)
    assert "`batch_size` must be at most the number of training examples" in str(told.value)
    assert not fake.trained and not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_left_alone(config, fake, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="holds 'thesis.tex', which no sweep has written"):
            sweep(config, AXES, folder=tmp_path / "mine", overwrite=overwrite)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(ValueError, match="is not a folder of its own"):
        sweep(config, AXES, folder=tmp_path / "link", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists() and not fake.trained


def test_folders_that_look_like_those_of_runs_are_left_alone(config, fake, tmp_path):
    photograph = tmp_path / "mine" / "2023-holiday" / "photo.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"x")
    with pytest.raises(ValueError, match="holds '2023-holiday', which no sweep has written"):
        sweep(config, AXES, folder=tmp_path / "mine", overwrite=True)
    assert photograph.exists()


def test_two_processes_never_write_one_sweep(config, fake, tmp_path):
    (tmp_path / "s").mkdir()
    with run_folder.locked(tmp_path / "s"), pytest.raises(RunBusy, match="another process"):
        sweep(config, AXES, folder=tmp_path / "s")
    assert not fake.trained


@pytest.mark.parametrize(
    "options, expected",
    [({"random": 2, "optuna": 2}, "must not both be given"), ({"axes": ()}, "at least one value")],
)
def test_what_a_sweep_needs(options, expected, config, tmp_path):
    with pytest.raises(ConfigError, match=expected):
        sweep(config, options.pop("axes", AXES), folder=tmp_path / "s", **options)


# Optuna.


def test_without_optuna_it_says_how_to_install_it(config, fake, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'jconv\[optuna\]'"):
        sweep(config, AXES, folder=tmp_path / "s", optuna=3)
    assert not (tmp_path / "s").exists()


def test_optuna_goes_on_where_it_ended_and_comes_near_the_best(config, fake, tmp_path):
    pytest.importorskip("optuna")
    axes = [Range(RATE, 1e-4, 1e-1), Choices(DROPOUT, (0.0, 0.5)), Range("batch_size", 8, 32, True)]
    fake.stop, fake.fail = (4,), (2,)
    results = sweep(config, axes, folder=tmp_path / "s", optuna=25)
    assert [r.status for r in results] == ["finished", "failed", "finished", "interrupted"]

    fake.stop, fake.fail = (), ()
    results = sweep(config, axes, folder=tmp_path / "s", optuna=25)
    assert len(results) == 25 and [name[:3] for name in fake.resumed] == ["002", "004"]
    assert len({r.point.values[RATE] for r in results}) == 25  # it does not begin anew
    best = sweep_report.ranked(results)[0].point.values
    # The best there is has no dropout and a rate of 0.01; of three decades, a factor of 2 is near.
    assert best[DROPOUT] == 0 and 0.005 < best[RATE] < 0.02
    assert len(sweep(config, axes, folder=tmp_path / "s", optuna=10)) == 25


def test_optuna_hears_of_a_trial_that_was_ended_otherwise(config, fake, tmp_path):
    pytest.importorskip("optuna")
    axes, folder = [Range(RATE, 1e-4, 1e-1)], tmp_path / "s"
    fake.stop = (1,)
    (point,) = (result.point for result in sweep(config, axes, folder=folder, optuna=2))
    fake.stop = ()
    fake.resume(folder / point.name, tell=None)
    assert [r.status for r in sweep(config, axes, folder=folder, optuna=2)] == ["finished"] * 2
    study = Study(folder, axes, metric="validation_accuracy", seed=0)
    assert not study.under_way()


# What is told of it.


def test_the_table_fits_80_columns_the_best_first(config, fake, tmp_path):
    fake.fail = (1,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    lines = printed(sweep_report.table(results)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["validation", "validation"]
    assert lines[2].split() == ["run", "learning_rate", "dropout", "accuracy", "loss", "time"]
    rows = [re.split(" +", line.strip()) for line in lines[4:] if line.strip()]
    assert [row[0] for row in rows] == ["003", "004", "002", "001"]
    assert rows[0][3:6] == ["100\u202f%", "±", "0.2\u202f%"] and rows[3][3] == "failed"


def test_results_are_files_to_work_on(config, fake, tmp_path):
    fake.fail = (1,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    sweep_report.write_results(tmp_path / "s", results)

    with open(tmp_path / "s" / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0][RATE], rows[0]["status"]) == ("0.01", "finished")
    assert float(rows[1]["validation_accuracy"]) == pytest.approx(2 / 3)
    found = json.loads((tmp_path / "s" / "results.json").read_text())
    assert found["metric"] == "validation_accuracy" and found["points"][0]["values"][RATE] == 0.01
    assert "step 3" in found["points"][3]["error"]
    with Image.open(tmp_path / "s" / "plot.png") as picture:
        assert picture.width > 600


def test_an_axis_and_a_figure_of_one_name_have_a_column_each(config, fake, tmp_path):
    results = sweep(config, [Choices("steps", (6, 12))], folder=tmp_path / "s")
    results = [replace(r, summary=r.summary | {"steps": 5}) for r in results]  # it ended early
    sweep_report.write_results(tmp_path / "s", results)
    with open(tmp_path / "s" / "results.csv") as file:
        rows = sorted((row["steps"], row["final_steps"]) for row in csv.DictReader(file))
    assert rows == [("12", "5"), ("6", "5")]


@pytest.mark.parametrize("random", [None, 2])
def test_the_plot_has_log_axes_where_values_call_for_it(random, config, fake, tmp_path):
    axes = [Choices(RATE, (0.001, 0.01, 0.1)), Choices("schedule.kind", ("cosine", "one_cycle"))]
    results = sweep(config, axes, folder=tmp_path / "s", random=random)
    rate, schedule = sweep_report.plot(read_sweep(tmp_path / "s"), results).axes
    assert (rate.get_xscale(), schedule.get_xscale()) == ("log", "linear")
    assert rate.get_xlabel() == "learning_rate" and rate.get_ylabel() == "validation accuracy"
    assert [t.get_text() for t in schedule.get_xticklabels()] == ["cosine", "one_cycle"]
    assert len(rate.containers) == (1 if random else 2)


def test_a_range_is_drawn_as_it_was_drawn_from(config, fake, tmp_path):
    axes = [Range(RATE, 1e-4, 1e-1), Range(DROPOUT, 0.0, 0.6)]
    results = sweep(config, axes, folder=tmp_path / "s", random=8)
    rate, dropout = sweep_report.plot(read_sweep(tmp_path / "s"), results).axes
    assert (rate.get_xscale(), dropout.get_xscale()) == ("log", "linear")


# The command line.


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("tiny.yaml").write_text(yaml.safe_dump({k: v for k, v in CONTENT.items() if k != "name"}))
    return tmp_path


def test_a_sweep_from_the_command_line_is_trained_and_compared(here, capsys):
    """Real training, of six steps each."""
    words = ["sweep", "tiny.yaml", "--optimizer.learning_rate", "1e-3,1e-1", "--replicates", "2"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    folder = here / "runs/tiny-sweep"
    first, second = (r.point.name for r in read_results(folder))
    assert "accuracy" in out and "±" in out and "jconv compare runs/tiny-sweep/" in out
    assert "2 of 2: learning_rate 0.1" in err
    assert (folder / first / "report.html").is_file() and (folder / "plot.png").is_file()

    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "of 2" not in err and "learning_rate" in out

    assert cli.main(["compare", str(folder / first), str(folder / second)]) == 0
    out, _ = capsys.readouterr()
    assert "learning_rate" in out and "compare.html" in out and (here / "compare.html").is_file()

    assert cli.main([*words, "--steps", "3"]) == 2
    _, err = capsys.readouterr()
    assert "config.steps: 6 when it was saved, 3 now" in err


def test_ctrl_c_ends_the_sweep_with_130_and_says_how_to_go_on(here, fake, capsys):
    fake.stop = (1,)
    assert cli.main(["sweep", "tiny.yaml", "--seed", "1,2", "--name", "seeds"]) == 130
    out, _ = capsys.readouterr()
    assert "with the same command" in out and (here / "runs/seeds/sweep.yaml").is_file()
    fake.stop, fake.fail = (), (1, 2)
    assert cli.main(["sweep", "tiny.yaml", "--seed", "1,2", "--name", "seeds"]) == 2
    assert "all 2 points failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, expected",
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
def test_bad_words_end_in_a_sentence_and_exit_code_2(words, expected, here, capsys):
    try:
        code = cli.main(words)
    except SystemExit as exit:
        code = exit.code
    out, err = capsys.readouterr()
    assert code == 2 and expected.lower() in (out + err).lower() and "Traceback" not in err
    assert not (here / "runs").exists()


@pytest.mark.parametrize(
    "words", [("sweep", "--help"), ("sweep", "tiny.yaml", "--help"), ("compare", "--help")]
)
def test_help_is_enough(words, here, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    out, _ = capsys.readouterr()
    assert ended.value.code == 0 and "jconv" in out and len(out) > 300


# Runs side by side.


@pytest.fixture
def runs(tmp_path, rng):
    """Three runs of two configs, the last of them with replicates and interrupted."""
    made = []
    for k, rate in enumerate((0.001, 0.01, 0.01)):
        run = tmp_path / f"run{k}"
        run.mkdir()
        config = CONTENT | {"optimizer": {"kind": "adam", "learning_rate": rate}, "name": run.name}
        config |= {"replicates": 4} if k == 2 else {}
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        lines = [
            {"step": s, "loss": 2 * math.exp(-s / (50 + 30 * k)) + 0.05, "validation_loss": 0.1,
             "accuracy": 1 - 0.9 * math.exp(-s / 50)}
            | ({"loss_error": 0.04, "accuracy_error": 0.02} if k == 2 else {})
            for s in range(0, 201 - 40 * k, 10)
        ]  # fmt: skip
        write_lines(run / "metrics.jsonl", lines)
        summary = {"status": "interrupted" if k == 2 else "finished", "seconds": 9.5, "steps": 200}
        summary |= {"test_accuracy": 0.97 + k / 100, "test_accuracy_error": 0.002}
        run_folder.write_json(run / "summary.json", summary)
        (run / "environment.json").write_text("{}")
        made.append(run)
    return made


def test_runs_side_by_side(runs):
    found = comparing.compare(runs)
    assert found.differences["learning_rate"] == ["0.001", "0.01", "0.01"]
    assert found.differences["replicates"] == ["–", "–", "4"] and len(found.differences) == 2
    assert found.figures["status"] == ["finished", "finished", "interrupted"]
    text = printed(comparing.table(found))
    assert "97\u202f% ± 0.2\u202f%" in text and "learning_rate" in text
    assert max(map(len, text.splitlines())) <= 80


def test_steps_that_were_asked_for_and_steps_taken(runs):
    config = yaml.safe_load((runs[0] / "config.yaml").read_text())
    (runs[0] / "config.yaml").write_text(yaml.safe_dump(config | {"steps": 4000}))
    found = comparing.compare(runs[:2])
    rows = dict(found.rows())
    assert rows["steps taken"] == ["200", "200"] and rows["steps"] == ["4000", "6"]


def test_values_are_text_and_no_markup(runs):
    for run, folder in zip(runs[:2], ("pets [raw]", "pets [/x]"), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"]["folder"] = folder
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = printed(comparing.table(comparing.compare(runs[:2])))
    assert "pets [raw]" in text and "pets [/x]" in text


def test_a_curve_has_the_name_and_the_colour_of_its_run(runs, tmp_path):
    for run in (runs[0], runs[2]):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        kept = [{key: line[key] for key in ("step", "loss")} for line in lines]
        write_lines(run / "metrics.jsonl", kept)
    shown = Page(comparing.write_comparison(comparing.compare(runs), tmp_path / "c.html"))
    curves = [attrs["class"] for tag, attrs in shown.tags if "curve" in attrs.get("class", "")]
    assert curves == ["curve c1", "curve c2", "curve c3", "curve c2", "curve c2"]
    assert shown.sentences().count("run1") >= 4  # in each legend too


def test_many_runs_have_a_row_each(runs, tmp_path):
    for k in range(3):
        (tmp_path / "more" / f"run{k}").mkdir(parents=True)
        for name in ("config.yaml", "summary.json", "metrics.jsonl"):
            (tmp_path / "more" / f"run{k}" / name).write_bytes((runs[k] / name).read_bytes())
    found = comparing.compare([*runs, *(tmp_path / "more").iterdir()])
    assert found.names[0].endswith("/run0") and len(set(found.names)) == 6
    lines = printed(comparing.table(found)).splitlines()
    assert lines[1].split()[:3] == ["run", "learning_rate", "replicates"]
    assert max(map(len, lines)) <= 80 and "97\u202f%" in "".join(lines)


def test_the_page_of_a_comparison_lays_curves_over_each_other(runs, tmp_path):
    shown = Page(comparing.write_comparison(comparing.compare(runs), tmp_path / "out" / "c.html"))

    assert "http:" not in shown.raw and "https:" not in shown.raw
    charts = [attrs for tag, attrs in shown.tags if tag == "figure"]
    assert len(charts) == 3 and all(len(json.loads(c["data-curves"])) == 3 for c in charts)
    bands = [attrs for tag, attrs in shown.tags if attrs.get("class") == "band c3"]
    assert len(bands) == 2
    for words in (
        "run0",
        "Training loss",
        "0.722 ± 0.040",
        "97\u202f% ± 0.2\u202f%",
        "at step 200",
    ):
        assert words in shown.sentences()


def test_names_of_runs_are_escaped(runs, tmp_path):
    hostile = runs[0].rename(tmp_path / "<script>alert(1)<")
    shown = Page(comparing.write_comparison(comparing.compare([hostile, runs[1]]), tmp_path / "c"))
    assert [tag for tag, _ in shown.tags].count("script") == 1


def test_what_cannot_be_compared_is_told_at_once(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (runs[1] / "config.yaml").write_text("a: [")
    with pytest.raises(ValueError) as told:
        comparing.compare([runs[0], runs[0], tmp_path / "none", tmp_path / "empty", runs[1]])
    for words in (
        "run0: is given twice",
        "none: no such folder",
        "has no config.yaml",
        "valid YAML",
    ):
        assert words in str(told.value)
    with pytest.raises(ValueError, match="must be two to 16 runs.*Received: 1"):
        comparing.compare(runs[:1])
