"""Measures every algorithm on one convolution, and the regret of the choice of `auto`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import jax

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS
from jconv.profiling.single_op import jitted_call, random_operands
from jconv.profiling.timing import Call, paired_ratio, time_call, time_interleaved
from jconv.selection.select import eligible_algorithms, select_algorithm

# An algorithm whose first call takes this many times as long as the fastest so far is not repeated.
CUTOFF_RATIO = 3.0
CALL_OVERHEAD = 2e-5  # seconds of one call, which the cutoff leaves out of account
MAX_WORKSPACE = 4 * 2**30  # bytes; algorithms that need more are not tried
# Operations per second that no algorithm exceeds; algorithms that would need more to win are not
# tried.
MAX_FLOPS = {"cpu": 3e11, "gpu": 1e15, "tpu": 1e15}


@dataclass(frozen=True)
class Race:
    """The times of all eligible algorithms on one convolution.

    Attributes:
      problem: the convolution.
      seconds: median time of one call by algorithm; the time of the only call where that exceeded
        the cutoff.
      chosen: the algorithm that `auto` selects.
      regret: ratio of the time of `chosen` to that of the fastest algorithm, at least 1.
    """

    problem: Problem
    seconds: Mapping[str, float]
    chosen: str
    regret: float

    @property
    def fastest(self) -> str:
        """The algorithm with the shortest time."""
        return min(self.seconds, key=self.seconds.__getitem__)


def race(problem: Problem, *, budget: float = 1.0, final: bool = False) -> Race:
    """Time all eligible algorithms on one problem, on the default device.

    Args:
      problem: the convolution; all its sizes must be known.
      budget: seconds for the measurements, as far as the minimum of three rounds allows.
      final: time the chosen and the fastest algorithm once more, against each other alone, to
        compute `regret`. The fastest of several noisy times is biased towards short times.
    """
    chosen = select_algorithm(problem, jax.default_backend()).algorithm
    calls, first = _first_calls(problem, chosen)
    cutoff = CUTOFF_RATIO * min(first.values()) + CALL_OVERHEAD
    racing = {n: call for n, call in calls.items() if first[n] < cutoff or n == chosen}
    times = time_interleaved(racing, budget=budget, rounds=(3, 15))
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min(medians, key=medians.__getitem__)
    regret = medians[chosen] / medians[fastest]
    if final and regret > 1:
        finalists = {name: calls[name] for name in (chosen, fastest)}
        times = time_interleaved(finalists, budget=budget)
        regret = max(1.0, paired_ratio(times[chosen], to=times[fastest]))
    return Race(problem, first | medians, chosen, regret)


def _first_calls(problem: Problem, chosen: str) -> tuple[dict[str, Call], dict[str, float]]:
    """Compile each algorithm worth trying, the chosen one first, and time one call of each."""
    max_flops = MAX_FLOPS[jax.default_backend()]
    x, kernel = random_operands(problem)
    calls: dict[str, Call] = {}
    seconds: dict[str, float] = {}
    for name in sorted(eligible_algorithms(problem), key=lambda name: name != chosen):
        algorithm = ALGORITHMS[name]
        if name != chosen:
            cost = algorithm.cost(problem)
            fastest = max(min(seconds.values()), 1e-4)
            if cost.flops > max_flops * fastest or cost.workspace > MAX_WORKSPACE:
                continue
        call = jitted_call(algorithm, problem, x, kernel)
        call()  # compiles
        seconds[name] = time_call(call)
        calls[name] = call
    return calls, seconds
