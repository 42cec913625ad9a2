"""Timing that a noisy machine cannot fool: medians of interleaved runs, and paired ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Call = Callable[[], object]

SHORTEST = 2e-3  # seconds of one measurement; shorter calls are repeated in it


def seconds(call: Call, repeats: int = 1) -> float:
    """Of one call, the mean of some in a row; each must wait for its own result."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def interleaved(
    calls: Mapping[str, Call], *, budget: float = 2.0, rounds: tuple[int, int] = (5, 25)
) -> dict[str, list[float]]:
    """Times calls in turn, so that whatever slows the machine down meets all of them alike.

    Args:
      calls: by name; they have run before, so that nothing is compiled.
      budget: seconds that all may take together, as far as `rounds` allows.
      rounds: the fewest and the most measurements of each.

    Returns:
      Seconds of one call, a list of as many for each name; entries of one place are of one round.
    """
    repeats = {}
    for name, call in calls.items():
        repeats[name] = max(1, min(1000, round(SHORTEST / max(seconds(call), 1e-6))))
    once = sum(seconds(call, repeats[name]) * repeats[name] for name, call in calls.items())
    fewest, most = rounds
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(fewest, min(most, int(budget / once)))):
        for name, call in calls.items():
            times[name].append(seconds(call, repeats[name]))
    return times


def paired_ratio(times: list[float], to: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(times, to, strict=True))
