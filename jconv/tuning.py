"""The tuning table: how long each algorithm took on convolutions of this very device.

What is measured goes before what `jconv.cost_model` predicts. A table is one JSON file for each
kind of device, in the user's cache folder or where `JCONV_TUNING` says; `jconv tune` and
`jconv.tune` write it. It is read once, when the first choice is made: programs that are compiled
already keep the algorithms that they have.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from platformdirs import user_cache_path

from jconv.algorithms.algorithm import Problem
from jconv.files import write_text
from jconv.window import Window

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

    def with_more(self, seconds: Mapping[Problem, Seconds]) -> TuningTable:
        """The same with more problems; those measured again are replaced."""
        return TuningTable(self.device, {**self.seconds, **seconds}, versions())


def versions() -> dict[str, str]:
    """Of what decides how fast an algorithm is."""
    return {name: version(name) for name in ("jax", "jaxlib")}


def table_path(device: str) -> Path:
    """Where the table of a kind of device is, whether it exists or not."""
    given = os.environ.get(VARIABLE)
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return Path(given) if given else user_cache_path("jconv") / "tuning" / f"{name}.json"


@functools.cache
def table_of(platform: str) -> TuningTable | None:
    """The table for this process's devices of one platform, or None; read once.

    Raises:
      ValueError: for a file that is no table, or one of another kind of device that was asked for
        by name.
    """
    if platform != jax.default_backend():
        return None
    device = jax.devices()[0].device_kind
    path = table_path(device)
    if not path.exists():
        if os.environ.get(VARIABLE):
            raise ValueError(
                f"`{VARIABLE}` must be the path of a tuning table. Received: {path}, where there "
                f"is none. Make one with `jconv tune --out {path}`, or unset it."
            )
        return None
    table = read_table(path)
    if table.device != device:
        raise ValueError(
            f"The tuning table {path} must be of this kind of device, {device!r}. "
            f"Received: one of {table.device!r}. Make another with `jconv tune`."
        )
    return table


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
