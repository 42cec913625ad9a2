"""Axes of charts: ends, ticks, and positions in percent. Ticks are round numbers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from jconv.report.formatting import number, percent

_MIN_LOG_VALUE = 1e-300  # smaller values are not drawn on a logarithmic axis: floats end there


@dataclass(frozen=True)
class ChartAxis:
    """One axis: its two ends, and its ticks as `(percent from the low end, label)`."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...] = ()

    def position(self, value: float) -> float:
        """Return the position of `value` in percent; NaN if it cannot be drawn."""
        if not _is_drawable(value, self.log):
            return math.nan
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(100 * (value - low) / (high - low), 2)


def step_axis(last_step: int) -> ChartAxis:
    """Return the axis of steps, from 0 to the last one, which all charts of a run share."""
    high = max(last_step, 1)
    ticks = range(0, high + 1, math.ceil(_round_interval(high / 4)))
    return _make_axis(0, high, False, ticks, number)


def value_axis(values: Sequence[float], *, log: bool, fraction: bool = False) -> ChartAxis:
    """Return an axis that contains `values` and ends at ticks.

    Args:
      values: those that cannot be drawn are ignored.
      log: whether the axis is logarithmic.
      fraction: whether values are fractions of one, labelled in percent.
    """
    drawable = [v for v in values if _is_drawable(v, log)] or [1.0 if log else 0.0, 1.0]
    low, high = min(drawable), max(drawable)
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)
    label = partial(percent, decimals=2) if fraction else partial(number, digits=6)
    return _make_axis(ticks[0], ticks[-1], log, ticks, label)


def _is_drawable(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > _MIN_LOG_VALUE or not log)


def _make_axis(
    low: float, high: float, log: bool, ticks: Iterable[float], label: Callable[[float], str]
) -> ChartAxis:
    bare = ChartAxis(low, high, log)
    return ChartAxis(low, high, log, tuple((bare.position(tick), label(tick)) for tick in ticks))


def _round_interval(interval: float) -> float:
    """Return the smallest round number that is not below `interval`."""
    power = 10.0 ** math.floor(math.log10(interval))
    multiples = (power * m for m in (1, 2, 2.5, 3, 4, 5, 10))
    return next(multiple for multiple in multiples if multiple >= interval * (1 - 1e-9))


def _linear_ticks(low: float, high: float) -> list[float]:
    constant = high - low <= 1e-6 * abs(high)
    if low > 0 and (constant or low <= high / 2):
        low = 0.0
    elif constant:
        high = 0.0 if low < 0 else 1.0
    interval = _round_interval((high - low) / 4)
    first, last = math.floor(low / interval + 1e-9), math.ceil(high / interval - 1e-9)
    return [k * interval for k in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 3:
        stride = math.ceil((last - first) / 6)
        return [10.0**k for k in range(first // stride * stride, last + stride, stride)]
    ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
    start = max((k for k, tick in enumerate(ticks) if tick <= low * (1 + 1e-9)), default=0)
    stop = min(k for k, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[start : max(stop, start + 1) + 1]
