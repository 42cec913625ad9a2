"""Tuning: measuring every algorithm on the convolutions that matter, for `auto` to go by."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from jconv._core.validation import received
from jconv.profiling.race import Race, race
from jconv.selection.select import select_algorithm
from jconv.selection.tuning_table import (
    TuningTable,
    default_path,
    go_by,
    read_table,
    table_of,
    versions,
    write_table,
)
from jconv.transforms.inspect import inspect

SAVE_EVERY = 30.0  # seconds; what was measured until then survives a Ctrl-C


def tune(
    fn: Callable[..., Any], *, path: Path | str | None = None, budget: float = 0.5
) -> Callable[..., TuningTable]:
    """Measures every algorithm on each convolution of a function, on the default device.

    From then on `algorithm="auto"` goes by this table in this process, and in those to come where
    `path` is None or `JCONV_TUNING` names it, wherever the same shapes turn up. Functions that are
    compiled already stay as they are.

    Args:
      fn: any function of JAX, such as a model or a training step; see `jconv.inspect`.
      path: the table's file; that of this kind of device in the user's cache folder if None.
        What it has of other convolutions stays, unless another jaxlib measured it.
      budget: seconds of measuring for each distinct convolution, as far as few rounds allow.

    Returns:
      A function of what `fn` takes, which measures and returns the whole table.

    Raises:
      ValueError: for an `fn` that cannot be called, a budget that is not a number of seconds, or a
        file that is no table of this device.
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
            # Choosing reads the table, which there is only once measuring has begun.
            yield from (c.problem for c in inspected(*args, **kwargs).convolutions)

        for _ in tune_problems(problems(), path=path, budget=budget):
            pass
        go_by(_path(path), jax.devices()[0].device_kind)
        forget_choices()
        return read_table(_path(path))

    return tuned


def tune_problems(problems, *, path: Path | str | None, budget: float) -> Iterator[Race]:
    """Measures problems one by one, each once, and writes them to a table with what it had.

    A table of another jaxlib is begun anew: its times and these are not to be compared.

    Yields:
      Each race, once it is over. The table is complete when the iterator is exhausted or closed.
    """
    path, device = _path(path), jax.devices()[0].device_kind
    if path.is_dir():
        raise ValueError(
            f"`path` must be the file of a tuning table. Received: {path}, which is a folder. "
            f"Name a file in it, such as {path / 'tuning.json'}."
        )
    new = TuningTable(device, {}, versions())
    table = read_table(path) if path.exists() else new
    if table.device != device:
        raise ValueError(
            f"`path` must be that of a table of this kind of device, {device!r}. "
            f"Received: {path}, which is of {table.device!r}. Choose another."
        )
    table = table if table.is_current else new
    write_table(table, path)  # a place that cannot be written is told before anything is timed
    found, saved = {}, time.monotonic()
    try:
        for problem in _distinct(problems):
            result = race(problem, budget=budget)
            found[problem] = dict(result.seconds)
            if time.monotonic() > saved + SAVE_EVERY:
                write_table(table.with_more(found), path)
                saved = time.monotonic()
            yield result
    finally:
        write_table(table.with_more(found), path)
        forget_choices()


def forget_choices() -> None:
    """Makes the choices to come go by the table as it is now."""
    table_of.cache_clear()
    select_algorithm.cache_clear()


def _distinct(problems: Iterable) -> Iterator:
    seen = set()
    for problem in problems:
        if problem not in seen and not problem.is_empty and not any(problem.symbolic):
            seen.add(problem)
            yield problem


def _path(path: Path | str | None) -> Path:
    return Path(path) if path is not None else default_path(jax.devices()[0].device_kind)
