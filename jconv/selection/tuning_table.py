"""The tuning table: how long each algorithm took on convolutions of this device.

Measured times take precedence over those that `jconv.selection.cost_model` predicts. A table is one
JSON file for each kind of device, in the user's cache folder or where `JCONV_TUNING` says;
`jconv tune` and `jconv.tune` write it. It is read once, when the first choice is made: programs
that are already compiled keep their algorithms. Times change with XLA, so a table measured with
another minor version of jaxlib is ignored.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from platformdirs import user_cache_path

from jconv._core.atomic_io import write_text
from jconv._core.geometry import Window
from jconv._core.problem import Problem

FORMAT = 1
VARIABLE = "JCONV_TUNING"  # a path that takes the place of the one in the cache folder

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class TuningTable:
    """What was measured on one kind of device.

    Attributes:
      device: its kind, as JAX calls it.
      seconds: of one call, by problem and by algorithm.
      made_with: versions of JAX and jaxlib, which what was measured depends on.
    """

    device: str
    seconds: Mapping[Problem, Seconds]
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        """Whether it was made with this minor version of jaxlib."""
        return _minor(self.made_with.get("jaxlib", "")) == _minor(version("jaxlib"))

    def with_more(self, seconds: Mapping[Problem, Seconds]) -> TuningTable:
        """The same with more problems; those measured again are replaced."""
        return TuningTable(self.device, {**self.seconds, **seconds}, versions())


def versions() -> dict[str, str]:
    """Of what decides how fast an algorithm is."""
    return {name: version(name) for name in ("jax", "jaxlib")}


def _minor(release: str) -> list[str]:
    return release.split(".")[:2]


_gone_by: dict[str, Path] = {}  # by kind of device, where this process was told to go by another


def go_by(path: Path, device: str) -> None:
    """Makes a table the one of this process, whatever the cache folder or `JCONV_TUNING` has.

    What was read and chosen before is remembered: see `jconv.transforms.tune.clear_choice_cache`.
    """
    _gone_by[device] = path.resolve()


def table_path(device: str) -> Path:
    """Where the table is that this process goes by, whether it exists or not."""
    return _gone_by.get(device) or default_path(device)


def default_path(device: str) -> Path:
    """Where the table is that processes go by from their start, whether it exists or not."""
    given = os.environ.get(VARIABLE)
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return Path(given) if given else user_cache_path("jconv") / "tuning" / f"{name}.json"


@functools.cache
def table_of(platform: str) -> TuningTable | None:
    """The table for this process's devices of one platform, or None; read once.

    A table of another jaxlib is none, which a warning says.

    Raises:
      ValueError: for a file that is no table, or one of another kind of device that was asked for
        by name.
    """
    if platform != jax.default_backend():
        return None
    device = jax.devices()[0].device_kind
    path = table_path(device)
    if not path.is_file():
        if os.environ.get(VARIABLE):
            file, what = path, "where there is none"
            if path.is_dir():
                file, what = path / "tuning.json", "which is a folder"
            raise ValueError(
                f"`{VARIABLE}` must be the path of a tuning table. Received: {path}, {what}. "
                f"Make one with `jconv tune --out {file}`, or unset it."
            )
        return None
    table = read_table(path)
    if table.device != device:
        raise ValueError(
            f"The tuning table {path} must be of this kind of device, {device!r}. "
            f"Received: one of {table.device!r}. Make another with `jconv tune`."
        )
    if not table.is_current:
        warnings.warn(
            f"The tuning table {path} was made with jaxlib {table.made_with.get('jaxlib')}, which "
            f"takes other times than jaxlib {version('jaxlib')}: it is left aside. Measure anew "
            f"with `jconv tune`.",
            stacklevel=2,
        )
        return None
    return table


def describe_table(platform: str) -> dict[str, Any] | None:
    """Return path, SHA-256 digest and number of convolutions of the table in use, or None."""
    table = table_of(platform)
    if table is None:
        return None
    path = table_path(table.device)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": digest, "convolutions": len(table.seconds)}


def measured(problem: Problem, platform: str) -> Seconds:
    """Seconds by algorithm, where the table has this problem; empty otherwise."""
    table = table_of(platform)
    if table is None or any(problem.symbolic):
        return {}
    named = problem if problem.result else replace(problem, result=problem.dtype)
    return table.seconds.get(named, {})


def read_table(path: Path) -> TuningTable:
    """Reads a table.

    Raises:
      ValueError: for a file that is none.
    """
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        seconds = {_problem(row): dict(row["seconds"]) for row in content["convolutions"]}
        return TuningTable(content["device"], seconds, content["made_with"])
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeError) as error:
        raise ValueError(
            f"{path} must be a tuning table that this version of jconv wrote (format {FORMAT}). "
            f"Received: {type(error).__name__}: {error}. Remove it, or make another with "
            f"`jconv tune`."
        ) from error


def write_table(table: TuningTable, path: Path) -> None:
    """Writes a table, whole or not at all."""
    head = {"format": FORMAT, "device": table.device, "made_with": dict(table.made_with)}
    rows = [
        json.dumps(_row(problem) | {"seconds": dict(seconds)})
        for problem, seconds in table.seconds.items()
    ]
    text = json.dumps(head)[:-1] + ', "convolutions": [\n' + ",\n".join(rows) + "\n]}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


COUNTS = ("pairs", "images", "groups", "inputs", "outputs")


def _row(problem: Problem) -> dict[str, Any]:
    window = {f.name: getattr(problem.window, f.name) for f in fields(Window)}
    counts = {name: getattr(problem, name) for name in COUNTS}
    return {"window": window, **counts, "dtype": str(problem.dtype),
            "result": str(problem.result or problem.dtype)}  # fmt: skip


def _problem(row: Mapping[str, Any]) -> Problem:
    window = Window(**{name: _tuples(value) for name, value in row["window"].items()})
    counts: dict[str, Any] = {name: int(row[name]) for name in COUNTS}
    return Problem(
        window=window, dtype=jnp.dtype(row["dtype"]), result=jnp.dtype(row["result"]), **counts
    )


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
