"""Comparison of runs: final metrics, differences of their configs, and curves in common charts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from jconv.report.headline import headline
from jconv.report.metrics import format_metric, metric_label
from jconv.report.run_charts import comparison_charts
from jconv.report.run_reader import Run, read_run
from jconv.report.templating import render, write
from jconv.train.config.loading import ConfigError, read_yaml
from jconv.train.run_folder import flatten
from jconv.train.sweep.config_values import format_value, short_names
from jconv.train.sweep.folder import read_results

MAX_RUNS = 16  # that can be distinguished in one chart
MAX_COLUMNS = 3  # runs with a column each in the table; more runs have a row each

_METRICS = (
    "test_accuracy",
    "test_loss",
    "validation_accuracy",
    "validation_loss",
    "kernel_error",
    "parameters",
    "steps",
    "seconds",
)
_NARROW_METRICS = ("test_accuracy", "test_loss", "kernel_error", "seconds")
_NO_VALUE = "–"


@dataclass(frozen=True)
class Comparison:
    """Runs, and the rows of a table that compares them.

    Attributes:
      runs: the content of their folders.
      names: a different name for each run.
      metrics: final metrics by name, one text per run.
      differences: values of the configs that are not equal in all runs, likewise.
    """

    runs: Sequence[Run]
    names: Sequence[str]
    metrics: Mapping[str, Sequence[str]]
    differences: Mapping[str, Sequence[str]]

    def rows(self, *, narrow: bool = False) -> list[tuple[str, Sequence[str]]]:
        """Return name and texts of metrics and differences; of many runs, differences come first.

        Args:
          narrow: keep only the metrics that fit into a terminal, if there are many runs.
        """
        metrics, differences = list(self.metrics.items()), list(self.differences.items())
        if len(self.runs) <= MAX_COLUMNS:
            return metrics + differences
        kept = [metric_label(key) for key in ("status", *_NARROW_METRICS)]
        return differences + [row for row in metrics if row[0] in kept or not narrow]


def compare(folders: Sequence[Path]) -> Comparison:
    """Read and compare runs.

    Args:
      folders: folders of two runs or more; the folder of a sweep means all of its runs.

    Raises:
      ValueError: listing everything that is wrong with any of them.
    """
    folders = _expand_sweeps(folders)
    configs = _read_configs(folders)
    if not 2 <= len(folders) <= MAX_RUNS:
        raise ValueError(
            f"`RUN` must be two to {MAX_RUNS} runs, to be compared with each other. "
            f"Received: {len(folders)}{': ' + str(folders[0]) if len(folders) == 1 else ''}."
        )
    runs = [read_run(folder) for folder in folders]
    return Comparison(runs, _short_paths(folders), _final_metrics(runs), _differences(configs))


def _expand_sweeps(folders: Sequence[Path]) -> list[Path]:
    """Replace the folder of a sweep by those of its runs that have a config."""
    expanded: list[Path] = []
    for folder in map(Path, folders):
        if (folder / "sweep.yaml").is_file():
            results = read_results(folder)
            runs = [folder / r.point.name for r in results if r.status != "waiting"]
            expanded += [run for run in runs if (run / "config.yaml").exists()]
        else:
            expanded.append(folder)
    return expanded


def _read_configs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    configs, problems = [], []
    earlier: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder.")
        elif folder.resolve() in earlier:
            problems.append(f"{folder}: is given twice.")
        elif not (folder / "config.yaml").exists():
            problems.append(f"{folder}: is not the folder of a run: it has no config.yaml.")
        else:
            try:
                configs.append(flatten(read_yaml(folder / "config.yaml")))
            except ConfigError as error:
                problems.append(str(error))
        earlier.add(folder.resolve())
    if problems:
        raise ValueError("`RUN` must be folders of runs. Received:\n  " + "\n  ".join(problems))
    return configs


def _short_paths(folders: Sequence[Path]) -> list[str]:
    """Return the shortest ending of each path that no other path has."""
    paths = [folder.resolve().as_posix().strip("/") for folder in folders]
    # `short_names` splits at dots, which folder names may contain.
    dotted = [path.replace(".", "\0").replace("/", ".") for path in paths]
    short = short_names(dotted)
    return [short[path].replace(".", "/").replace("\0", ".") for path in dotted]


def _final_metrics(runs: Sequence[Run]) -> dict[str, list[str]]:
    rows = {
        # The config has a value `steps`, too: the steps that were requested.
        "steps taken" if key == "steps" else metric_label(key): [_metric(run, key) for run in runs]
        for key in _METRICS
        if any(run.summary.get(key) is not None for run in runs)
    }
    statuses = [str(run.summary.get("status") or "unfinished") for run in runs]
    return ({} if set(statuses) == {"finished"} else {"status": statuses}) | rows


def _metric(run: Run, key: str) -> str:
    return _NO_VALUE if run.summary.get(key) is None else format_metric(run.summary, key)


def _differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for config in configs for path in config if path != "name"):
        texts = [format_value(c[path]) if path in c else _NO_VALUE for c in configs]
        if len(set(texts)) > 1:
            rows[str(path)] = texts
    names = short_names(list(rows))
    return {names[path]: texts for path, texts in rows.items()}


def table(comparison: Comparison) -> Table:
    """Return the table for a terminal: a column for each run, or a row if there are many."""
    head, rows = _cells(comparison, narrow=True)
    built = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, name in enumerate(head):
        built.add_column(Text(name), justify="right" if index else "left", overflow="fold")
    for index, row in enumerate(rows):
        built.add_row(*map(Text, row))
        if len(comparison.runs) <= MAX_COLUMNS and index == len(comparison.metrics) - 1:
            built.add_section()
    return built


def _cells(comparison: Comparison, *, narrow: bool) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table."""
    names = _point_numbers(comparison.names) if narrow else comparison.names
    rows = comparison.rows(narrow=narrow)
    if len(comparison.runs) <= MAX_COLUMNS:
        return ["", *names], [[name, *texts] for name, texts in rows]
    columns = zip(names, *(texts for _, texts in rows), strict=True)
    return ["run", *(name for name, _ in rows)], [list(row) for row in columns]


def _point_numbers(names: Sequence[str]) -> Sequence[str]:
    """Shorten the names of a sweep's runs to their numbers; other columns show the values."""
    numbers = [match[0] if (match := re.match("[0-9]{3,}(?=-)", n)) else n for n in names]
    return numbers if len(set(numbers)) == len(names) else names


def write_comparison(comparison: Comparison, page: Path) -> Path:
    """Write one self-contained page with the curves of all runs in common charts."""
    head, rows = _cells(comparison, narrow=False)
    context = {
        "names": comparison.names,
        "headlines": list(zip(comparison.names, map(headline, comparison.runs), strict=True)),
        "charts": comparison_charts(comparison.names, comparison.runs),
        "same": not comparison.differences,
        "head": head,
        "rows": rows,
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    return write(page, render("compare.html.jinja", context))
