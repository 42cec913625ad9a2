"""The report of a run: one HTML file with its metrics and the changes of its kernels.

The file is self-contained: styles, script and images are inside it. Missing or corrupt files of the
run are listed as remarks on the page, so that a run that was killed has a report as well.
"""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from jconv.analysis.kernel_images import colour_scale
from jconv.report.chart_axes import step_axis
from jconv.report.confusion import read_confusion_matrix
from jconv.report.formatting import number
from jconv.report.headline import divergence, headline, status_line
from jconv.report.kernel_timeline import layer_timelines, select_steps, step_labels
from jconv.report.metrics import final_metrics, format_json_value, metric_label
from jconv.report.recovery import compare_with_hidden_kernel
from jconv.report.run_charts import secondary_charts, training_charts
from jconv.report.run_reader import Run, is_number, read_run
from jconv.report.templating import render, write

_COLUMNS = ("output_shape", "parameters", "multiply_adds", "receptive_field", "connected_to")


def write_page(run: Path) -> Path:
    """Write `report.html` into a run folder atomically, and return its path.

    Raises:
      ValueError: if `run` is not a folder, or is the folder of a sweep.
    """
    run = Path(run)
    if not run.is_dir():
        raise ValueError(f"`run` must be the folder of a run. Received: run={str(run)!r}.")
    if (run / "sweep.yaml").exists():
        raise ValueError(
            f"`run` must be the folder of a run. Received: run={str(run)!r}, a sweep, whose runs "
            f"have a report each. `jconv compare {shlex.quote(str(run))}` compares them."
        )
    return write(run / "report.html", render_page(read_run(run)))


def render_page(run: Run) -> str:
    """Return the report of a run as HTML."""
    with np.errstate(all="ignore"):  # kernels of a diverged run are drawn like any other
        return render("page.html.jinja", _context(run))


def _context(run: Run) -> dict[str, Any]:
    """Return the variables of the template."""
    steps = select_steps(run)
    return {
        "run": run,
        "headline": headline(run),
        "remarks": [*divergence(run), *run.remarks],
        "status_line": status_line(run),
        "metrics": final_metrics(run.summary),
        "provenance": _provenance(run.environment),
        "charts": training_charts(run),
        "secondary_charts": secondary_charts(run),
        "confusion": read_confusion_matrix(run),
        "recovery": compare_with_hidden_kernel(run),
        "snapshot_steps": steps,
        "step_labels": step_labels(run, steps),
        "kernels": layer_timelines(run, steps),
        "positions": [step_axis(run.last_step).position(step) for step in steps],
        "colour_scale": colour_scale(),
        "network": [_network_row(layer) for layer in run.layers],
        "totals": [_total(run.layers, key) for key in ("parameters", "multiply_adds")],
        "environment": [
            (metric_label(k), format_json_value(k, v)) for k, v in run.environment.items()
        ],
        "number": number,
    }


def _provenance(environment: Mapping[str, Any]) -> list[str]:
    """Return start time, versions and commit, as far as they are known."""
    get = environment.get
    commit = get("git_commit")
    parts = [
        _format_time(str(get("started") or "")),
        *(f"{key} {get(key)}" for key in ("jconv", "jax") if get(key)),
        f"commit {str(commit)[:10]}" if commit else "",
    ]
    return [part for part in parts if part]


def _format_time(iso: str) -> str:
    try:
        time = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    zone = time.strftime(" UTC%z").replace("+0000", "") if time.tzinfo else ""
    return f"{time:%Y-%m-%d %H:%M}{zone}"


def _network_row(layer: Mapping[str, Any]) -> list[str]:
    return [str(layer.get("name", "")), *(_cell(layer.get(key)) for key in _COLUMNS)]


def _total(layers: Sequence[Mapping[str, Any]], key: str) -> str:
    counts = [layer[key] for layer in layers if is_number(layer.get(key))]
    return number(sum(counts)) if counts else ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        is_shape = all(is_number(item) for item in value)
        return (" × " if is_shape else ", ").join(map(_cell, value))
    return number(value) if is_number(value) else str(value)
