"""Sentences about the result of a run, and about its problems."""

import math

from jconv.report.formatting import (
    duration,
    number,
    number_with_error,
    percent,
    percent_with_error,
)
from jconv.report.run_reader import Run, is_number


def headline(run: Run) -> str:
    """Return one sentence about the result of a run."""
    steps, seconds = run.summary.get("steps", run.last_step), run.summary.get("seconds")
    after = f"after {number(steps)} steps" if is_number(steps) else ""
    time = f"in {duration(seconds)}" if is_number(seconds) else ""
    return ", ".join(part for part in (_result(run), f"{after} {time}".strip()) if part) + "."


def _result(run: Run) -> str:
    test_accuracy = _fraction(run, "test_accuracy")
    if test_accuracy:
        count = _latest(run, "test_images")
        images = "the test images" if count is None else f"{number(count)} test images"
        return f"{test_accuracy} of {images} classified correctly"
    difference = _latest(run, "kernel_error")
    if difference is not None:
        error = _latest(run, "kernel_error_error")
        text = number(difference, 2) if error is None else number_with_error(difference, error)
        return f"The learned kernel differs from the hidden one by at most {text}"
    validation_accuracy = _fraction(run, "validation_accuracy")
    if validation_accuracy:
        return f"{validation_accuracy} of the validation images classified correctly"
    for name in ("test loss", "validation loss", "loss"):
        key = name.replace(" ", "_")
        loss, error = _latest(run, key), _latest(run, f"{key}_error")
        if loss is not None:
            text = number(loss, 3) if error is None else number_with_error(loss, error)
            return f"{name.capitalize()} {text}"
    return "No metric was logged"


def _fraction(run: Run, key: str) -> str:
    """Format a metric in percent, with its standard error if there is one; empty without it."""
    value, error = _latest(run, key), _latest(run, f"{key}_error")
    if value is None:
        return ""
    return percent(value) if error is None else percent_with_error(value, error)


def _latest(run: Run, key: str) -> float | None:
    """Return a metric of the summary or, if it has none, the last one that was logged."""
    if is_number(run.summary.get(key)):
        return run.summary[key]
    logged = run.series(key)
    return logged[-1][1] if logged else None


def status_line(run: Run) -> str:
    """Return a sentence about a run that did not finish; empty for a finished one."""
    status = run.summary.get("status")
    if status == "finished":
        return ""
    if status == "interrupted":
        return "This run was interrupted. The page shows the steps that were completed."
    if status == "failed":
        return f"This run failed. {run.summary.get('error') or ''}".strip()
    if status is None:
        return "This run has no summary: it is still running, or it was killed."
    return f"Status of this run: {status}."


def divergence(run: Run) -> list[str]:
    """Return a remark on the first step whose loss was not finite; empty if there is none."""
    first = next((step for step, loss in run.series("loss") if not math.isfinite(loss)), None)
    return [] if first is None else [f"The loss became non-finite at step {number(first)}."]
