"""Charts of metrics over the steps of a run, as SVG paths that scale to any width.

Positions are in percent of the plotting area, so a page can stretch a chart while its text keeps
its size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jconv.report.chart_axes import ChartAxis, step_axis, value_axis
from jconv.report.formatting import number, number_with_error, percent, percent_with_error

MAX_POINTS = 300  # of one curve
MAX_DOTS = 40  # a curve of at most so many points shows each of them as a dot

Points = Sequence[tuple[int, float]]  # (step, value), in order of steps


class _Point(NamedTuple):
    """A point of a curve; its standard error is NaN if it is unknown."""

    step: int
    value: float
    error: float

    def bounds(self, fraction: bool) -> tuple[float, float]:
        """Return value minus and plus the standard error, if it is known."""
        if math.isnan(self.error):
            return self.value, self.value
        low, high = self.value - self.error, self.value + self.error
        return (max(low, 0.0), min(high, 1.0)) if fraction else (low, high)

    def text(self, fraction: bool) -> str:
        """Format the value, with its standard error if that is known."""
        if math.isnan(self.error):
            return percent(self.value) if fraction else number(self.value, digits=3)
        with_error = percent_with_error if fraction else number_with_error
        return with_error(self.value, self.error)


@dataclass(frozen=True)
class Curve:
    """One curve of a chart, in percent from the left and from the top.

    Attributes:
      name: name of the curve, such as "training".
      index: index of its series, from 1, also counting series without points; selects its colour.
      path: an SVG path in a box of 100 by 100.
      band: an SVG path around the values within one standard error; empty without errors.
      dots: positions of the points, if they are few.
      points: `(position from the left, step, value)` of each point, the last two as text.
    """

    name: str
    index: int
    path: str
    band: str
    dots: tuple[tuple[float, float], ...]
    points: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over the steps of a run.

    Attributes:
      title: title of the chart.
      x, y: the axes.
      curves: at least one.
      steps_per_point: number of logged steps averaged into one point.
    """

    title: str
    x: ChartAxis
    y: ChartAxis
    curves: tuple[Curve, ...]
    steps_per_point: int = 1

    @property
    def last_step(self) -> str:
        """The last step of any curve, as text."""
        return max((curve.points[-1] for curve in self.curves), key=lambda point: point[0])[1]


def make_chart(
    title: str,
    series: Mapping[str, Points],
    *,
    last_step: int,
    errors: Mapping[str, Points] | None = None,
    log: bool | None = None,
    fraction: bool = False,
) -> Chart | None:
    """Draw a curve for each series of `(step, value)`; return None if all series are empty.

    Args:
      title: title of the chart.
      series: the points of each curve, in order of steps.
      last_step: end of the horizontal axis.
      errors: standard errors of the series, by the same names, at the same steps.
      log: whether the axis is logarithmic; by default it is if values span over two decades.
      fraction: whether values are fractions of one, formatted in percent.
    """
    indices = {name: index for index, name in enumerate(series, 1)}
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    error_at = {name: dict(points) for name, points in (errors or {}).items()}
    means = {name: _average(points, error_at.get(name, {})) for name, points in series.items()}
    values = [point.value for points in means.values() for point in points]
    log = _spans_two_decades(values) if log is None else log
    bounds = [point.bounds(fraction) for points in means.values() for point in points]
    # A lower bound near zero would take most of a logarithmic axis.
    values += [high for _, high in bounds] + ([] if log else [low for low, _ in bounds])
    x, y = step_axis(last_step), value_axis(values, log=log, fraction=fraction)
    curves = tuple(
        _make_curve(name, indices[name], points, x, y, fraction) for name, points in means.items()
    )
    return Chart(title, x, y, curves, max(map(_steps_per_point, series.values())))


def _spans_two_decades(values: Sequence[float]) -> bool:
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) > 100 * min(finite)


def _steps_per_point(points: Points) -> int:
    return math.ceil(len(points) / MAX_POINTS)


def _average(points: Points, error_at: Mapping[int, float]) -> list[_Point]:
    """Replace neighbouring points by their mean, at the step of the last of them."""
    size = _steps_per_point(points)
    bins = [points[k : k + size] for k in range(0, len(points), size)]
    return [
        _Point(
            neighbours[-1][0],
            sum(value for _, value in neighbours) / len(neighbours),
            sum(error_at.get(step, math.nan) for step, _ in neighbours) / len(neighbours),
        )
        for neighbours in bins
    ]


def _make_curve(
    name: str, index: int, points: Sequence[_Point], x: ChartAxis, y: ChartAxis, fraction: bool
) -> Curve:
    positions = [
        (x.position(point.step), round(100 - y.position(point.value), 2)) for point in points
    ]
    drawn = [(left, top) for left, top in positions if math.isfinite(top)]
    texts = [
        (left, number(point.step), point.text(fraction))
        for (left, _), point in zip(positions, points, strict=True)
    ]
    return Curve(
        name=name,
        index=index,
        path=_path(positions),
        band=_band(points, x, y, fraction),
        dots=tuple(drawn) if len(points) <= MAX_DOTS else (),
        points=tuple(texts),
    )


def _path(positions: Sequence[tuple[float, float]]) -> str:
    """Return an SVG path, interrupted at points that cannot be drawn."""
    commands, command = [], "M"
    for left, top in positions:
        if math.isfinite(top):
            commands.append(f"{command}{left:g} {top:g}")
        command = "L" if math.isfinite(top) else "M"
    return "".join(commands)


def _band(points: Sequence[_Point], x: ChartAxis, y: ChartAxis, fraction: bool) -> str:
    """Return an SVG path around all values within one standard error."""
    segments: list[list[tuple[float, float, float]]] = [[]]
    for point in points:
        low, high = (y.position(bound) for bound in point.bounds(fraction))
        if math.isfinite(high) and math.isfinite(point.error):
            # A lower bound that cannot be drawn on a logarithmic axis lies below its end.
            bottom = max(low, 0.0) if math.isfinite(low) else 0.0
            segments[-1].append((x.position(point.step), 100 - high, 100 - bottom))
        elif segments[-1]:
            segments.append([])
    return "".join(map(_outline, segments))


def _outline(segment: Sequence[tuple[float, float, float]]) -> str:
    """Return a closed path: forward along the upper bounds, back along the lower ones."""
    if len(segment) < 2:
        return ""
    upper = [f"{left:g} {top:.6g}" for left, top, _ in segment]
    lower = [f"{left:g} {bottom:.6g}" for left, _, bottom in reversed(segment)]
    return f"M{'L'.join(upper + lower)}Z"
