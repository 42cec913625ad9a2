"""The tuning table: measured times of the algorithms on convolutions of this device.

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
ENV_VAR = "JCONV_TUNING"  # environment variable with a path, which replaces the default path

Seconds = Mapping[str, float]


@dataclass(frozen=True)
class TuningTable:
    """Times measured on one kind of device.

    Attributes:
      device: the kind of device, as JAX names it.
      seconds: time of one call by problem and algorithm.
      made_with: versions of JAX and jaxlib at the time of measurement.
    """

    device: str
    seconds: Mapping[Problem, Seconds]
    made_with: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_current(self) -> bool:
        """True if the table was measured with this minor version of jaxlib."""
        return _minor(self.made_with.get("jaxlib", "")) == _minor(version("jaxlib"))

    def updated(self, seconds: Mapping[Problem, Seconds]) -> TuningTable:
        """Return a table with more problems; existing times of the same problems are replaced."""
        return TuningTable(self.device, {**self.seconds, **seconds}, versions())


def versions() -> dict[str, str]:
    """Return the versions of the packages that determine the speed of an algorithm."""
    return {name: version(name) for name in ("jax", "jaxlib")}


def _minor(release: str) -> list[str]:
    return release.split(".")[:2]


# By kind of device, the table that `use_table` has selected for this process.
_active_tables: dict[str, Path] = {}


def use_table(path: Path, device: str) -> None:
    """Use a table in this process instead of the one at `default_path`.

    Tables and choices are cached: see `jconv.transforms.tune.clear_choice_cache`.

    Args:
      path: the file of the table.
      device: the kind of device, as JAX names it.
    """
    _active_tables[device] = path.resolve()


def table_path(device: str) -> Path:
    """Return the path of the table that this process uses, which need not exist."""
    return _active_tables.get(device) or default_path(device)


def default_path(device: str) -> Path:
    """Return the path of the table that a new process uses, which need not exist."""
    path = os.environ.get(ENV_VAR)
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return Path(path) if path else user_cache_path("jconv") / "tuning" / f"{name}.json"


@functools.cache
def table_of(platform: str) -> TuningTable | None:
    """Return the table for this process's devices of one platform, or None; cached.

    A table that was measured with another minor version of jaxlib is ignored, with a warning.

    Raises:
      ValueError: if the file is not a tuning table, is one of another kind of device, or is named
        by `JCONV_TUNING` and does not exist.
    """
    if platform != jax.default_backend():
        return None
    device = jax.devices()[0].device_kind
    path = table_path(device)
    if not path.is_file():
        if os.environ.get(ENV_VAR):
            file, problem = path, "which does not exist"
            if path.is_dir():
                file, problem = path / "tuning.json", "which is a folder"
            raise ValueError(
                f"`{ENV_VAR}` must be the path of a tuning table. Received: {path}, {problem}. "
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
            f"The tuning table {path} was made with jaxlib {table.made_with.get('jaxlib')}. It is "
            f"ignored, because times differ from those of jaxlib {version('jaxlib')}. Measure "
            f"again with `jconv tune`.",
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
    """Return the measured seconds by algorithm; empty if the table does not have the problem."""
    table = table_of(platform)
    if table is None or any(problem.symbolic):
        return {}
    explicit = problem if problem.result else replace(problem, result=problem.dtype)
    return table.seconds.get(explicit, {})


def read_table(path: Path) -> TuningTable:
    """Read a tuning table.

    Raises:
      ValueError: if the file is not a tuning table of this format.
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
    """Write a tuning table; the file is replaced atomically."""
    header = {"format": FORMAT, "device": table.device, "made_with": dict(table.made_with)}
    rows = [
        json.dumps(_row(problem) | {"seconds": dict(seconds)})
        for problem, seconds in table.seconds.items()
    ]
    text = json.dumps(header)[:-1] + ', "convolutions": [\n' + ",\n".join(rows) + "\n]}\n"
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
