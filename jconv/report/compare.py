"""Runs side by side: their final figures, how their configs differ, and their curves together."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from jconv.report import templating as html
from jconv.report.curves import Chart, chart
from jconv.report.headline import verdict
from jconv.report.metrics import figure, label
from jconv.report.run_reader import Run, read_run
from jconv.train.config.loading import ConfigError, read_yaml
from jconv.train.run_folder import flatten
from jconv.train.sweep.axes import short_names, text_of
from jconv.train.sweep.folder import read_results

MOST_RUNS = 16  # that can still be told apart in one chart
BESIDE = 3  # runs up to which each has a column of the table; more have a row each

_FIGURES = (
    "test_accuracy",
    "test_loss",
    "validation_accuracy",
    "validation_loss",
    "kernel_error",
    "parameters",
    "steps",
    "seconds",
)
_SHORT = ("test_accuracy", "test_loss", "kernel_error", "seconds")  # where there are many runs
_NO_VALUE = "–"


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
      runs: what their folders hold.
      names: one for each, no two the same.
      figures: by what they are called, one text for each run.
      differences: the values of the config that are not the same in all runs, likewise.
    """

    runs: Sequence[Run]
    names: Sequence[str]
    figures: Mapping[str, Sequence[str]]
    differences: Mapping[str, Sequence[str]]

    def rows(self, *, short: bool = False) -> list[tuple[str, Sequence[str]]]:
        """Figures and differences, those first that tell as many runs apart as there are.

        Args:
          short: of many runs' figures, what fits in few columns.
        """
        figures, differences = list(self.figures.items()), list(self.differences.items())
        if len(self.runs) <= BESIDE:
            return figures + differences
        kept = [label(key) for key in ("status", *_SHORT)]
        return differences + [row for row in figures if row[0] in kept or not short]


def compare(folders: Sequence[Path]) -> Comparison:
    """Reads runs.

    Args:
      folders: those of two runs or more; that of a sweep stands for all of its runs.

    Raises:
      ValueError: with all that is wrong with any of them.
    """
    folders = _expanded(folders)
    configs = _configs(folders)
    if not 2 <= len(folders) <= MOST_RUNS:
        raise ValueError(
            f"`RUN` must be two to {MOST_RUNS} runs, to be compared with each other. "
            f"Received: {len(folders)}{': ' + str(folders[0]) if len(folders) == 1 else ''}."
        )
    runs = [read_run(folder) for folder in folders]
    return Comparison(runs, _names(folders), _figures(runs), _differences(configs))


def _expanded(folders: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for folder in map(Path, folders):
        if (folder / "sweep.yaml").is_file():
            runs = [folder / r.point.name for r in read_results(folder) if r.status != "waiting"]
            found += [run for run in runs if (run / "config.yaml").exists()]  # else it never began
        else:
            found.append(folder)
    return found


def _configs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    configs, problems = [], []
    seen: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder.")
        elif folder.resolve() in seen:
            problems.append(f"{folder}: is given twice.")
        elif not (folder / "config.yaml").exists():
            problems.append(f"{folder}: is not the folder of a run: it has no config.yaml.")
        else:
            try:
                configs.append(flatten(read_yaml(folder / "config.yaml")))
            except ConfigError as error:
                problems.append(str(error))
        seen.add(folder.resolve())
    if problems:
        raise ValueError("`RUN` must be folders of runs. Received:\n  " + "\n  ".join(problems))
    return configs


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as many as tell it from the others."""
    paths = [folder.resolve().as_posix().strip("/") for folder in folders]
    # `short_names` counts words between dots, which names of folders may have as well.
    hidden = [path.replace(".", "\0").replace("/", ".") for path in paths]
    short = short_names(hidden)
    return [short[path].replace(".", "/").replace("\0", ".") for path in hidden]


def _figures(runs: Sequence[Run]) -> dict[str, list[str]]:
    rows = {
        "steps taken" if key == "steps" else label(key): [_figure(run, key) for run in runs]
        for key in _FIGURES
        if any(run.summary.get(key) is not None for run in runs)
    }
    statuses = [str(run.summary.get("status") or "unfinished") for run in runs]
    return ({} if set(statuses) == {"finished"} else {"status": statuses}) | rows


def _figure(run: Run, key: str) -> str:
    return _NO_VALUE if run.summary.get(key) is None else figure(run.summary, key)


def _differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for path in dict.fromkeys(path for config in configs for path in config if path != "name"):
        texts = [text_of(c[path]) if path in c else _NO_VALUE for c in configs]
        if len(set(texts)) > 1:
            rows[str(path)] = texts
    short = short_names(list(rows))
    return {short[path]: texts for path, texts in rows.items()}


def table(comparison: Comparison) -> Table:
    """The comparison to be printed: a column for each run, or a row where they are many."""
    head, rows = _arranged(comparison, short=True)
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(head):
        drawn.add_column(Text(name), justify="right" if place else "left", overflow="fold")
    for place, row in enumerate(rows):
        drawn.add_row(*map(Text, row))
        if len(comparison.runs) <= BESIDE and place == len(comparison.figures) - 1:
            drawn.add_section()
    return drawn


def _arranged(comparison: Comparison, *, short: bool) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table."""
    names = _numbers(comparison.names) if short else comparison.names
    rows = comparison.rows(short=short)
    if len(comparison.runs) <= BESIDE:
        return ["", *names], [[name, *texts] for name, texts in rows]
    columns = zip(names, *(texts for _, texts in rows), strict=True)
    return ["run", *(name for name, _ in rows)], [list(row) for row in columns]


def _numbers(names: Sequence[str]) -> Sequence[str]:
    """The numbers of a sweep's runs: what else is in their names, other columns say."""
    numbers = [match[0] if (match := re.match("[0-9]{3,}(?=-)", n)) else n for n in names]
    return numbers if len(set(numbers)) == len(names) else names


def write_comparison(comparison: Comparison, page: Path) -> Path:
    """Writes one self-contained page with the curves of all runs laid over each other."""
    head, rows = _arranged(comparison, short=False)
    contents = {
        "names": comparison.names,
        "verdicts": list(zip(comparison.names, map(verdict, comparison.runs), strict=True)),
        "charts": _charts(comparison),
        "same": not comparison.differences,
        "head": head,
        "rows": rows,
    }
    page.parent.mkdir(parents=True, exist_ok=True)
    return html.write(page, html.fill("compare.html.jinja", contents))


def _charts(comparison: Comparison) -> list[Chart]:
    named = list(zip(comparison.names, comparison.runs, strict=True))
    last_step = max(run.last_step for run in comparison.runs)

    def draw(title: str, key: str, **options) -> Chart | None:
        series = {name: run.series(key) for name, run in named}
        errors = {name: run.series(f"{key}_error") for name, run in named}
        return chart(title, series, last_step=last_step, errors=errors, **options)

    drawn = [
        draw("Training loss", "loss"),
        draw("Validation loss", "validation_loss"),
        draw("Training accuracy", "accuracy", share=True, log=False),
        draw("Validation accuracy", "validation_accuracy", share=True, log=False),
        draw("Largest difference from the hidden kernel", "kernel_error", log=True),
    ]
    return [one for one in drawn if one]
