"""Timing that a noisy machine cannot fool: medians of interleaved runs, and paired ratios."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]

SHORTEST = 2e-3  # seconds of one measurement; shorter calls are repeated in it
LONG = 0.1  # seconds of a call that does not notice what came before it
VERY_LONG = 5.0  # seconds of a round that two of will do


def seconds(call: Call, repeats: int = 1) -> float:
    """Of one call, the mean of some in a row; each must wait for its own result."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(
    calls: Mapping[str, Call],
    *,
    budget: float = 2.0,
    rounds: tuple[int, int] = (5, 25),
    rest: float = 0.0,
) -> dict[str, list[float]]:
    """Times calls in turn, so that whatever slows the machine down meets all of them alike.

    Each round has an order of its own, always the same ones, and a short call is made once before
    it is timed, since its predecessor's arrays are what the caches hold.

    Args:
      calls: by name; they have run before, so that nothing is compiled.
      budget: seconds that all may take together, as far as `rounds` allows.
      rounds: the fewest and the most measurements of each; two where a round takes seconds.
      rest: seconds before each measurement, for the threads of the one before to fall asleep.

    Returns:
      Seconds of one call, a list of as many for each name; entries of one place are of one round.
    """
    took = {name: seconds(call) for name, call in calls.items()}
    repeats = {name: max(1, min(1000, round(SHORTEST / max(t, 1e-6)))) for name, t in took.items()}
    once = sum(rest + t * (repeats[name] + (t < LONG)) for name, t in took.items())
    fewest, most = rounds
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, names = random.Random(0), list(calls)
    for _ in range(max(fewest if once < VERY_LONG else 2, min(most, int(budget / once)))):
        order.shuffle(names)
        for name in names:
            time.sleep(rest)
            if took[name] < LONG:
                calls[name]()
            times[name].append(seconds(calls[name], repeats[name]))
    return times


def paired_ratio(times: list[float], to: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(times, to, strict=True))


def interval(times: list[float], to: list[float]) -> tuple[float, float]:
    """Where that median lies with 95 % confidence, by the order of the ratios alone.

    Reference: Conover, "Practical Nonparametric Statistics" (1999), section 3.2.
    """
    ratios = sorted(a / b for a, b in zip(times, to, strict=True))
    out = max(0, math.floor(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    return ratios[out], ratios[-1 - out]
