"""Measures every algorithm on the convolutions of a function, as a basis for `algorithm="auto"`."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from jconv._core.problem import Problem
from jconv._core.validation import received
from jconv.profiling.race import Race, race
from jconv.selection.select import select_algorithm
from jconv.selection.tuning_table import (
    TuningTable,
    default_path,
    read_table,
    table_of,
    use_table,
    versions,
    write_table,
)
from jconv.transforms.inspect import inspect

SAVE_INTERVAL = 30.0  # seconds between writes of the table, which survive a killed process


def tune(
    fn: Callable[..., Any], *, path: Path | str | None = None, budget: float = 0.5
) -> Callable[..., TuningTable]:
    """Return a function that measures every algorithm on each convolution of `fn`.

    Afterwards `algorithm="auto"` uses the measured times wherever the same shapes occur: in this
    process, and in later processes if `path` is None or the environment variable `JCONV_TUNING` is
    `path`. Functions that are compiled already do not change.

    Args:
      fn: any JAX function, such as a model or a training step; see `jconv.inspect`.
      path: the file of the tuning table. If None, it is the file for this kind of device in the
        user's cache folder. Entries of other convolutions are kept, unless they were measured with
        another minor version of jaxlib.
      budget: seconds for each distinct convolution, as far as the minimum number of measurements
        allows.

    Returns:
      A function that takes the arguments of `fn`, measures on the default device, and returns the
      whole table.

    Raises:
      ValueError: if `fn` is not callable, `budget` is not positive and finite, or `path` is not a
        table of this kind of device.
    """
    if not 0 < budget < math.inf:
        raise ValueError(
            f"`budget` must be a number of seconds, above 0 and finite. "
            f"{received('budget', budget)}"
        )
    inspected = inspect(fn)

    @functools.wraps(fn)
    def tuned(*args, **kwargs) -> TuningTable:
        def problems():
            # A generator: `inspect` reads the table, which may exist only once tuning has begun.
            yield from (c.problem for c in inspected(*args, **kwargs).convolutions)

        for _ in tune_problems(problems(), path=path, budget=budget):
            pass
        use_table(_table_path(path), jax.devices()[0].device_kind)
        clear_choice_cache()
        return read_table(_table_path(path))

    return tuned


def tune_problems(
    problems: Iterable[Problem], *, path: Path | str | None = None, budget: float = 0.5
) -> Iterator[Race]:
    """Measure each distinct problem and add its times to a tuning table.

    A table that was measured with another minor version of jaxlib is replaced, because its times
    are not comparable.

    Args:
      problems: the convolutions. Empty ones and those of unknown sizes are skipped.
      path: as in `tune`.
      budget: as in `tune`.

    Yields:
      The race of each problem. The file is complete when the iterator is exhausted or closed.

    Raises:
      ValueError: if `path` is a folder, or not a table of this kind of device.
    """
    path = _table_path(path)
    table = _open_table(path)
    write_table(table, path)  # an error of the file is raised before anything is measured
    times, last_saved = {}, time.monotonic()
    try:
        for problem in _distinct(problems):
            result = race(problem, budget=budget)
            times[problem] = dict(result.seconds)
            if time.monotonic() > last_saved + SAVE_INTERVAL:
                write_table(table.updated(times), path)
                last_saved = time.monotonic()
            yield result
    finally:
        write_table(table.updated(times), path)
        clear_choice_cache()


def clear_choice_cache() -> None:
    """Clear the caches of tables and choices, so that later choices use the current table."""
    table_of.cache_clear()
    select_algorithm.cache_clear()


def _open_table(path: Path) -> TuningTable:
    """Read the table to be updated, or start a new one."""
    device = jax.devices()[0].device_kind
    if path.is_dir():
        raise ValueError(
            f"`path` must be the file of a tuning table. Received: {path}, which is a folder. "
            f"Name a file in it, such as {path / 'tuning.json'}."
        )
    new = TuningTable(device, {}, versions())
    table = read_table(path) if path.exists() else new
    if table.device != device:
        raise ValueError(
            f"`path` must be a tuning table of this kind of device, {device!r}. "
            f"Received: {path}, a table of {table.device!r}. Choose another file."
        )
    return table if table.is_current else new


def _distinct(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield each problem that can be measured once."""
    yielded = set()
    for problem in problems:
        if problem not in yielded and not problem.is_empty and not any(problem.symbolic):
            yielded.add(problem)
            yield problem


def _table_path(path: Path | str | None) -> Path:
    return Path(path) if path is not None else default_path(jax.devices()[0].device_kind)
