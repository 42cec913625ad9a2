"""Comparison of runs: table and page."""

import json
import math

import pytest
import yaml
from helpers.pages import Page, print_to_text, write_lines
from helpers.sweeps import CONTENT

from jconv.report.compare import compare, table, write_comparison
from jconv.train import run_folder


@pytest.fixture
def runs(tmp_path, rng):
    """Three runs of two configs; the last one has replicates and was interrupted."""
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


def test_compare_metrics_and_differences(runs):
    comparison = compare(runs)
    assert comparison.differences["learning_rate"] == ["0.001", "0.01", "0.01"]
    assert (
        comparison.differences["replicates"] == ["–", "–", "4"] and len(comparison.differences) == 2
    )
    assert comparison.metrics["status"] == ["finished", "finished", "interrupted"]
    text = print_to_text(table(comparison))
    assert "97\u202f% ± 0.2\u202f%" in text and "learning_rate" in text
    assert max(map(len, text.splitlines())) <= 80


def test_requested_steps_and_steps_taken_are_different_rows(runs):
    config = yaml.safe_load((runs[0] / "config.yaml").read_text())
    (runs[0] / "config.yaml").write_text(yaml.safe_dump(config | {"steps": 4000}))
    comparison = compare(runs[:2])
    rows = dict(comparison.rows())
    assert rows["steps taken"] == ["200", "200"] and rows["steps"] == ["4000", "6"]


def test_values_are_not_interpreted_as_markup(runs):
    for run, folder in zip(runs[:2], ("pets [raw]", "pets [/x]"), strict=True):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["data"]["folder"] = folder
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = print_to_text(table(compare(runs[:2])))
    assert "pets [raw]" in text and "pets [/x]" in text


def test_curve_has_name_and_colour_of_its_run(runs, tmp_path):
    for run in (runs[0], runs[2]):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        kept = [{key: line[key] for key in ("step", "loss")} for line in lines]
        write_lines(run / "metrics.jsonl", kept)
    page = Page(write_comparison(compare(runs), tmp_path / "c.html"))
    curves = [attrs["class"] for tag, attrs in page.tags if "curve" in attrs.get("class", "")]
    assert curves == ["curve c1", "curve c2", "curve c3", "curve c2", "curve c2"]
    assert page.sentences().count("run1") >= 4  # in each legend too


def test_many_runs_have_a_row_each(runs, tmp_path):
    for k in range(3):
        (tmp_path / "more" / f"run{k}").mkdir(parents=True)
        for name in ("config.yaml", "summary.json", "metrics.jsonl"):
            (tmp_path / "more" / f"run{k}" / name).write_bytes((runs[k] / name).read_bytes())
    comparison = compare([*runs, *(tmp_path / "more").iterdir()])
    assert comparison.names[0].endswith("/run0") and len(set(comparison.names)) == 6
    lines = print_to_text(table(comparison)).splitlines()
    assert lines[1].split()[:3] == ["run", "learning_rate", "replicates"]
    assert max(map(len, lines)) <= 80 and "97\u202f%" in "".join(lines)


def test_comparison_page_has_common_charts(runs, tmp_path):
    page = Page(write_comparison(compare(runs), tmp_path / "out" / "c.html"))

    assert "http:" not in page.raw and "https:" not in page.raw
    charts = [attrs for tag, attrs in page.tags if tag == "figure"]
    assert len(charts) == 3 and all(len(json.loads(c["data-curves"])) == 3 for c in charts)
    bands = [attrs for tag, attrs in page.tags if attrs.get("class") == "band c3"]
    assert len(bands) == 2
    for text in (
        "run0",
        "Training loss",
        "0.722 ± 0.040",
        "97\u202f% ± 0.2\u202f%",
        "at step 200",
    ):
        assert text in page.sentences()


def test_run_names_are_escaped(runs, tmp_path):
    hostile = runs[0].rename(tmp_path / "<script>alert(1)<")
    page = Page(write_comparison(compare([hostile, runs[1]]), tmp_path / "c"))
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_all_problems_of_compared_runs_are_listed(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (runs[1] / "config.yaml").write_text("a: [")
    with pytest.raises(ValueError) as error:
        compare([runs[0], runs[0], tmp_path / "none", tmp_path / "empty", runs[1]])
    for text in (
        "run0: is given twice",
        "none: no such folder",
        "has no config.yaml",
        "valid YAML",
    ):
        assert text in str(error.value)
    with pytest.raises(ValueError, match="must be two to 16 runs.*Received: 1"):
        compare(runs[:1])
