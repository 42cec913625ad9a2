"""What a sweep found: a table to read, files to work on, and a picture of the metric."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from jconv._core.atomic_io import atomically, write_text
from jconv.report.formatting import percent
from jconv.report.metrics import figure, label
from jconv.report.run_reader import is_number
from jconv.train.run_folder import write_json
from jconv.train.sweep.axes import short_names, text_of
from jconv.train.sweep.folder import Result, Sweep, read_sweep

LINES = 6  # that can be told apart in one plot
NAMED = 8  # values that a tick each has room for

_COLOURS = ("#1d62ad", "#c2501a", "#2b7f4b", "#8a3f9e", "#a3770c", "#1a8f98")


def metric_of(results: Sequence[Result]) -> str:
    """What runs are judged by: validation accuracy, or validation loss where there is none."""
    accuracy = any("validation_accuracy" in result.summary for result in results)
    return "validation_accuracy" if accuracy else "validation_loss"


def ranked(results: Sequence[Result]) -> list[Result]:
    """The best first; last those without a figure, in order of their numbers."""
    metric = metric_of(results)
    sign = -1 if metric.endswith("accuracy") else 1

    def rank(result: Result) -> tuple[bool, float]:
        value = _value(result, metric)
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value

    return sorted(results, key=rank)


def _value(result: Result, key: str) -> float:
    """A figure of a run that is finished; not a number where it has none."""
    value = result.summary.get(key)
    return float(value) if result.status == "finished" and is_number(value) else math.nan


def line(result: Result) -> str:
    """How a point did, in one line."""
    metric = metric_of([result])
    if result.status == "finished" and is_number(result.summary.get(metric)):
        spent = figure(result.summary, "seconds")
        return f"{label(metric)} {figure(result.summary, metric)}, in {spent}"
    return f"{result.status}: {result.summary.get('error') or 'goes on when asked for again'}"


def table(results: Sequence[Result]) -> Table:
    """A row for each point, the best first."""
    metric = metric_of(results)
    short = short_names(list(results[0].point.values)) if results else {}
    shown = [metric, "seconds"]
    if metric != "validation_loss" and len(short) <= 2:  # there is room for it
        shown.insert(1, "validation_loss")
    shown = [key for key in shown if any(key in result.summary for result in results)]
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("run", no_wrap=True)
    for path in short:
        drawn.add_column(short[path], justify="right", overflow="fold")
    for key in shown or [metric]:
        drawn.add_column(label(key).replace(" ", "\n"), justify="right", no_wrap=True)
    for result in ranked(results):
        values = (text_of(result.point.values[path]) for path in short)
        cells = [f"{result.point.number:03d}", *values]
        if result.status == "finished":
            cells += [figure(result.summary, k) if k in result.summary else "" for k in shown]
        else:
            cells.append(result.status)
        drawn.add_row(*map(Text, cells), style="red" if result.status == "failed" else "")
    return drawn


def write_results(folder: Path, results: Sequence[Result]) -> None:
    """Writes results.csv, results.json and plot.png into the folder of a sweep."""
    write_json(folder / "results.json", {"metric": metric_of(results), "points": _rows(results)})
    _write_csv(folder / "results.csv", results)
    picture = io.BytesIO()
    plot(read_sweep(folder), results).savefig(picture, dpi=130, format="png")
    with atomically(folder / "plot.png", "wb") as file:
        file.write(picture.getvalue())


def _rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [
        {
            "run": result.point.name,
            "status": result.status,
            "values": dict(result.point.values),
            "figures": {k: v for k, v in result.summary.items() if is_number(v)},
            **({"error": result.summary["error"]} if "error" in result.summary else {}),
        }
        for result in ranked(results)
    ]


def _write_csv(path: Path, results: Sequence[Result]) -> None:
    rows = [
        {"run": row["run"], "status": row["status"]}
        | {key: text_of(value) for key, value in row["values"].items()}
        | {f"final_{k}" if k in row["values"] else k: v for k, v in row["figures"].items()}
        for row in _rows(results)
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def plot(plan: Sweep, results: Sequence[Result]) -> Figure:
    """The metric over each axis, with error bars where there are replicates.

    In a grid a line goes through the points that differ in the axis alone.
    """
    metric = metric_of(results)
    paths = list(plan.axes)
    short = short_names(paths)
    columns = min(len(paths), 3)
    rows = math.ceil(len(paths) / columns)
    drawn = Figure(figsize=(1.2 + 4.4 * columns, 0.6 + 3.6 * rows), layout="constrained")
    places = drawn.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, path in zip(places, paths, strict=False):
        others = {other: short[other] for other in paths if other != path}
        _draw(axes, path, plan, others, results, metric)
        axes.set_xlabel(short[path])
        axes.grid(alpha=0.25)
    for empty in places[len(paths) :]:
        empty.set_visible(False)
    for axes in places[::columns]:
        axes.set_ylabel(label(metric))
    values = [_value(result, metric) for result in results]
    if metric.endswith("accuracy"):
        places[0].yaxis.set_major_formatter(lambda share, _: percent(share, 2))
    elif _spans(values, 100):
        places[0].set_yscale("log")
    return drawn


def _draw(
    axes: Axes,
    path: str,
    plan: Sweep,
    others: Mapping[str, str],
    results: Sequence[Result],
    metric: str,
) -> None:
    """One axis of the sweep."""
    values = [result.point.values[path] for result in results]
    numbers = all(map(is_number, values))
    place = _numbers(axes, values, plan.axes[path]) if numbers else _words(axes, plan.axes[path])
    at = [place(value) for value in values]
    lines: dict[str, list[tuple[float, Result]]] = {}
    for x, result in zip(at, results, strict=True):
        words = [f"{name} {text_of(result.point.values[o])}" for o, name in others.items()]
        lines.setdefault(", ".join(words), []).append((x, result))
    told_apart = plan.search == "grid" and len(lines) <= LINES
    if not told_apart:
        lines = {"": list(zip(at, results, strict=True))}
    for colour, (name, some) in zip(_COLOURS, lines.items(), strict=False):
        points = sorted((x, *_bar(result, metric)) for x, result in some)
        points = [point for point in points if math.isfinite(point[1])]
        if points:
            x, y, error = zip(*points, strict=True)
            style = "o-" if told_apart and numbers else "o"
            axes.errorbar(x, y, error if any(error) else None, fmt=style,
                          color=colour, markersize=4, linewidth=1.2, capsize=2,
                          alpha=1 if told_apart else 0.7, label=name or None)  # fmt: skip
    failed = [x for x, result in zip(at, results, strict=True) if result.status == "failed"]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.02] * len(failed), "x", color="#b00020", transform=bottom,
                  label="failed", clip_on=False)  # fmt: skip
    if any(lines) or failed:
        axes.legend(fontsize=7, frameon=False)


def _bar(result: Result, metric: str) -> tuple[float, float]:
    error = result.summary.get(f"{metric}_error")
    return _value(result, metric), float(error) if is_number(error) else 0.0


def _numbers(axes: Axes, values: Sequence[float], told: list | str) -> Callable[[Any], float]:
    """Numbers stand where they are; those of a range as it was drawn from."""
    numbers = sorted(set(values))
    ends = [float(end) for end in told.split("..")] if isinstance(told, str) else numbers
    if _spans(ends, 10):
        axes.set_xscale("log")
    if len(numbers) <= NAMED and not isinstance(told, str):
        axes.set_xticks(numbers, labels=[text_of(value) for value in numbers])
        axes.minorticks_off()
    return float


def _words(axes: Axes, told: list | str) -> Callable[[Any], float]:
    """Other things stand beside each other."""
    texts = [text_of(value) for value in told]
    axes.set_xticks(range(len(texts)), texts)
    if max(map(len, texts)) > 10:
        for written in axes.get_xticklabels():
            written.set(rotation=20, ha="right", fontsize=8)
    axes.set_xlim(-0.5, len(texts) - 0.5)
    return lambda value: float(texts.index(text_of(value)))


def _spans(values: Sequence[float], factor: float) -> bool:
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) >= factor * min(finite)
