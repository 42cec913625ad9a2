"""Plot of a sweep: the metric over each axis."""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jconv._core.atomic_io import atomically
from jconv.report.formatting import percent
from jconv.report.metrics import metric_label
from jconv.report.run_reader import is_number
from jconv.report.sweep import final_value, ranking_metric
from jconv.train.sweep.config_values import format_value, short_names
from jconv.train.sweep.folder import Result, SweepPlan, read_plan

MAX_LINES = 6  # in one plot, with a colour each
MAX_TICKS = 8  # values that have a tick each

_COLOURS = ("#1d62ad", "#c2501a", "#2b7f4b", "#8a3f9e", "#a3770c", "#1a8f98")
_FAILED_COLOUR = "#b00020"


def write_plot(folder: Path, results: Sequence[Result]) -> None:
    """Write plot.png into the folder of a sweep."""
    image = io.BytesIO()
    plot(read_plan(folder), results).savefig(image, dpi=130, format="png")
    with atomically(folder / "plot.png", "wb") as file:
        file.write(image.getvalue())


def plot(plan: SweepPlan, results: Sequence[Result]) -> Figure:
    """Plot the metric over each axis, with error bars if there are replicates.

    In a grid, a line connects the points that differ only in that axis.
    """
    metric = ranking_metric(results)
    names = short_names(list(plan.axes))
    columns = min(len(names), 3)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(1.2 + 4.4 * columns, 0.6 + 3.6 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, path in zip(panels, names, strict=False):
        _plot_axis(axes, path, plan, results)
        axes.set_xlabel(names[path])
        axes.grid(alpha=0.25)
    for unused in panels[len(names) :]:
        unused.set_visible(False)
    for axes in panels[::columns]:
        axes.set_ylabel(metric_label(metric))
    if metric.endswith("accuracy"):
        panels[0].yaxis.set_major_formatter(lambda value, _: percent(value, 2))
    elif _spans([final_value(result, metric) for result in results], 100):
        panels[0].set_yscale("log")
    return figure


def _plot_axis(axes: Axes, path: str, plan: SweepPlan, results: Sequence[Result]) -> None:
    """Plot the metric of all points over one axis of the sweep."""
    values = [result.point.values[path] for result in results]
    numeric = all(map(is_number, values))
    if numeric:
        x = _numeric_positions(axes, values, plan.axes[path])
    else:
        x = _category_positions(axes, values, plan.axes[path])
    lines = _group_into_lines(path, plan, results)
    connected = bool(lines)
    for colour, (name, indices) in zip(
        _COLOURS, (lines or {"": range(len(x))}).items(), strict=False
    ):
        _plot_line(
            axes,
            [(x[i], results[i]) for i in indices],
            ranking_metric(results),
            fmt="o-" if connected and numeric else "o",
            alpha=1 if connected else 0.7,
            color=colour,
            label=name or None,
        )
    failed = [x[i] for i, result in enumerate(results) if result.status == "failed"]
    if failed:
        axes.plot(
            failed,
            [0.02] * len(failed),  # of the height of the panel
            "x",
            color=_FAILED_COLOUR,
            transform=axes.get_xaxis_transform(),
            label="failed",
            clip_on=False,
        )
    if any(lines) or failed:
        axes.legend(fontsize=7, frameon=False)


def _group_into_lines(
    path: str, plan: SweepPlan, results: Sequence[Result]
) -> dict[str, list[int]]:
    """Group the points of a grid that differ only in one axis.

    Returns:
      For the name of each line the indices of its results; empty if there would be too many lines,
      or the points are no grid.
    """
    names = short_names(list(plan.axes))
    others = [other for other in names if other != path]
    lines: dict[str, list[int]] = {}
    for index, result in enumerate(results):
        values = result.point.values
        name = ", ".join(f"{names[other]} {format_value(values[other])}" for other in others)
        lines.setdefault(name, []).append(index)
    return lines if plan.search == "grid" and len(lines) <= MAX_LINES else {}


def _plot_line(
    axes: Axes, points: Sequence[tuple[float, Result]], metric: str, **style: Any
) -> None:
    """Plot the finished points of one line in order of x, with their standard errors."""
    finished = sorted(
        (x, final_value(result, metric), _standard_error(result, metric))
        for x, result in points
        if math.isfinite(final_value(result, metric))
    )
    if finished:
        x, y, error = zip(*finished, strict=True)
        bars = error if any(error) else None
        axes.errorbar(x, y, bars, markersize=4, linewidth=1.2, capsize=2, **style)


def _standard_error(result: Result, metric: str) -> float:
    error = result.summary.get(f"{metric}_error")
    return float(error) if is_number(error) else 0.0


def _numeric_positions(axes: Axes, values: Sequence[float], axis: list | str) -> list[float]:
    """Set up the x axis for numbers, on the scale that they were chosen on."""
    is_range = isinstance(axis, str)
    distinct = sorted(set(values))
    ends = [float(end) for end in axis.split("..")] if isinstance(axis, str) else distinct
    if _spans(ends, 10):
        axes.set_xscale("log")
    if len(distinct) <= MAX_TICKS and not is_range:
        axes.set_xticks(distinct, labels=[format_value(value) for value in distinct])
        axes.minorticks_off()
    return [float(value) for value in values]


def _category_positions(axes: Axes, values: Sequence[Any], axis: list | str) -> list[float]:
    """Set up the x axis for values that are not numbers, side by side."""
    texts = [format_value(value) for value in axis]
    axes.set_xticks(range(len(texts)), texts)
    if max(map(len, texts)) > 10:
        for label in axes.get_xticklabels():
            label.set(rotation=20, ha="right", fontsize=8)
    axes.set_xlim(-0.5, len(texts) - 0.5)
    return [float(texts.index(format_value(value))) for value in values]


def _spans(values: Sequence[float], factor: float) -> bool:
    """Return whether values are positive and span at least the given factor."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) >= factor * min(finite)
