"""A sweep: the same config with other values, one run for each point.

Everything that is known of a sweep is in its folder: sweep.yaml says what was asked for and which
points there are, and the folder of each point's run how far it came. So a sweep that was ended or
killed goes on when it is asked for again.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from flax import nnx
from pydantic import Field, ValidationError

from jconv._core.atomic_io import write_text
from jconv.train import run_folder
from jconv.train.build import build_data, build_model
from jconv.train.config import FilteredPhotos, TrainConfig
from jconv.train.config.loading import ConfigError, describe, load_config
from jconv.train.config.section import Count, Section
from jconv.train.loop import RunFailed, resume, train
from jconv.train.mesh import DeviceMesh
from jconv.train.sweep.axes import (
    MOST_POINTS,
    Axis,
    Values,
    draw,
    grid,
    short_names,
    text_of,
    with_values,
)
from jconv.train.sweep.optuna_search import Study

RESULTS = ("results.csv", "results.json", "plot.png")
CONTENTS = {"sweep.yaml", "study.db", *RESULTS}  # beside the folders of runs
LONGEST_NAME = 80  # of a run's folder, in letters


class Point(Section):
    """One run of a sweep: the name of its folder, and a value for the path of each axis."""

    name: Annotated[str, Field(pattern=r"^[0-9]+-[\w.-]*$", max_length=100)]
    values: dict[str, Any]

    @property
    def number(self) -> int:
        return int(self.name.partition("-")[0])


class Sweep(Section):
    """What sweep.yaml holds: what was asked for, and the points that came of it."""

    search: Literal["grid", "random", "optuna"]
    count: Count  # of points, at the end
    axes: dict[str, list[Any] | str]
    points: tuple[Point, ...]
    config: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """How a point stands.

    Attributes:
      point: which it is.
      status: "waiting", "unfinished", or what summary.json says.
      summary: the final figures, as far as there are any.
    """

    point: Point
    status: str
    summary: Mapping[str, Any]


def sweep(
    config: TrainConfig,
    axes: Sequence[Axis],
    *,
    folder: Path | str,
    random: int | None = None,
    optuna: int | None = None,
    overwrite: bool = False,
    before: Callable[[Point, int], None] = lambda point, count: None,
    after: Callable[[Result], None] = lambda result: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> list[Result]:
    """Trains a run for each point that the axes span: all of a grid, or some.

    Called again for the same folder it leaves what is finished, goes on with what is not, and
    with more of `random` or `optuna` takes more points. A point whose run fails is shown as
    failed, and the others follow. Ctrl-C ends the sweep once the run under way is saved.

    Args:
      config: of all runs, but for the values of the axes. Its seed also draws the points.
      axes: at least one.
      folder: of the sweep, with those of its runs in it.
      random: draw so many points instead.
      optuna: let Optuna choose so many points, one after the other, by what it has seen.
      overwrite: replace a sweep in that folder.
      before: is called with each point before it is trained, and with how many there will be.
      after: is called with each point that was trained.
      tell: is told of what `resume` tells.

    Returns:
      How each point stands.

    Raises:
      ConfigError: with all that is wrong with any point; nothing has been touched then.
      ValueError: where the folder is another sweep's, or holds something else.
      RunBusy: if another process is writing it.
    """
    folder = Path(folder)
    if not overwrite:
        axes = _ordered_as_before(axes, folder)
    asked = _planned(config, axes, random, optuna)
    check(config, _to_check(asked, axes))
    if optuna:
        Study.check_installed()
    with _opened(folder, asked, overwrite=overwrite) as plan:
        points: Iterable[Point] = plan.points
        report: Callable[[Result], None] = lambda result: None
        if optuna:
            study = Study(folder, axes, metric=_metric(config), seed=config.seed)
            points = _chosen(study, plan, folder)
            report = lambda result: study.tell(result.point.number, result.summary)
        for point in points:
            if _finished(folder, point):  # by `jconv resume`, or it was not told before a kill
                report(_result(folder, point))
                continue
            before(point, plan.count)
            result = _carried_out(config, point, folder, tell)
            report(result)
            after(result)
            if result.status == "interrupted":
                break
        return read_results(folder)


def _planned(
    config: TrainConfig, axes: Sequence[Axis], random: int | None, optuna: int | None
) -> Sweep:
    if not axes:
        raise ConfigError(
            "a sweep needs at least one value of the config with commas, such as "
            "`--optimizer.learning_rate 1e-3,3e-3`, or a range, such as 1e-4..1e-1. Received: none."
        )
    if random and optuna:
        raise ConfigError("`--random` and `--optuna` must not both be given. Received: both.")
    count, option = (random, "--random") if random else (optuna or 0, "--optuna")
    if count > MOST_POINTS:
        raise ConfigError(
            f"`{option}` must be at most {MOST_POINTS:,} points. Received: {count:,}."
        )
    if config.distributed:
        raise ConfigError("`distributed` must be left out: a sweep is trained by one process.")
    search = "optuna" if optuna else "random" if random else "grid"
    chosen = [] if optuna else draw(axes, random, config.seed) if random else grid(axes)
    return Sweep(
        search=search,
        count=optuna or len(chosen),
        axes={axis.path: axis.told() for axis in axes},
        points=tuple(point(number, values) for number, values in enumerate(chosen, 1)),
        config=config.model_dump(mode="json"),
    )


def _ordered_as_before(axes: Sequence[Axis], folder: Path) -> Sequence[Axis]:
    """The axes in the order that the sweep in that folder has the same ones in, which its points
    are numbered by."""
    if not (folder / "sweep.yaml").is_file():
        return axes
    before = list(read_sweep(folder).axes)
    known = {axis.path for axis in axes} == set(before)
    return sorted(axes, key=lambda axis: before.index(axis.path)) if known else axes


def point(number: int, values: Values) -> Point:
    """A point whose name tells its values, as far as a folder's name can."""
    short = short_names(list(values))
    words = [f"{short[path]}-{text_of(value)}" for path, value in values.items()]
    name = re.sub(r"[^\w.-]+", "_", f"{number:03d}-{'_'.join(words)}")
    return Point(name=name[:LONGEST_NAME].rstrip("_-."), values=values)


