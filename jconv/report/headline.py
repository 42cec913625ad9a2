"""How a run ended, in sentences: what it reached, and what went wrong."""

import math

from jconv.report.formatting import (
    duration,
    number,
    number_with_error,
    percent,
    percent_with_error,
)
from jconv.report.run_reader import Run, is_number


def verdict(run: Run) -> str:
    """One line that says how the run ended."""
    steps, seconds = run.summary.get("steps", run.last_step), run.summary.get("seconds")
    after = f"after {number(steps)} steps" if is_number(steps) else ""
    spent = f"in {duration(seconds)}" if is_number(seconds) else ""
    return ", ".join(part for part in (_reached(run), f"{after} {spent}".strip()) if part) + "."


def _reached(run: Run) -> str:
    tested = _share(run, "test_accuracy")
    if tested:
        images = _latest(run, "test_images")
        whose = "the test images" if images is None else f"{number(images)} test images"
        return f"{tested} of {whose} named correctly"
    error = _latest(run, "kernel_error")
    if error is not None:
        spread = _latest(run, "kernel_error_error")
        within = number(error, 2) if spread is None else number_with_error(error, spread)
        return f"The learned kernel differs from the hidden one by at most {within}"
    validated = _share(run, "validation_accuracy")
    if validated:
        return f"{validated} of the validation images named correctly"
    for name in ("test loss", "validation loss", "loss"):
        key = name.replace(" ", "_")
        loss, spread = _latest(run, key), _latest(run, f"{key}_error")
        if loss is not None:
            found = number(loss, 3) if spread is None else number_with_error(loss, spread)
            return f"{name.capitalize()} {found}"
    return "Nothing was measured"


def _share(run: Run, key: str) -> str:
    """A share of one in words, with its standard error where there is one; empty without it."""
    share, error = _latest(run, key), _latest(run, f"{key}_error")
    if share is None:
        return ""
    return percent(share) if error is None else percent_with_error(share, error)


def _latest(run: Run, key: str) -> float | None:
    """A figure of the summary; failing that, the last one that was logged."""
    if is_number(run.summary.get(key)):
        return run.summary[key]
    logged = run.series(key)
    return logged[-1][1] if logged else None


def standing(run: Run) -> str:
    """What to know of a run that did not finish; empty for one that did."""
    status = run.summary.get("status")
    if status == "finished":
        return ""
    if status == "interrupted":
        return "This run was interrupted. The page shows it as far as it went."
    if status == "failed":
        return f"This run failed. {run.summary.get('error') or ''}".strip()
    if status is None:
        return "This run has no summary: it is still going on, or it was killed."
    return f"Status of this run: {status}."


def divergence(run: Run) -> list[str]:
    """Where the loss stopped being finite, as a remark; empty if it never did."""
    first = next((step for step, loss in run.series("loss") if not math.isfinite(loss)), None)
    return [] if first is None else [f"The loss stopped being finite at step {number(first)}."]
