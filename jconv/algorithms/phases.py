"""Polyphase decomposition: strided and transposed convolutions as dense ones.

`jconv.algorithms.polyphase` has the algebra. The decomposition wins on transposed convolutions,
among them the input gradients of strided convolutions, where XLA multiplies by the zeros between
the pixels. It gains nothing on a dense window, which goes to the inner algorithm unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from jconv._core.problem import Cost, Problem
from jconv.algorithms.base import Algorithm, check_inner
from jconv.algorithms.polyphase import DenseAlgorithm, dense_problem
from jconv.algorithms.xla import Xla


@dataclass(frozen=True)
class Phases(DenseAlgorithm):
    """Dense convolution of pixels and taps that are sorted by phase.

    Args:
      inner: the algorithm of the dense convolution.

    Raises:
      ValueError: if `inner` is not an algorithm.
    """

    inner: Algorithm = Xla()

    def __post_init__(self):
        check_inner(self.inner)

    def solve_dense(self, x, kernel, window, precision, dtype):
        return self.inner(x, kernel, window, precision=precision, preferred_element_type=dtype)

    def supports_dense(self, problem: Problem) -> str | None:
        return self.inner.supports(problem)

    def regime(self, problem: Problem) -> str:
        labels = [super().regime(problem)]
        labels += ["groups"] * (problem.groups > 1) + ["volumes"] * (problem.window.rank > 2)
        return ", ".join(labels)

    def dense_cost(self, problem: Problem) -> Cost:
        return self.inner.cost(problem)

    def error_bound(self, problem: Problem) -> float:
        return self.inner.error_bound(dense_problem(problem))
