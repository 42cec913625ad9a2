"""Races of all algorithms on one convolution."""

import jax
import pytest
from helpers.bench_layers import SMALL_LAYERS

import jconv
from jconv.bench.implementations import problems_of
from jconv.profiling.race import race
from jconv.selection.select import eligible_algorithms, select_algorithm


@pytest.mark.parametrize("layer", [SMALL_LAYERS[0], SMALL_LAYERS[4]], ids=["strided", "depthwise"])
def test_a_race_times_every_eligible_algorithm(layer):
    problem = problems_of(layer)[-1]
    result = race(problem, budget=0, final=True)
    assert set(result.seconds) == set(eligible_algorithms(problem))
    assert result.chosen == select_algorithm(problem, jax.default_backend()).algorithm
    assert all(seconds > 0 for seconds in result.seconds.values())
    assert result.regret >= 1


def test_the_regret_of_a_final_compares_two_algorithms_alone(monkeypatch):
    problem, timed = problems_of(SMALL_LAYERS[0])[0], []
    chosen = select_algorithm(problem, jax.default_backend()).algorithm

    def fixed_times(calls, **options):
        timed.append(set(calls))
        if len(timed) == 1:  # two algorithms are faster than the chosen one
            times = {name: [8.0] for name in calls} | {chosen: [4.0]}
            return times | {"winograd": [2.0], "im2col": [3.0]}
        return {name: [1.5, 3.0, 9.0] if name == chosen else [1.0] * 3 for name in calls}

    monkeypatch.setattr("jconv.profiling.race.CUTOFF_RATIO", 1e9)
    monkeypatch.setattr(
        "jconv.profiling.race.select_algorithm", lambda *_: select_algorithm(problem, "cpu")
    )
    monkeypatch.setattr("jconv.profiling.race.time_interleaved", fixed_times)
    first = race(problem)
    assert (first.chosen, first.fastest, first.regret) == (chosen, "winograd", 2.0)
    timed.clear()
    final = race(problem, final=True)
    assert timed[1] == {chosen, "winograd"} and timed[0] == set(eligible_algorithms(problem))
    assert final.fastest == "winograd" and final.regret == 3.0


def test_algorithms_beyond_the_cutoff_are_called_once(monkeypatch):
    problem, timed = problems_of(SMALL_LAYERS[0])[0], []

    def jitted_call(algorithm, *_):
        call = lambda: None
        call.seconds = 1.0 if algorithm == jconv.ALGORITHMS["im2col"] else 0.1
        return call

    def fixed_times(calls, **options):
        timed.extend(calls)
        return {name: [0.2] for name in calls}

    monkeypatch.setattr("jconv.profiling.race.jitted_call", jitted_call)
    monkeypatch.setattr("jconv.profiling.race.time_call", lambda call: call.seconds)
    monkeypatch.setattr("jconv.profiling.race.time_interleaved", fixed_times)
    result = race(problem)
    assert set(timed) == set(eligible_algorithms(problem)) - {"im2col"}
    assert result.seconds == dict.fromkeys(timed, 0.2) | {"im2col": 1.0}
