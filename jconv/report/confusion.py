"""What the test images were taken for: a table, a row for each label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jconv.report.formatting import number, percent
from jconv.report.run_reader import Run, is_number

MOST_CLASSES = 100
NUMBERED = 20  # classes up to which each cell shows its number
WORST = 3  # pairs that are told of in words


@dataclass(frozen=True)
class Cell:
    """Images of one label that were taken for one class.

    Attributes:
      text: how many; empty for none.
      title: the same in words.
      right: whether the class is the label.
      shade: from 0 to 1.
    """

    text: str
    title: str
    right: bool
    shade: float


@dataclass(frozen=True)
class Confusion:
    """The table.

    Attributes:
      names: of the classes.
      rows: the cells of each label.
      recalls: the share of each label that was named correctly, as text.
      numbered: whether the cells have room for their numbers.
      worst: the commonest mistakes, as sentences without their full stops.
      scale: the share of a label in full colour among the wrong ones, as text; empty without any.
      times: how often each image was seen: once by each replicate.
    """

    names: list[str]
    rows: list[list[Cell]]
    recalls: list[str]
    numbered: bool
    worst: list[str]
    scale: str
    times: int


def confusion_of(run: Run) -> Confusion | None:
    """Reads `test_confusion` of a summary; none where it is no table of few enough classes."""
    counts = _read(run.summary.get("test_confusion"))
    if counts is None:
        return None
    names = _names(run.summary.get("classes"), len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = shares * (1 - np.eye(len(counts)))
    images = run.summary.get("test_images")
    times = round(counts.sum() / images) if is_number(images) and images >= 1 else 1
    return Confusion(
        names=names,
        rows=[
            [
                _cell(counts, shares, wrong.max(), names, label, taken)
                for taken in range(len(counts))
            ]
            for label in range(len(counts))
        ],
        recalls=[percent(share) if counts[k].any() else "" for k, share in _diagonal(shares)],
        numbered=len(counts) <= NUMBERED,
        worst=_worst(counts, names),
        scale=percent(float(wrong.max())) if wrong.any() else "",
        times=max(times, 1),
    )


def _read(table: Any) -> Float[np.ndarray, "classes classes"] | None:
    if not isinstance(table, list) or not 2 <= len(table) <= MOST_CLASSES:
        return None
    if not all(isinstance(row, list) and len(row) == len(table) for row in table):
        return None
    if not all(is_number(count) and 0 <= count < 2**53 for row in table for count in row):
        return None
    return np.array(table, np.float64)


def _names(given: Any, count: int) -> list[str]:
    if isinstance(given, list) and len(given) == count:
        return [str(name) for name in given]
    return [str(k) for k in range(count)]


def _diagonal(shares: Float[np.ndarray, "classes classes"]) -> list[tuple[int, float]]:
    return list(enumerate(np.diagonal(shares).tolist()))


def _cell(counts, shares, most_wrong: float, names: Sequence[str], label: int, taken: int) -> Cell:
    count, share = int(counts[label, taken]), float(shares[label, taken])
    right = label == taken
    if not count:
        return Cell("", "", right, 0.0)
    title = f"{names[label]} taken for {names[taken]}: {number(count)}, {percent(share)}"
    # Mistakes have a scale of their own: beside what is right they could not be seen.
    shade = share if right else share / most_wrong
    return Cell(number(count), title, right, round(shade, 3))


def _worst(counts: Float[np.ndarray, "classes classes"], names: Sequence[str]) -> list[str]:
    wrong = counts * (1 - np.eye(len(counts)))
    order = np.argsort(-wrong, axis=None, kind="stable")[:WORST]
    pairs = (np.unravel_index(place, wrong.shape) for place in order.tolist())
    return [
        f"{names[label]} for {names[taken]} ({number(int(wrong[label, taken]))})"
        for label, taken in pairs
        if wrong[label, taken]
    ]
