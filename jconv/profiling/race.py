"""Every algorithm on one convolution: which was fastest, and what the choice of `auto` costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import jax

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS
from jconv.bench.implementations import by_jconv, operands, passes_of
from jconv.bench.layers import Layer
from jconv.profiling.single_op import arrays, call_of
from jconv.profiling.timing import Call, interleaved, paired_ratio, seconds
from jconv.selection.select import eligible_algorithms, select_algorithm
from jconv.transforms.inspect import inspect

HOPELESS = 3.0  # times the fastest so far, in one call, past which no more are made
MOST_HELD = 4 * 2**30  # bytes of workspace past which an algorithm is not tried
# A second; what could not win at this speed is not tried.
MOST_FLOPS = {"cpu": 3e11, "gpu": 1e15, "tpu": 1e15}


@dataclass(frozen=True)
class Race:
    """One convolution by every algorithm that can do it within reason.

    Attributes:
      problem: the convolution.
      seconds: of one call, the median, by algorithm; the first and only call of hopeless ones.
      chosen: what `auto` takes.
      regret: how many times longer the chosen takes than the fastest, at least 1.
    """

    problem: Problem
    seconds: Mapping[str, float]
    chosen: str
    regret: float

    @property
    def fastest(self) -> str:
        """The algorithm that took least."""
        return min(self.seconds, key=self.seconds.__getitem__)


def problems_of(layer: Layer) -> list[Problem]:
    """What a layer convolves in a forward pass with its gradients, in this order."""
    _, with_gradients = passes_of(layer, by_jconv(layer))
    found = inspect(with_gradients)(*operands(layer)).convolutions
    return [convolution.problem for convolution in found]


def race(problem: Problem, *, budget: float = 1.0, final: bool = False) -> Race:
    """Times every algorithm on one problem, on the default device.

    Args:
      problem: of known sizes.
      budget: seconds of measuring, as far as few rounds allow.
      final: whether the chosen and the fastest are timed once more, against each other alone, for
        their `regret`: the fastest of several noisy ones seems faster than it is.
    """
    platform = jax.default_backend()
    chosen, most_flops = select_algorithm(problem, platform).algorithm, MOST_FLOPS[platform]
    x, kernel = arrays(problem)
    calls: dict[str, Call] = {}
    once: dict[str, float] = {}
    for name in sorted(
        eligible_algorithms(problem), key=lambda name: name != chosen
    ):  # it comes first
        algorithm = ALGORITHMS[name]
        cost = algorithm.cost(problem)
        hopeless = once and cost.flops > most_flops * max(min(once.values()), 1e-4)
        if name != chosen and (hopeless or cost.workspace > MOST_HELD):
            continue
        call = call_of(algorithm, problem, x, kernel)
        call()  # compiles
        once[name] = seconds(call)
        calls[name] = call
    hope = HOPELESS * min(once.values()) + 2e-5
    racing = {n: call for n, call in calls.items() if once[n] < hope or n == chosen}
    times = interleaved(racing, budget=budget, rounds=(3, 15))
    medians = {name: statistics.median(values) for name, values in times.items()}
    regret = medians[chosen] / min(medians.values())
    if final and regret > 1:
        finalists = {name: calls[name] for name in (chosen, min(medians, key=medians.__getitem__))}
        ours, theirs = interleaved(finalists, budget=budget).values()
        regret = max(1.0, paired_ratio(ours, to=theirs))
    return Race(problem, once | medians, chosen, regret)
