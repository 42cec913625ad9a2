"""A choice of an algorithm for one problem, with its reason and its alternatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from jconv._core.problem import Problem
from jconv._core.rich_repr import RichRepr
from jconv.algorithms import ALGORITHMS

if TYPE_CHECKING:
    from rich.console import Group

PREDICTED, MEASURED = "predicted", "measured on this device"

# The time that a transform must save over other algorithms to be chosen. Sums of products of whole
# numbers are exact, those of transforms are not.
MIN_SAVING_OF_TRANSFORMS = 5e-5
TRANSFORMS = frozenset(("winograd", "fft", "overlap_add"))


@dataclass(frozen=True)
class Candidate:
    """An algorithm that supports a problem.

    Attributes:
      algorithm: its name in `jconv.ALGORITHMS`.
      seconds: time of one call, measured or predicted; None where it is unknown.
      error_bound: see `Algorithm.error_bound`.
    """

    algorithm: str
    seconds: float | None
    error_bound: float


@dataclass(frozen=True, repr=False)
class Choice(RichRepr):
    """The algorithm chosen for a problem, and the reason. Prints as a table of the candidates.

    Attributes:
      problem: the convolution, or the gradient of one.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      algorithm: the name of the chosen algorithm in `jconv.ALGORITHMS`.
      times: estimated seconds of one call by algorithm, shortest first.
      basis: `"predicted"` or `"measured on this device"`.
      tolerance: algorithms whose error bound exceeds both it and that of `"xla"` are excluded.
    """

    problem: Problem
    platform: str
    algorithm: str
    times: Mapping[str, float]
    basis: str
    tolerance: float

    @cached_property
    def reason(self) -> str:
        """The reason for the choice, in a sentence without its period."""
        if self.problem.is_empty:
            return "there is nothing to compute"
        bounds = {name: ALGORITHMS[name].error_bound(self.problem) for name in self.times}
        allowed = {name: self.times[name] for name in bounds if bounds[name] <= self.limit}
        if not allowed:
            return f"nothing was measured to beat XLA's convolution on {self.platform}"
        return _reason(self.algorithm, allowed, self.basis)

    @cached_property
    def limit(self) -> float:
        """The error bound above which algorithms are excluded."""
        return max(self.tolerance, ALGORITHMS["xla"].error_bound(self.problem))

    @property
    def seconds(self) -> float | None:
        """The estimated time of one call; None where it is unknown."""
        return self.times.get(self.algorithm)

    @property
    def error_bound(self) -> float:
        """The error bound of the chosen algorithm; see `Algorithm.error_bound`."""
        return ALGORITHMS[self.algorithm].error_bound(self.problem)

    @property
    def runners_up(self) -> tuple[Candidate, ...]:
        """The other algorithms that support the problem within the tolerance, fastest first."""
        names = [*self.times, *(name for name in ALGORITHMS if name not in self.times)]
        candidates = []
        for name in names:
            if name == self.algorithm or ALGORITHMS[name].supports(self.problem) is not None:
                continue
            bound = ALGORITHMS[name].error_bound(self.problem)
            if bound <= self.limit:
                candidates.append(Candidate(name, self.times.get(name), bound))
        return tuple(candidates)

    @property
    def excluded(self) -> dict[str, str]:
        """The reason against each algorithm that is excluded, by its name."""
        reasons = {}
        for name, algorithm in ALGORITHMS.items():
            reason = algorithm.supports(self.problem)
            if reason is None and algorithm.error_bound(self.problem) > self.limit:
                bound = algorithm.error_bound(self.problem)
                reason = f"its error bound {bound:.1e} exceeds the tolerance {self.limit:.1e}"
            if reason is not None:
                reasons[name] = reason
        return reasons

    def __rich__(self) -> Group:
        """Return a sentence, and a table of the chosen, the other and the excluded algorithms."""
        from rich import box
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("algorithm")
        table.add_column(f"time, {self.basis}" if self.times else "time", justify="right")
        table.add_column("error bound", justify="right")
        table.add_column("")
        chosen = Candidate(self.algorithm, self.seconds, self.error_bound)
        for candidate in (chosen, *self.runners_up):
            time = "" if candidate.seconds is None else milliseconds(candidate.seconds)
            note = "chosen" if candidate is chosen else ""
            table.add_row(candidate.algorithm, time, f"{candidate.error_bound:.1e}", note)
        for name, reason in self.excluded.items():
            table.add_row(name, "", "", f"excluded: {escape(reason)}", style="dim")
        return Group(f"{self.algorithm} on {self.platform}: {self.reason}.", table)


def fastest_of(times: Mapping[str, float], basis: str) -> str:
    """Return the fastest algorithm; predicted times of transforms count as slightly longer.

    Args:
      times: seconds by algorithm, shortest first.
      basis: how the times are known.
    """
    if basis != PREDICTED:
        return next(iter(times))
    penalty = lambda name: MIN_SAVING_OF_TRANSFORMS * (name in TRANSFORMS)
    return min(times, key=lambda name: times[name] + penalty(name))


def _reason(chosen: str, times: Mapping[str, float], basis: str) -> str:
    """Return why `chosen` is the choice among algorithms with known times."""
    xla, fastest = times.get("xla"), fastest_of(times, basis)
    time = f"{basis} to take {milliseconds(times[chosen])}"
    if xla is None:
        return f"{time}, the least of {len(times)}"
    if chosen != "xla":
        return f"{time}, xla {milliseconds(xla)}"
    if fastest != "xla":
        return f"{time}, {fastest} hardly less"
    second = next((name for name in times if name != "xla"), None)
    return f"{time}, {second} {milliseconds(times[second])}" if second else time


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds, to three digits."""
    value = 1e3 * seconds
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"
