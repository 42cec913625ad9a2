"""Curves over the steps of a run, as an SVG of any width can draw them.

A curve becomes positions in percent of its plotting area, so a page can stretch it
while its text keeps its size. Axes end on ticks, and ticks are round numbers.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from jconv.report.formatting import number, number_with_error, percent, percent_with_error

POINTS = 300  # points drawn of one curve
DOTTED = 40  # a curve of at most this many points also shows each of them

_TINY = 1e-300  # has no place on a logarithmic axis: the powers of ten end soon below it

Points = Sequence[tuple[int, float]]  # (step, value), in order of steps
Write = Callable[[float], str]
_Point = tuple[int, float, float]  # (step, value, standard error), the last NaN where none is known


@dataclass(frozen=True)
class Axis:
    """One axis: its two ends, and its ticks as `(percent from the low end, label)`."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...] = ()

    def place(self, value: float) -> float:
        """Where `value` stands, in percent; not a number where it cannot stand."""
        if not _has_place(value, self.log):
            return math.nan
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(100 * (value - low) / (high - low), 2)


@dataclass(frozen=True)
class Curve:
    """One line of a chart, in percent from the left and from the top.

    Attributes:
      name: what it shows, such as "training".
      place: of its series among all that were asked for, from 1; has its colour.
      path: an SVG path in a box of 100 by 100.
      dots: where each point stands, for a curve of few points.
      points: `(from the left, step, value)` of each point, the last two as text.
      band: an SVG path around what is within a standard error of the curve; empty without errors.
    """

    name: str
    place: int
    path: str
    band: str
    dots: tuple[tuple[float, float], ...]
    points: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over the steps of a run.

    Attributes:
      title: what is drawn.
      x, y: the axes.
      curves: at least one.
      together: logged steps averaged into one point; 1 where none are.
    """

    title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    together: int = 1

    @property
    def last_step(self) -> str:
        """The last step of any curve, as text."""
        return max((curve.points[-1] for curve in self.curves), key=lambda point: point[0])[1]


def chart(
    title: str,
    series: Mapping[str, Points],
    *,
    last_step: int,
    errors: Mapping[str, Points] | None = None,
    log: bool | None = None,
    share: bool = False,
) -> Chart | None:
    """Draws each series of `(step, value)`; none where no series has a point.

    Args:
      title: what is drawn.
      series: the points of each curve, in order of steps.
      last_step: where the horizontal axis ends.
      errors: standard errors of series, by the same names, at the same steps.
      log: a logarithmic axis; by default, where the values span over two decades.
      share: values are shares of one, to be written in percent.
    """
    places = {name: place for place, name in enumerate(series, 1)}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    known = {name: dict(points) for name, points in (errors or {}).items()}
    together = max(map(_together, series.values()))
    thinned = {name: _thinned(points, known.get(name, {})) for name, points in series.items()}
    values = [value for points in thinned.values() for _, value, _ in points]
    log = _spans_decades(values) if log is None else log
    bounds = [_bounds(point, share) for points in thinned.values() for point in points]
    # On a logarithmic axis a bound near zero would take all the room.
    values += [high for _, high in bounds] + ([] if log else [low for low, _ in bounds])
    x, y = step_axis(last_step), value_axis(values, log=log, share=share)
    curves = tuple(_curve(name, places[name], thin, x, y, share) for name, thin in thinned.items())
    return Chart(title, x, y, curves, together)


def _spans_decades(values: Sequence[float]) -> bool:
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) > 100 * min(finite)


def _together(points: Points) -> int:
    """How many neighbours become one point, for at most `POINTS` to be left."""
    return math.ceil(len(points) / POINTS)


def _thinned(points: Points, errors: Mapping[int, float]) -> list[_Point]:
    """Replaces neighbours by their mean, at the step of the last of them."""
    size = _together(points)
    bins = [points[k : k + size] for k in range(0, len(points), size)]
    return [
        (
            b[-1][0],
            sum(value for _, value in b) / len(b),
            sum(errors.get(step, math.nan) for step, _ in b) / len(b),
        )
        for b in bins
    ]


def _bounds(point: _Point, share: bool) -> tuple[float, float]:
    _, value, error = point
    if math.isnan(error):
        return value, value
    low, high = value - error, value + error
    return (max(low, 0.0), min(high, 1.0)) if share else (low, high)


def _curve(name: str, place: int, points: Sequence[_Point], x: Axis, y: Axis, share: bool) -> Curve:
    places = [(x.place(step), round(100 - y.place(value), 2)) for step, value, _ in points]
    seen = [(left, top) for left, top in places if math.isfinite(top)]
    texts = [(left, number(point[0]), _text(point, share))
             for (left, _), point in zip(places, points, strict=True)]  # fmt: skip
    dots = tuple(seen) if len(points) <= DOTTED else ()
    return Curve(name, place, _path(places), _band(points, x, y, share), dots, tuple(texts))


def _text(point: _Point, share: bool) -> str:
    _, value, error = point
    if math.isnan(error):
        return percent(value) if share else number(value, digits=3)
    return percent_with_error(value, error) if share else number_with_error(value, error)


def _band(points: Sequence[_Point], x: Axis, y: Axis, share: bool) -> str:
    """An SVG path forth along the upper bounds and back along the lower ones."""
    pieces: list[list[tuple[float, float, float]]] = [[]]
    for point in points:
        low, high = (y.place(bound) for bound in _bounds(point, share))
        if math.isfinite(high) and math.isfinite(point[2]):
            # A lower bound that has no place on a logarithmic axis is below all of it.
            bottom = max(low, 0.0) if math.isfinite(low) else 0.0
            pieces[-1].append((x.place(point[0]), 100 - high, 100 - bottom))
        elif pieces[-1]:
            pieces.append([])
    return "".join(map(_outline, pieces))


def _outline(piece: Sequence[tuple[float, float, float]]) -> str:
    if len(piece) < 2:
        return ""
    forth = [f"{left:g} {top:.6g}" for left, top, _ in piece]
    back = [f"{left:g} {bottom:.6g}" for left, _, bottom in reversed(piece)]
    return f"M{'L'.join(forth + back)}Z"


def _path(places: Sequence[tuple[float, float]]) -> str:
    """An SVG path; a point that cannot stand breaks the line."""
    path, pen = [], "M"
    for left, top in places:
        if math.isfinite(top):
            path.append(f"{pen}{left:g} {top:g}")
        pen = "L" if math.isfinite(top) else "M"
    return "".join(path)


def step_axis(last_step: int) -> Axis:
    """Steps from 0 to the last one, shared by all curves of a run."""
    high = max(last_step, 1)
    ticks = range(0, high + 1, math.ceil(_round_step(high / 4)))
    return _axis(0, high, False, ticks, number)


def value_axis(values: Sequence[float], *, log: bool, share: bool = False) -> Axis:
    """An axis that holds `values` and ends on ticks."""
    usable = [value for value in values if _has_place(value, log)] or [1.0 if log else 0.0, 1.0]
    low, high = min(usable), max(usable)
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)
    write = partial(percent, decimals=2) if share else partial(number, digits=6)
    return _axis(ticks[0], ticks[-1], log, ticks, write)


def _has_place(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > _TINY or not log)


def _axis(low: float, high: float, log: bool, ticks: Iterable[float], write: Write) -> Axis:
    bare = Axis(low, high, log)
    return Axis(low, high, log, tuple((bare.place(tick), write(tick)) for tick in ticks))


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * m for m in (1, 2, 2.5, 3, 4, 5, 10) if power * m >= step * (1 - 1e-9))


def _linear_ticks(low: float, high: float) -> list[float]:
    flat = high - low <= 1e-6 * abs(high)
    if low > 0 and (flat or low <= high / 2):
        low = 0.0
    elif flat:
        high = 0.0 if low < 0 else 1.0
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 3:
        stride = math.ceil((last - first) / 6)
        return [10.0**k for k in range(first // stride * stride, last + stride, stride)]
    ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
    start = max((k for k, tick in enumerate(ticks) if tick <= low * (1 + 1e-9)), default=0)
    stop = min(k for k, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[start : max(stop, start + 1) + 1]