def _to_check(plan: Sweep, axes: Sequence[Axis]) -> list[Values]:
    """All points; where they are not known yet, one for each value of each axis."""
    if plan.points:
        return [point.values for point in plan.points]
    first = {axis.path: axis.ends()[0] for axis in axes}
    return [first | {axis.path: value} for axis in axes for value in axis.ends()]


def check(config: TrainConfig, points: Sequence[Values]) -> None:
    """Refuses points that could not be trained, before any is.

    Raises:
      ConfigError: with all problems, and the first point that has each.
    """
    problems: dict[str, list[Values]] = {}
    fits = _Fits()
    for values in points:
        try:
            fits.check(with_values(config, values, name="point"))
        except ValueError as error:
            problems.setdefault(_told(error), []).append(values)
    if problems:
        head = f"{sum(map(len, problems.values()))} of {len(points)} points cannot be trained"
        lines = [f"{problem} ({_where(some)})" for problem, some in problems.items()]
        raise ConfigError("\n  ".join([head, *lines]))


def _told(error: ValueError) -> str:
    """What is wrong with a config, without the number of problems."""
    if isinstance(error, ValidationError):
        return describe(error, TrainConfig).partition("\n  ")[2]
    return str(error)


def _where(points: Sequence[Values]) -> str:
    more = f", and {len(points) - 1} more" if len(points) > 1 else ""
    return f"at {label(points[0])}{more}"


def label(values: Values) -> str:
    """A point in words, such as `learning_rate 0.001, replicates 4`."""
    short = short_names(list(values))
    return ", ".join(f"{short[path]} {text_of(value)}" for path, value in values.items())


class _Fits:
    """Checks that model and batch fit the data; looks at each data set and each model once."""

    def __init__(self):
        self._sizes: dict[str, tuple[int, tuple[int, ...], int]] = {}
        self._seen: set[str] = set()

    def check(self, config: TrainConfig) -> None:
        key = config.data.model_dump_json()
        if key not in self._sizes:
            data = build_data(config.data)
            self._sizes[key] = len(data.train), data.input_shape, data.outputs
        examples, shape, outputs = self._sizes[key]
        if config.batch_size > examples:
            raise ValueError(
                f"`batch_size` must be at most the number of training examples, {examples}. "
                f"Received: {config.batch_size}."
            )
        DeviceMesh(config.mesh)
        key += config.model.model_dump_json()
        if key not in self._seen:
            nnx.eval_shape(lambda: build_model(config.model, shape, outputs, nnx.Rngs(0)))
            self._seen.add(key)


def _metric(config: TrainConfig) -> str:
    """What Optuna's points are judged by."""
    return "validation_loss" if isinstance(config.data, FilteredPhotos) else "validation_accuracy"


