"""Names and values of metrics, those of replicates with their standard error."""

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
# Keys of summary.json that are not metrics, or have a section of the page.
_NOT_LISTED = ("status", "error", "test_confusion", "classes")


def final_metrics(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and value of each metric of a summary, as text."""
    order = [key for key in _FIRST if key in summary]
    order += [key for key in summary if key not in order and key not in _NOT_LISTED]
    return [
        (metric_label(key), format_metric(summary, key))
        for key in order
        if summary[key] is not None and not _is_standard_error(key, summary)
    ]


def format_metric(summary: Mapping[str, Any], key: str) -> str:
    """Format one metric of a summary, with its standard error if there is one."""
    value, error = summary[key], summary.get(f"{key}_error")
    if not (is_number(value) and is_number(error)):
        return format_json_value(key, value)
    with_error = percent_with_error if key.endswith("accuracy") else number_with_error
    return with_error(value, error)


def _is_standard_error(key: str, summary: Mapping[str, Any]) -> bool:
    """Return whether a key is the standard error of another metric; `kernel_error` is not."""
    return key.endswith("_error") and key.removesuffix("_error") in summary


def metric_label(key: str) -> str:
    """Return the name of a metric for readers."""
    special = {
        "seconds": "time",
        "images_per_second": "images per second",
        "first_call_seconds": "first steps with compilation",
    }
    return special.get(key, key.replace("_", " "))


def format_json_value(key: str, value: Any) -> str:
    """Format a value of a JSON file for readers; the key decides about its unit."""
    if value is None or value == "":
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{metric_label(k)} {format_json_value(k, v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(format_json_value(key, item) for item in value)
    if not is_number(value):
        return str(value)
    if key.endswith("accuracy"):
        return percent(value)
    return duration(value) if key.endswith("seconds") else number(value)
