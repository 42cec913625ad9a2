"""The choice of an algorithm, from shapes alone, and the reason for it.

Times measured on this device (`jconv.selection.tuning_table`) take precedence over the times that
the cost model of this kind of device predicts (`jconv.selection.cost_model`). Where there is
neither, as on GPUs and TPUs so far, the choice is XLA's own convolution. The same problem, device
and table always give the same choice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType

import jax.numpy as jnp

from jconv._core.problem import Problem, issubdtype
from jconv.algorithms import ALGORITHMS
from jconv.selection.cost_model import model_of
from jconv.selection.tuning_table import measured

TOLERANCES = {
    jnp.dtype(name): tolerance
    for tolerance, names in ((1e-4, ("float32", "complex64")), (1e-12, ("float64", "complex128")))
    for name in names
}

# What another algorithm must be predicted to save, to take the place of XLA's.
MIN_SPEEDUP, MIN_SAVING = 1.1, 1e-5
# Sums of whole numbers are exact, of transforms they are not: these must save so many seconds.
MIN_SAVING_OF_TRANSFORMS = 5e-5

TRANSFORMS = frozenset(("winograd", "fft", "overlap_add"))
PREDICTED, MEASURED = "predicted", "measured on this device"


@dataclass(frozen=True)
class Candidate:
    """An algorithm that could do a problem.

    Attributes:
      algorithm: its name in `jconv.ALGORITHMS`.
      seconds: of one call, measured or predicted; None where nothing is known.
      error_bound: see `Algorithm.error_bound`.
    """

    algorithm: str
    seconds: float | None
    error_bound: float


@dataclass(frozen=True)
class Choice:
    """An algorithm for a problem, and why it.

    Attributes:
      problem: the convolution, or the gradient of one.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      algorithm: its name in `jconv.ALGORITHMS`.
      times: seconds of one call of each algorithm that something is known about, shortest first.
      known: how they are known.
      tolerance: algorithms whose error bound exceeds both it and that of `"xla"` are barred.
    """

    problem: Problem
    platform: str
    algorithm: str
    times: Mapping[str, float]
    known: str
    tolerance: float

    @cached_property
    def reason(self) -> str:
        """Why it, in a sentence."""
        if self.problem.is_empty:
            return "there is nothing to compute"
        bounds = {name: ALGORITHMS[name].error_bound(self.problem) for name in self.times}
        allowed = {name: self.times[name] for name in bounds if bounds[name] <= self.limit}
        if not allowed:
            return f"nothing was measured to beat XLA's convolution on {self.platform}"
        return _reason(self.algorithm, allowed, self.known)

    @cached_property
    def limit(self) -> float:
        """The error bound past which algorithms are barred."""
        return max(self.tolerance, ALGORITHMS["xla"].error_bound(self.problem))

    @property
    def seconds(self) -> float | None:
        """Of one call, measured or predicted; None where nothing is known."""
        return self.times.get(self.algorithm)

    @property
    def error_bound(self) -> float:
        """Of the algorithm chosen; see `Algorithm.error_bound`."""
        return ALGORITHMS[self.algorithm].error_bound(self.problem)

    @property
    def runners_up(self) -> tuple[Candidate, ...]:
        """The others that could do it within the tolerance, the fastest first."""
        names = [*self.times, *(name for name in ALGORITHMS if name not in self.times)]
        found = []
        for name in names:
            if name == self.algorithm or ALGORITHMS[name].supports(self.problem) is not None:
                continue
            bound = ALGORITHMS[name].error_bound(self.problem)
            if bound <= self.limit:
                found.append(Candidate(name, self.times.get(name), bound))
        return tuple(found)

    @property
    def excluded(self) -> dict[str, str]:
        """Why not the others, by algorithm."""
        reasons = {}
        for name, algorithm in ALGORITHMS.items():
            reason = algorithm.supports(self.problem)
            if reason is None and algorithm.error_bound(self.problem) > self.limit:
                bound = algorithm.error_bound(self.problem)
                reason = f"it may err by {bound:.1e}, which is more than {self.limit:.1e}"
            if reason is not None:
                reasons[name] = reason
        return reasons


@functools.lru_cache(maxsize=4096)
def choose(problem: Problem, platform: str, tolerance: float | None = None) -> Choice:
    """Picks the algorithm for one convolution.

    Only static shapes count: the same problem gets the same choice, under `jit` as elsewhere.

    Args:
      problem: the convolution; a gradient is a problem of its own.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      tolerance: bars algorithms whose error bound exceeds both it and that of `"xla"`; 1e-4 for
        results in float32 and 1e-12 in float64 if None.
    """
    if tolerance is None:
        tolerance = TOLERANCES.get(problem.result or problem.dtype, 0.0)
    seconds, known = estimated_seconds(problem, platform)
    times = dict(sorted(seconds.items(), key=itemgetter(1)))
    left = dict(times)
    while left:
        name = choice_among(left, known)
        choice = Choice(problem, platform, name, MappingProxyType(times), known, tolerance)
        # Its own bound first: where that is low, XLA's, in `limit`, need not be computed.
        if name == "xla" or (bound := choice.error_bound) <= tolerance or bound <= choice.limit:
            return choice
        del left[name]
    return Choice(problem, platform, "xla", MappingProxyType(times), known, tolerance)


def estimated_seconds(problem: Problem, platform: str) -> tuple[dict[str, float], str]:
    """Of each algorithm that can do the problem, and how they are known."""
    if problem.is_empty:
        return {}, ""
    if found := measured(problem, platform):
        return {n: t for n, t in found.items() if n in ALGORITHMS}, MEASURED
    model = model_of(platform)
    if model is None:
        return {}, ""
    names = eligible_algorithms(problem)
    if not issubdtype(problem.dtype, jnp.floating):
        # The models were fitted to floats; how sums compare with transforms does not carry over.
        names = [name for name in names if name not in TRANSFORMS]
    return model.seconds(problem, names), PREDICTED


def eligible_algorithms(problem: Problem) -> list[str]:
    """The algorithms that can do a problem, without those that would only hand it on to XLA."""
    alone = problem.pairs == problem.groups == 1
    handed_on = {"phases": problem.window.is_dense, "split": alone}
    return [
        name
        for name, algorithm in ALGORITHMS.items()
        if not handed_on.get(name) and algorithm.supports(problem) is None
    ]


def choice_among(times: Mapping[str, float], known: str = PREDICTED) -> str:
    """The algorithm to take; XLA's where the others save little.

    Args:
      times: seconds by algorithm, shortest first.
      known: how: what was measured is taken at its word.
    """
    fastest = _fastest(times, known)
    own, xla = times[fastest], times.get("xla")
    if known != PREDICTED or xla is None:
        return fastest
    return "xla" if xla < MIN_SPEEDUP * own or xla < own + MIN_SAVING else fastest


def _fastest(times: Mapping[str, float], known: str) -> str:
    if known != PREDICTED:
        return next(iter(times))
    return min(
        times, key=lambda name: times[name] + MIN_SAVING_OF_TRANSFORMS * (name in TRANSFORMS)
    )


def _reason(chosen: str, times: Mapping[str, float], known: str) -> str:
    """Why one of the algorithms that may be taken is, in a sentence."""
    xla, fastest = times.get("xla"), _fastest(times, known)
    what = f"{known} to take {milliseconds(times[chosen])}"
    if xla is None:
        return f"{what}, the least of {len(times)}"
    if chosen != "xla":
        return f"{what}, xla {milliseconds(xla)}"
    if fastest != "xla":
        return f"{what}, {fastest} hardly less"
    second = next((name for name in times if name != "xla"), None)
    return f"{what}, {second} {milliseconds(times[second])}" if second else what


def milliseconds(seconds: float) -> str:
    """A time to three digits."""
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"
