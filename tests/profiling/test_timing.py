"""Interleaved timing and paired statistics."""

import itertools

from jconv.profiling.timing import confidence_interval, paired_ratio, time_interleaved


def test_calls_are_timed_in_turn_in_changing_orders():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    times = time_interleaved(calls, budget=0, rounds=(6, 9))
    assert [len(values) for values in times.values()] == [6, 6, 6]
    turns = [name for name, _ in itertools.groupby(order)]
    assert turns[:3] == ["a", "b", "c"]  # the first calls, which set the number of repeats
    followers = {(one, next_) for one, next_ in itertools.pairwise(turns[3:])}
    assert len(followers) > 3  # no call always has the same predecessor


def test_the_paired_ratio_is_the_median_over_rounds():
    assert paired_ratio([2.0, 9.0, 4.0], to=[1.0, 3.0, 4.0]) == 2.0


def test_the_confidence_interval_of_a_median():
    ones = [1.0] * 25
    times = [float(i) for i in range(25)]
    assert confidence_interval(times, to=ones) == (7, 17)  # 96 % by the binomial
    assert confidence_interval([2.0, 1.0, 3.0], to=[1.0] * 3) == (1, 3)
