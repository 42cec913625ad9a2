"""Results of a sweep: table, files and plot."""

import csv
import json
import re
from dataclasses import replace

import pytest
from helpers.pages import print_to_text
from helpers.sweeps import AXES, DROPOUT, RATE
from PIL import Image

from jconv.report.sweep import table, write_results
from jconv.report.sweep_plot import plot, write_plot
from jconv.train.sweep.axes import Choices, Range
from jconv.train.sweep.folder import read_plan
from jconv.train.sweep.search import sweep


def test_table_fits_80_columns_best_first(config, fake_training, tmp_path):
    fake_training.fail = (1,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    lines = print_to_text(table(results)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split() == ["validation", "validation"]
    assert lines[2].split() == ["run", "learning_rate", "dropout", "accuracy", "loss", "time"]
    rows = [re.split(" +", line.strip()) for line in lines[4:] if line.strip()]
    assert [row[0] for row in rows] == ["003", "004", "002", "001"]
    assert rows[0][3:6] == ["100\u202f%", "±", "0.2\u202f%"] and rows[3][3] == "failed"


def test_results_are_written_as_csv_json_and_plot(config, fake_training, tmp_path):
    fake_training.fail = (1,)
    results = sweep(config, AXES, folder=tmp_path / "s")
    write_results(tmp_path / "s", results)
    write_plot(tmp_path / "s", results)

    with open(tmp_path / "s" / "results.csv") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0][RATE], rows[0]["status"]) == ("0.01", "finished")
    assert float(rows[1]["validation_accuracy"]) == pytest.approx(2 / 3)
    stored = json.loads((tmp_path / "s" / "results.json").read_text())
    assert stored["metric"] == "validation_accuracy" and stored["points"][0]["values"][RATE] == 0.01
    assert "step 3" in stored["points"][3]["error"]
    with Image.open(tmp_path / "s" / "plot.png") as picture:
        assert picture.width > 600


def test_axis_and_metric_of_the_same_name_have_two_columns(config, fake_training, tmp_path):
    results = sweep(config, [Choices("steps", (6, 12))], folder=tmp_path / "s")
    results = [replace(r, summary=r.summary | {"steps": 5}) for r in results]  # early stopping
    write_results(tmp_path / "s", results)
    with open(tmp_path / "s" / "results.csv") as file:
        rows = sorted((row["steps"], row["final_steps"]) for row in csv.DictReader(file))
    assert rows == [("12", "5"), ("6", "5")]


@pytest.mark.parametrize("random", [None, 2])
def test_plot_has_a_logarithmic_axis_for_values_over_a_decade(
    random, config, fake_training, tmp_path
):
    axes = [Choices(RATE, (0.001, 0.01, 0.1)), Choices("schedule.kind", ("cosine", "one_cycle"))]
    results = sweep(config, axes, folder=tmp_path / "s", random=random)
    rate, schedule = plot(read_plan(tmp_path / "s"), results).axes
    assert (rate.get_xscale(), schedule.get_xscale()) == ("log", "linear")
    assert rate.get_xlabel() == "learning_rate" and rate.get_ylabel() == "validation accuracy"
    assert [t.get_text() for t in schedule.get_xticklabels()] == ["cosine", "one_cycle"]
    assert len(rate.containers) == (1 if random else 2)


def test_plot_of_a_range_has_the_scale_of_its_sampling(config, fake_training, tmp_path):
    axes = [Range(RATE, 1e-4, 1e-1), Range(DROPOUT, 0.0, 0.6)]
    results = sweep(config, axes, folder=tmp_path / "s", random=8)
    rate, dropout = plot(read_plan(tmp_path / "s"), results).axes
    assert (rate.get_xscale(), dropout.get_xscale()) == ("log", "linear")
