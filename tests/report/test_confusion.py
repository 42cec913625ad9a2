"""The confusion matrix of the report."""

import json

import numpy as np
import pytest
from helpers.pages import Page
from helpers.runs import HOSTILE, SUMMARY

from jconv.report.page import write_page


def test_confusion_matrix_counts_and_most_frequent_errors(replicated):
    page = Page(write_page(replicated))

    cells = [attrs for tag, attrs in page.tags if tag == "td" and "title" in attrs]
    worst = next(attrs for attrs in cells if attrs["title"].startswith("8 classified as 1: 23, "))
    assert worst["class"] == "wrong dark" and worst["style"] == "--shade: 1.0"
    correct = [attrs for attrs in cells if attrs["class"].startswith("correct")]
    assert len(correct) == 10 and all("dark" in attrs["class"] for attrs in correct)
    text = page.sentences()
    assert "Most frequent errors: 8 as 1 (23)" in text
    assert "summed over 8 replicates" in text


@pytest.mark.parametrize(
    "table",
    [
        [[3, 1], [0]],
        [[1, 2], [3, "x"]],
        [[1, -1], [0, 1]],
        [[1, None], [0, 1]],
        "table",
        [[5]],
        [[1] * 101] * 101,
    ],
)
def test_invalid_confusion_matrix_is_ignored(table, finished):
    (finished / "summary.json").write_text(json.dumps(SUMMARY | {"test_confusion": table}))
    page = Page(write_page(finished))
    assert "Confusion matrix" not in page.text and "confusion" not in page.text


def test_large_confusion_matrix_has_shades_without_numbers(finished, rng):
    table = (np.eye(100, dtype=int) * 90 + rng.poisson(0.1, size=(100, 100))).tolist()
    names = [HOSTILE[:-1], *map(str, range(99))]
    summary = SUMMARY | {"test_confusion": table, "classes": names}
    (finished / "summary.json").write_text(json.dumps(summary))
    path = write_page(finished)
    page = Page(path)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "{{ 7 * 7 }}" in page.text and path.stat().st_size < 1_500_000
    assert 'class="confusion"' in page.raw


def test_confusion_matrix_without_errors(finished):
    summary = SUMMARY | {"test_confusion": [[3, 0, 0], [0, 2, 0], [0, 0, 0]]}
    (finished / "summary.json").write_text(json.dumps(summary))
    assert "There are no errors." in Page(write_page(finished)).text
