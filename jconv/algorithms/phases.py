"""Phases: strided and transposed convolutions by sorting them into a dense one.

See `dense` for the algebra. Wins on the input gradients of strided convolutions, and so on
transposed convolutions, where XLA multiplies by the zeros between the pixels; a dense window goes
to the inner algorithm as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from jconv._core.problem import Cost, Problem
from jconv.algorithms.base import Algorithm, check_inner
from jconv.algorithms.polyphase import DenseAlgorithm, dense_problem
from jconv.algorithms.xla import Xla


@dataclass(frozen=True)
class Phases(DenseAlgorithm):
    """Sorts pixels and taps by phase, then convolves densely.

    Args:
      inner: the algorithm of the dense convolution.

    Raises:
      ValueError: for an `inner` that is not an algorithm.
    """

    inner: Algorithm = Xla()

    def __post_init__(self):
        check_inner(self.inner)

    def dense(self, x, kernel, window, precision, dtype):
        return self.inner(x, kernel, window, precision=precision, preferred_element_type=dtype)

    def supports_dense(self, problem: Problem) -> str | None:
        return self.inner.supports(problem)

    def regime(self, problem: Problem) -> str:
        words = [super().regime(problem)]
        words += ["groups"] * (problem.groups > 1) + ["volumes"] * (problem.window.rank > 2)
        return ", ".join(words)

    def dense_cost(self, problem: Problem) -> Cost:
        return self.inner.cost(problem)

    def error_bound(self, problem: Problem) -> float:
        return self.inner.error_bound(dense_problem(problem))