@contextlib.contextmanager
def _opened(folder: Path, asked: Sweep, *, overwrite: bool) -> Iterator[Sweep]:
    """Locks a sweep's folder, which is made where there is none, and yields what is to be done."""
    known = (folder / "sweep.yaml").exists()
    check_folder(folder, whole=overwrite or not known)
    folder.mkdir(parents=True, exist_ok=True)
    with run_folder.locked(folder):
        if overwrite:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if (folder / "sweep.yaml").exists():
            before = read_sweep(folder)
            _check_same(before, asked, folder)
            if before.count > asked.count or before.search == "optuna":
                count = max(before.count, asked.count)
                asked = before.model_copy(update={"count": count})
        write_sweep(folder, asked)
        yield asked


def check_folder(folder: Path, *, whole: bool) -> None:
    """Refuses a folder that something else than a sweep is in.

    Args:
      folder: of the sweep.
      whole: whether nothing else may be beside the sweep either, for all that is there goes.

    Raises:
      ValueError: naming what is in the way.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        foreign = "is not a folder of its own"
    elif whole and (unknown := sorted(filter(_is_foreign, folder.iterdir()))):
        foreign = f"holds {unknown[0].name!r}, which no sweep has written"
    else:
        return
    raise ValueError(f"{folder} {foreign}. Choose another `--name`, or put that elsewhere.")


def _is_foreign(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        ours = re.match("[0-9]{3,}-", path.name) is not None
        return not ours or bool(run_folder.foreign_in(path))
    name = path.name.removesuffix(".part").removesuffix("-journal")  # SQLite's, while it writes
    return name not in CONTENTS


def _check_same(before: Sweep, asked: Sweep, folder: Path) -> None:
    kept = ("search", "axes", "config")
    old, new = (plan.model_dump(mode="json", include=set(kept)) for plan in (before, asked))
    changed = run_folder.differences(old, new)
    if changed:
        raise ValueError(
            f"{folder} is another sweep, which is gone on with by the same arguments. Received:\n  "
            + "\n  ".join(changed)
            + "\nChoose another `--name`, or replace it with `--overwrite`."
        )


def read_sweep(folder: Path) -> Sweep:
    """What sweep.yaml says.

    Raises:
      ConfigError: where there is none, or it cannot be read.
    """
    return load_config(folder / "sweep.yaml", Sweep)


def write_sweep(folder: Path, plan: Sweep) -> None:
    """Writes sweep.yaml, whole or not at all."""
    content = yaml.safe_dump(
        json.loads(plan.model_dump_json()), sort_keys=False, allow_unicode=True
    )
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    write_text(folder / "sweep.yaml", f"# {' '.join(command.split())}\n{content}")


def _chosen(study: Study, plan: Sweep, folder: Path) -> Iterator[Point]:
    """The points of Optuna's trials, first those that were under way, then new ones."""

    def written() -> tuple[Point, ...]:
        points = tuple(point(number, values) for number, values in study.points())
        write_sweep(folder, plan.model_copy(update={"points": points}))
        return points

    known = len(written())
    for number, values in study.under_way():
        yield point(number, values)
    while known < plan.count:
        study.ask()
        points = written()
        known = len(points)
        yield points[-1]


def _finished(folder: Path, point: Point) -> bool:
    return run_folder.status(folder / point.name) == "finished"


def _carried_out(
    config: TrainConfig, point: Point, folder: Path, tell: Callable[[str], None]
) -> Result:
    """Trains a point, or goes on with it."""
    run = folder / point.name
    try:
        if (run / "config.yaml").is_file():
            resume(run, notify=tell)
        else:  # also where a kill left a folder without one
            _begun(config, point, folder)
    except RunFailed as error:
        if isinstance(error.__cause__, OSError):  # such as a full disk, which the next would meet
            raise OSError(str(error)) from error
    return _result(folder, point)


def _begun(config: TrainConfig, point: Point, folder: Path) -> None:
    """Trains a point; what does not fit together after all is a failure of this point alone."""
    try:
        train(with_values(config, point.values, point.name), runs=folder, overwrite=True)
    except (run_folder.RunBusy, run_folder.RunExists):
        raise
    except ValueError as error:
        run = folder / point.name
        run.mkdir(exist_ok=True)
        run_folder.write_json(run / "summary.json", {"status": "failed", "error": _told(error)})


def read_results(folder: Path) -> list[Result]:
    """How each point of a sweep stands, as its folder says."""
    return [_result(folder, point) for point in read_sweep(folder).points]


def _result(folder: Path, point: Point) -> Result:
    run = folder / point.name
    if not run.is_dir():
        return Result(point, "waiting", {})
    status = run_folder.status(run)
    if status == "unfinished":
        return Result(point, status, {})
    return Result(point, status, json.loads((run / "summary.json").read_text(encoding="utf-8")))
