"""Results of a sweep: a table for the terminal, and files for further analysis."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from jconv._core.atomic_io import write_text
from jconv.report.metrics import format_metric, metric_label
from jconv.report.run_reader import is_number
from jconv.train.run_folder import write_json
from jconv.train.sweep.config_values import format_value, short_names
from jconv.train.sweep.folder import Result


def ranking_metric(results: Sequence[Result]) -> str:
    """Return the metric that ranks points: validation accuracy or, without it, validation loss."""
    has_accuracy = any("validation_accuracy" in result.summary for result in results)
    return "validation_accuracy" if has_accuracy else "validation_loss"


def ranked(results: Sequence[Result]) -> list[Result]:
    """Return the results, best first; those without the metric come last, in order of number."""
    metric = ranking_metric(results)
    sign = -1 if metric.endswith("accuracy") else 1

    def rank(result: Result) -> tuple[bool, float]:
        value = final_value(result, metric)
        return math.isnan(value), 0.0 if math.isnan(value) else sign * value

    return sorted(results, key=rank)


def final_value(result: Result, metric: str) -> float:
    """Return a metric of a finished run; NaN if it is not finished or has no such metric."""
    value = result.summary.get(metric)
    return float(value) if result.status == "finished" and is_number(value) else math.nan


def status_line(result: Result) -> str:
    """Return one line about the result of a point."""
    metric = ranking_metric([result])
    if result.status == "finished" and is_number(result.summary.get(metric)):
        time = format_metric(result.summary, "seconds")
        return f"{metric_label(metric)} {format_metric(result.summary, metric)}, in {time}"
    return f"{result.status}: {result.summary.get('error') or 'the same command continues it'}"


def table(results: Sequence[Result]) -> Table:
    """Return a table with a row for each point, best first."""
    names = short_names(list(results[0].point.values)) if results else {}
    metrics = _table_metrics(results, axes=len(names))
    built = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    built.add_column("run", no_wrap=True)
    for name in names.values():
        built.add_column(name, justify="right", overflow="fold")
    for metric in metrics or [ranking_metric(results)]:
        built.add_column(metric_label(metric).replace(" ", "\n"), justify="right", no_wrap=True)
    for result in ranked(results):
        values = (format_value(result.point.values[path]) for path in names)
        cells = [f"{result.point.number:03d}", *values]
        if result.status == "finished":
            summary = result.summary
            cells += [format_metric(summary, m) if m in summary else "" for m in metrics]
        else:
            cells.append(result.status)
        built.add_row(*map(Text, cells), style="red" if result.status == "failed" else "")
    return built


def _table_metrics(results: Sequence[Result], axes: int) -> list[str]:
    """Return the metrics that fit beside the values of the axes."""
    metric = ranking_metric(results)
    metrics = [metric, "seconds"]
    if metric != "validation_loss" and axes <= 2:
        metrics.insert(1, "validation_loss")
    return [m for m in metrics if any(m in result.summary for result in results)]


def write_results(folder: Path, results: Sequence[Result]) -> None:
    """Write results.csv and results.json into the folder of a sweep."""
    points = [_record(result) for result in ranked(results)]
    write_json(folder / "results.json", {"metric": ranking_metric(results), "points": points})
    _write_csv(folder / "results.csv", points)


def _record(result: Result) -> dict[str, Any]:
    """Return a result as it is stored in results.json."""
    return {
        "run": result.point.name,
        "status": result.status,
        "values": dict(result.point.values),
        "metrics": {key: v for key, v in result.summary.items() if is_number(v)},
        **({"error": result.summary["error"]} if "error" in result.summary else {}),
    }


def _write_csv(path: Path, points: Sequence[dict[str, Any]]) -> None:
    rows = []
    for point in points:
        values, metrics = point["values"], point["metrics"]
        rows.append(
            {"run": point["run"], "status": point["status"]}
            | {key: format_value(value) for key, value in values.items()}
            # An axis and a metric may have the same name, such as `steps`.
            | {f"final_{key}" if key in values else key: v for key, v in metrics.items()}
        )
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
