"""The final figures of a run in words, those of replicates with their standard error."""

from collections.abc import Mapping
from typing import Any

from jconv.report.formatting import (
    duration,
    number,
    number_with_error,
    percent,
    percent_with_error,
)
from jconv.report.run_reader import is_number

_FIRST = (  # in this order
    "test_accuracy",
    "test_loss",
    "validation_accuracy",
    "validation_loss",
    "parameters",
    "steps",
    "seconds",
    "images_per_second",
    "train_images",
    "test_images",
)
_ELSEWHERE = ("status", "error", "test_confusion", "classes")  # not figures, or shown on their own


def final_figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each figure of a summary: what it is, and how much."""
    order = [key for key in _FIRST if key in summary]
    order += [key for key in summary if key not in order and key not in _ELSEWHERE]
    return [
        (label(key), figure(summary, key))
        for key in order
        if summary[key] is not None and not _is_error(key, summary)
    ]


def figure(summary: Mapping[str, Any], key: str) -> str:
    """One figure of a summary, with its standard error where there is one."""
    value, error = summary[key], summary.get(f"{key}_error")
    if not (is_number(value) and is_number(error)):
        return text(key, value)
    both = percent_with_error if key.endswith("accuracy") else number_with_error
    return both(value, error)


def _is_error(key: str, summary: Mapping[str, Any]) -> bool:
    """Whether it is the standard error of another figure. `kernel_error` is not."""
    return key.endswith("_error") and key.removesuffix("_error") in summary


def label(key: str) -> str:
    """What a key of a JSON file is called."""
    special = {"seconds": "time", "images_per_second": "images a second"}
    return special.get(key, key.replace("_", " "))


def text(key: str, value: Any) -> str:
    """Writes a value of a JSON file for a reader; its key says what it is."""
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{label(k)} {text(k, v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(text(key, item) for item in value)
    if not is_number(value):
        return str(value)
    if key.endswith("accuracy"):
        return percent(value)
    return duration(value) if key.endswith("seconds") else number(value)
