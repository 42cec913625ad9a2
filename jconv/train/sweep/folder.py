"""The folder of a sweep.

The folder contains everything about a sweep: sweep.yaml holds the request and the points, and the
run folder of each point holds its progress. An interrupted sweep can therefore be continued.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from jconv._core.atomic_io import write_text
from jconv.train import run_folder
from jconv.train.config.loading import load_config
from jconv.train.config.section import Count, Section
from jconv.train.sweep.config_values import Values, format_value, short_names

RESULTS = ("results.csv", "results.json", "plot.png")
CONTENTS = {"sweep.yaml", "study.db", *RESULTS}  # files of a sweep, beside the folders of its runs
MAX_NAME_LENGTH = 80  # of a run's folder, in characters


class Point(Section):
    """One run of a sweep: the name of its folder, and a value for the path of each axis."""

    name: Annotated[str, Field(pattern=r"^[0-9]+-[\w.-]*$", max_length=100)]
    values: dict[str, Any]

    @property
    def number(self) -> int:
        """The number of the point, from 1."""
        return int(self.name.partition("-")[0])


class SweepPlan(Section):
    """Content of sweep.yaml: what was requested, and the points chosen so far.

    Attributes:
      search: how points are chosen.
      count: number of points in the end.
      axes: values or range of each axis, by path.
      points: the points; Optuna adds them one by one.
      config: the config that the points change.
    """

    search: Literal["grid", "random", "optuna"]
    count: Count
    axes: dict[str, list[Any] | str]
    points: tuple[Point, ...]
    config: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """Status and final metrics of a point.

    Attributes:
      point: the point.
      status: "waiting", "unfinished", or the status in summary.json.
      summary: the content of summary.json; empty if there is none.
    """

    point: Point
    status: str
    summary: Mapping[str, Any]


def make_point(number: int, values: Values) -> Point:
    """Return a point whose name contains its values, as far as a folder's name can."""
    names = short_names(list(values))
    parts = [f"{names[path]}-{format_value(value)}" for path, value in values.items()]
    name = re.sub(r"[^\w.-]+", "_", f"{number:03d}-{'_'.join(parts)}")
    return Point(name=name[:MAX_NAME_LENGTH].rstrip("_-."), values=values)


@contextlib.contextmanager
def open_folder(folder: Path, request: SweepPlan, *, overwrite: bool) -> Iterator[SweepPlan]:
    """Create or open the folder of a sweep, lock it, and yield the plan to carry out.

    Args:
      folder: the folder of the sweep.
      request: what was requested now. A sweep in the folder with more points, or with points that
        Optuna has chosen, is continued with these.
      overwrite: delete a sweep in the folder first.

    Raises:
      ValueError: if the folder holds another sweep, or something else.
      RunBusy: if another process is writing to the folder.
    """
    exists = (folder / "sweep.yaml").exists()
    check_folder(folder, allow_other_files=exists and not overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(folder):
        if overwrite:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        plan = request
        if (folder / "sweep.yaml").exists():
            saved = read_plan(folder)
            _check_same_sweep(saved, request, folder)
            if saved.count > request.count or saved.search == "optuna":
                plan = saved.model_copy(update={"count": max(saved.count, request.count)})
        write_plan(folder, plan)
        yield plan


def check_folder(folder: Path, *, allow_other_files: bool) -> None:
    """Check that nothing but a sweep is in a folder.

    Args:
      folder: the folder of the sweep, which need not exist.
      allow_other_files: whether other files may lie beside the sweep.

    Raises:
      ValueError: if the folder is a link or a file, or contains files that no sweep wrote.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        problem = "is a link or a file, not a folder"
    elif not allow_other_files and (unknown := sorted(filter(_is_unknown, folder.iterdir()))):
        problem = f"contains {unknown[0].name!r}, which was not written by a sweep"
    else:
        return
    raise ValueError(f"{folder} {problem}. Choose another `--name`, or move it elsewhere.")


def _is_unknown(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        is_point = re.match("[0-9]{3,}-", path.name) is not None
        return not is_point or bool(run_folder.foreign_in(path))
    # SQLite writes a journal beside the study.
    return path.name.removesuffix(".part").removesuffix("-journal") not in CONTENTS


def _check_same_sweep(saved: SweepPlan, request: SweepPlan, folder: Path) -> None:
    compared = {"search", "axes", "config"}
    old, new = (plan.model_dump(mode="json", include=compared) for plan in (saved, request))
    changed = run_folder.differences(old, new)
    if changed:
        raise ValueError(
            f"{folder} is another sweep, which only the same arguments continue. Received:\n  "
            + "\n  ".join(changed)
            + "\nChoose another `--name`, or replace it with `--overwrite`."
        )


def read_plan(folder: Path) -> SweepPlan:
    """Read sweep.yaml.

    Raises:
      ConfigError: if there is none, or it is invalid.
    """
    return load_config(folder / "sweep.yaml", SweepPlan)


def write_plan(folder: Path, plan: SweepPlan) -> None:
    """Write sweep.yaml atomically."""
    content = yaml.safe_dump(
        json.loads(plan.model_dump_json()), sort_keys=False, allow_unicode=True
    )
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    write_text(folder / "sweep.yaml", f"# {' '.join(command.split())}\n{content}")


def read_results(folder: Path) -> list[Result]:
    """Return status and final metrics of each point of a sweep."""
    return [read_result(folder, point) for point in read_plan(folder).points]


def read_result(folder: Path, point: Point) -> Result:
    """Return status and final metrics of one point."""
    run = folder / point.name
    if not run.is_dir():
        return Result(point, "waiting", {})
    status = run_folder.status(run)
    if status == "unfinished":
        return Result(point, status, {})
    return Result(point, status, json.loads((run / "summary.json").read_text(encoding="utf-8")))
