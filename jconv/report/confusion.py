"""The confusion matrix of the test images, as a table with a row for each label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jconv.report.formatting import number, percent
from jconv.report.run_reader import Run, is_number

MAX_CLASSES = 100
MAX_NUMBERED_CLASSES = 20  # with more classes, cells are too small for numbers
LISTED_ERRORS = 3  # pairs of classes that are listed below the table


@dataclass(frozen=True)
class Cell:
    """Images of one label that were classified as one class.

    Attributes:
      text: their number; empty for none.
      title: a sentence about them.
      correct: whether the class is the label.
      shade: from 0 to 1.
    """

    text: str
    title: str
    correct: bool
    shade: float


@dataclass(frozen=True)
class ConfusionMatrix:
    """The table.

    Attributes:
      names: names of the classes.
      rows: the cells of each label.
      recalls: the fraction of each label that was classified correctly, as text.
      numbered: whether the cells are large enough for their numbers.
      most_frequent_errors: the most frequent errors, as text.
      scale: the fraction with the strongest colour among the errors, as text; empty without errors.
      replicates: how often each image was classified: once by each replicate.
    """

    names: list[str]
    rows: list[list[Cell]]
    recalls: list[str]
    numbered: bool
    most_frequent_errors: list[str]
    scale: str
    replicates: int


def read_confusion_matrix(run: Run) -> ConfusionMatrix | None:
    """Read `test_confusion` of a summary; None if it is missing, invalid or too large."""
    counts = _parse_counts(run.summary.get("test_confusion"))
    if counts is None:
        return None
    classes = range(len(counts))
    names = _class_names(run.summary.get("classes"), len(counts))
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    errors = fractions * (1 - np.eye(len(counts)))
    images = run.summary.get("test_images")
    replicates = round(counts.sum() / images) if is_number(images) and images >= 1 else 1
    return ConfusionMatrix(
        names=names,
        rows=[
            [
                _make_cell(counts, fractions, errors.max(), names, label, predicted)
                for predicted in classes
            ]
            for label in classes
        ],
        recalls=[percent(float(fractions[k, k])) if counts[k].any() else "" for k in classes],
        numbered=len(counts) <= MAX_NUMBERED_CLASSES,
        most_frequent_errors=_most_frequent_errors(counts, names),
        scale=percent(float(errors.max())) if errors.any() else "",
        replicates=max(replicates, 1),
    )


def _parse_counts(table: Any) -> Float[np.ndarray, "classes classes"] | None:
    """Return a square table of counts as an array; None if it is anything else."""
    if not isinstance(table, list) or not 2 <= len(table) <= MAX_CLASSES:
        return None
    if not all(isinstance(row, list) and len(row) == len(table) for row in table):
        return None
    if not all(is_number(count) and 0 <= count < 2**53 for row in table for count in row):
        return None
    return np.array(table, np.float64)


def _class_names(names: Any, count: int) -> list[str]:
    if isinstance(names, list) and len(names) == count:
        return [str(name) for name in names]
    return [str(k) for k in range(count)]


def _make_cell(
    counts: Float[np.ndarray, "classes classes"],
    fractions: Float[np.ndarray, "classes classes"],
    largest_error: float,
    names: Sequence[str],
    label: int,
    predicted: int,
) -> Cell:
    count, fraction = int(counts[label, predicted]), float(fractions[label, predicted])
    correct = label == predicted
    if not count:
        return Cell("", "", correct, 0.0)
    title = f"{names[label]} classified as {names[predicted]}: {number(count)}, {percent(fraction)}"
    # On the colour scale of the correct cells, errors would be invisible.
    shade = fraction if correct else fraction / largest_error
    return Cell(number(count), title, correct, round(shade, 3))


def _most_frequent_errors(
    counts: Float[np.ndarray, "classes classes"], names: Sequence[str]
) -> list[str]:
    errors = counts * (1 - np.eye(len(counts)))
    order = np.argsort(-errors, axis=None, kind="stable")[:LISTED_ERRORS]
    pairs = (np.unravel_index(index, errors.shape) for index in order.tolist())
    return [
        f"{names[label]} as {names[predicted]} ({number(int(errors[label, predicted]))})"
        for label, predicted in pairs
        if errors[label, predicted]
    ]
