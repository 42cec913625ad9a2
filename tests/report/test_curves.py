"""Charts: axes, curves and bands."""

import numpy as np
import pytest

from jconv.report.chart_axes import step_axis, value_axis
from jconv.report.curves import MAX_POINTS, make_chart


def test_axis_is_logarithmic_only_over_more_than_two_decades():
    def loss(last):
        return make_chart("Loss", {"": [(0, 1.0), (10, last)]}, last_step=10)

    assert loss(0.009).y.log and not loss(0.02).y.log and not loss(-1.0).y.log
    assert loss(0.02).y.ticks[0] == (0.0, "0")
    assert [label for _, label in loss(1e-7).y.ticks] == ["10⁻⁸", "10⁻⁶", "10⁻⁴", "0.01", "1"]


@pytest.mark.parametrize("last", [0, 1, 3, 10, 360, 1200, 20_000, 10**18])
def test_step_axis_has_few_integer_ticks(last):
    axis = step_axis(last)

    steps = [int(label.replace(",", "")) for _, label in axis.ticks]
    assert 2 <= len(steps) <= 5
    assert [axis.position(step) for step in steps] == [position for position, _ in axis.ticks]
    assert steps[0] == 0 and len(set(np.diff(steps))) == 1 and axis.high == max(last, 1)


@pytest.mark.parametrize("low, high", [(0, 0), (3.2, 3.2), (-4, -4), (-1, 7), (0.97, 0.991)])
@pytest.mark.parametrize("log", [False, True])
def test_value_axis_contains_its_values_between_distinct_ticks(low, high, log):
    axis = value_axis([low, high, float("nan")], log=log)

    labels = [label for _, label in axis.ticks]
    assert len(labels) == len(set(labels)) >= 2
    assert (axis.ticks[0][0], axis.ticks[-1][0]) == (0, 100)
    assert all(0 <= axis.position(v) <= 100 for v in (low, high) if v > 0 or not log)


def test_nan_interrupts_the_curve():
    points = [(0, 1.0), (1, 2.0), (2, float("nan")), (3, 1.0), (4, 2.0)]

    curve = make_chart("", {"": points}, last_step=4).curves[0]

    assert curve.path == "M0 50L25 0M75 50L100 0"
    assert len(curve.dots) == 4
    assert curve.points[2][2] == "not a number"


def test_long_curves_are_averaged():
    points = [(step, float(step % 2)) for step in range(10_000)]

    chart = make_chart("", {"": points}, last_step=9_999)

    assert len(chart.curves[0].points) <= MAX_POINTS
    assert chart.steps_per_point == 34
    assert {value for _, _, value in chart.curves[0].points} == {"0.5"}


def test_band_is_one_standard_error_wide_on_both_sides():
    chart = make_chart(
        "", {"a": [(0, 1.0), (4, 3.0)]}, last_step=4, errors={"a": [(0, 1.0), (4, 1.0)]}
    )
    assert (chart.y.low, chart.y.high) == (0, 4)
    assert chart.curves[0].band == "M0 50L100 0L100 50L0 100Z"
    assert chart.curves[0].points[1][2] == "3.0 ± 1.0"

    share = make_chart("", {"a": [(0, 0.99), (4, 0.98)]}, last_step=4, fraction=True,
                         errors={"a": [(0, 0.05), (4, 0.0)]})  # fmt: skip
    assert share.y.high == 1.0


def test_band_is_clipped_at_the_end_of_a_logarithmic_axis():
    chart = make_chart("", {"a": [(0, 1.0), (4, 1e-4)]}, last_step=4, log=True,
                         errors={"a": [(0, 0.1), (4, 1e-3)]})  # fmt: skip
    assert chart.y.low == 1e-4 and chart.curves[0].band.split("L")[2] == "100 100"


def test_nan_interrupts_the_band():
    points = [(step, float("nan") if step == 2 else 1.0) for step in range(5)]
    errors = [(step, 0.5) for step in range(5)]
    chart = make_chart("", {"a": points}, last_step=4, errors={"a": errors})
    assert chart.curves[0].band.count("M") == chart.curves[0].band.count("Z") == 2
