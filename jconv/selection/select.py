"""The selection of an algorithm for one problem, from shapes alone.

Times measured on this device (`jconv.selection.tuning_table`) take precedence over the times that
the cost model of this kind of device predicts (`jconv.selection.cost_model`). Where there is
neither, as on GPUs and TPUs so far, the choice is XLA's convolution. The same problem, device
and table always give the same choice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp

from jconv._core.problem import Problem, issubdtype
from jconv._core.validation import is_real, received
from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.selection.choice import MEASURED, PREDICTED, TRANSFORMS, Choice, fastest_of
from jconv.selection.cost_model import model_of
from jconv.selection.tuning_table import measured

DEFAULT_TOLERANCES = {
    jnp.dtype(name): tolerance
    for tolerance, names in ((1e-4, ("float32", "complex64")), (1e-12, ("float64", "complex128")))
    for name in names
}

# The ratio and the seconds that another algorithm must be predicted to save to replace XLA's.
MIN_SPEEDUP, MIN_SAVING = 1.1, 1e-5


@dataclass(frozen=True)
class Auto:
    """The selector behind `algorithm="auto"`, which the primitive calls when it is lowered.

    Args:
      tolerance: as in `select_algorithm`.
    """

    tolerance: float | None = None

    def __call__(self, problem: Problem, platform: str) -> Algorithm:
        """Return the algorithm for a problem on a platform."""
        return ALGORITHMS[select_algorithm(problem, platform, self.tolerance).algorithm]


def make_selector(tolerance: Any) -> Auto:
    """Return the selector for the `tolerance` of a caller.

    Raises:
      ValueError: if it is neither None nor a positive number.
    """
    if tolerance is None:
        return _DEFAULT
    if not is_real(tolerance) or not 0 < tolerance < math.inf:
        raise ValueError(
            f"`tolerance` must be None or a positive number, such as 1e-4. "
            f"{received('tolerance', tolerance)}"
        )
    return Auto(float(tolerance))


_DEFAULT = Auto()


@functools.lru_cache(maxsize=4096)
def select_algorithm(problem: Problem, platform: str, tolerance: float | None = None) -> Choice:
    """Select the algorithm of one problem.

    Only static shapes count: the same problem gets the same choice, under `jit` as elsewhere.

    Args:
      problem: the convolution; a gradient is a separate problem.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      tolerance: algorithms whose error bound exceeds both it and that of `"xla"` are excluded; None
        is 1e-4 for results in float32 and 1e-12 in float64.
    """
    if tolerance is None:
        tolerance = DEFAULT_TOLERANCES.get(problem.result or problem.dtype, 0.0)
    seconds, basis = estimated_seconds(problem, platform)
    times = dict(sorted(seconds.items(), key=itemgetter(1)))
    remaining = dict(times)
    while remaining:
        name = fastest_or_xla(remaining, basis)
        choice = Choice(problem, platform, name, MappingProxyType(times), basis, tolerance)
        # The bound of the algorithm comes first: if it is low, `limit`, which needs that of XLA's
        # convolution, need not be computed.
        if name == "xla" or (bound := choice.error_bound) <= tolerance or bound <= choice.limit:
            return choice
        del remaining[name]
    return Choice(problem, platform, "xla", MappingProxyType(times), basis, tolerance)


def estimated_seconds(problem: Problem, platform: str) -> tuple[dict[str, float], str]:
    """Return the seconds of each algorithm that supports the problem, and how they are known."""
    if problem.is_empty:
        return {}, ""
    if seconds := measured(problem, platform):
        return {n: t for n, t in seconds.items() if n in ALGORITHMS}, MEASURED
    model = model_of(platform)
    if model is None:
        return {}, ""
    names = eligible_algorithms(problem)
    if not issubdtype(problem.dtype, jnp.floating):
        # The models were fitted to floats; how sums compare with transforms does not carry over.
        names = [name for name in names if name not in TRANSFORMS]
    return model.seconds(problem, names), PREDICTED


def eligible_algorithms(problem: Problem) -> list[str]:
    """Return the algorithms that support a problem, without those that would only call XLA."""
    single = problem.pairs == problem.groups == 1
    delegates = {"phases": problem.window.is_dense, "split": single}
    return [
        name
        for name, algorithm in ALGORITHMS.items()
        if not delegates.get(name) and algorithm.supports(problem) is None
    ]


def fastest_or_xla(times: Mapping[str, float], basis: str = PREDICTED) -> str:
    """Return the fastest algorithm, or XLA's where the fastest is predicted to save little.

    Args:
      times: seconds by algorithm, shortest first.
      basis: how the times are known; measured times are compared as they are.
    """
    fastest = fastest_of(times, basis)
    seconds, xla = times[fastest], times.get("xla")
    if basis != PREDICTED or xla is None:
        return fastest
    return "xla" if xla < MIN_SPEEDUP * seconds or xla < seconds + MIN_SAVING else fastest
