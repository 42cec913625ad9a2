"""Timing on a noisy machine: medians of interleaved runs, and paired ratios."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]  # runs an operation and waits for its result

MIN_SAMPLE_SECONDS = 2e-3  # one measurement; shorter calls are repeated within it
WARM_UP_SECONDS = 0.1  # calls shorter than this depend on what the caches hold
SLOW_ROUND_SECONDS = 5.0  # rounds longer than this are made twice only


def time_call(call: Call, repeats: int = 1) -> float:
    """Return the mean time of `repeats` consecutive calls, in seconds."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def time_interleaved(
    calls: Mapping[str, Call],
    *,
    budget: float = 2.0,
    rounds: tuple[int, int] = (5, 25),
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Time several calls in turn, so that a slow phase of the machine affects all of them alike.

    Each round has another order, and the orders are reproducible. A short call is made once before
    it is timed, because the caches hold the arrays of the call before it.

    Args:
      calls: the calls by name. They must be compiled already.
      budget: seconds for all measurements together, as far as `rounds` allows.
      rounds: the minimum and maximum number of measurements of each call. The minimum is two where
        a round takes several seconds.
      pause: seconds before each measurement, in which the threads of the call before go to sleep.

    Returns:
      The times of each call in seconds, in the order of the rounds.
    """
    first = {name: time_call(call) for name, call in calls.items()}
    repeats = {
        name: max(1, min(1000, round(MIN_SAMPLE_SECONDS / max(seconds, 1e-6))))
        for name, seconds in first.items()
    }
    warm_up = {name: seconds < WARM_UP_SECONDS for name, seconds in first.items()}
    round_seconds = sum(pause + t * (repeats[name] + warm_up[name]) for name, t in first.items())
    min_rounds, max_rounds = rounds
    if round_seconds >= SLOW_ROUND_SECONDS:
        min_rounds = 2
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, names = random.Random(0), list(calls)
    for _ in range(max(min_rounds, min(max_rounds, int(budget / round_seconds)))):
        order.shuffle(names)
        for name in names:
            time.sleep(pause)
            if warm_up[name]:
                calls[name]()
            times[name].append(time_call(calls[name], repeats[name]))
    return times


def paired_ratio(times: list[float], to: list[float]) -> float:
    """Return the median over rounds of the ratio of `times` to `to`."""
    return statistics.median(_ratios(times, to))


def confidence_interval(times: list[float], to: list[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of `paired_ratio`, from order statistics.

    Reference: Conover, "Practical Nonparametric Statistics" (1999), section 3.2.
    """
    ratios = sorted(_ratios(times, to))
    rank = max(0, math.floor(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    return ratios[rank], ratios[-1 - rank]


def _ratios(times: list[float], to: list[float]) -> list[float]:
    return [a / b for a, b in zip(times, to, strict=True)]
