"""What an algorithm is: a value that computes the canonical convolution and can be asked about it.

y[b, n, o, g, f] = sum over t, c of
    x[b, n, (o*stride + t*dilation - pad) / input_dilation, g, c] * kernel[b, t, g, c, f]
"""

from __future__ import annotations

import abc
import math

import jax
import jax.numpy as jnp

from jconv._core.geometry import Window
from jconv._core.problem import Cost, Precision, Problem, issubdtype, unit_roundoff
from jconv._core.validation import received


class Algorithm(abc.ABC):
    """One way to compute the canonical convolution. Subclasses are frozen dataclasses."""

    def __call__(
        self,
        x: jax.Array,
        kernel: jax.Array,
        window: Window,
        *,
        precision: Precision = None,
        preferred_element_type: jnp.dtype | None = None,
    ) -> jax.Array:
        """Convolves `x` (b, n, *input, g, c) with `kernel` (b, *taps, g, c, f).

        Args:
          x: the inputs.
          kernel: the kernels, of the same dtype.
          window: the spatial axes.
          precision: as in `lax.dot_general`.
          preferred_element_type: dtype of the result; that of `x` if None.

        Returns:
          y (b, n, *output, g, f).
        """
        dtype = jnp.dtype(preferred_element_type or x.dtype)
        sizes = (*x.shape[2:], *kernel.shape, *window.output)
        if 0 in sizes or (isinstance(x.shape[1], int) and x.shape[1] == 0):  # it may be symbolic
            shape = (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])
            return jnp.zeros(shape, dtype)
        return self.solve(x, kernel, window, precision, dtype)

    @abc.abstractmethod
    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        """Convolves as a call does, to `dtype`, what has something to sum and to compute."""

    def supports(self, problem: Problem) -> str | None:
        """Why this algorithm cannot solve `problem`; None where it can."""
        return None

    def regime(self, problem: Problem) -> str:
        """Which of its ways of computing a problem takes; they differ in speed."""
        return "more taps than outputs" if problem.is_long else "more outputs than taps"

    @abc.abstractmethod
    def cost(self, problem: Problem) -> Cost:
        """What solving `problem` spends."""

    def error_bound(self, problem: Problem) -> float:
        """Bounds the error, relative to the largest output that is free of cancellation.

            max |y_computed - y|  <=  error_bound * max (|x| convolved with |kernel|),

        each maximum over the pixels and images of one output channel, barring overflow and
        underflow. Rounding errors are taken to be independent, with which a sum of `n` products
        errs by less than `4 sqrt(n)` roundings, all but once in 1,500 outputs; in the worst case
        it would be `n`. No input that the tests try exceeds it, equal numbers and one of 1e6
        among them. It is within 100 times of what is seen on random inputs up to about 500 terms;
        with more, equal and random inputs themselves lie 100 times apart.

        Reference: Higham & Mary, "A New Approach to Probabilistic Rounding Error Analysis" (2019),
        theorem 2.4; for the worst case, Higham, "Accuracy and Stability of Numerical Algorithms"
        (2002), section 3.1.
        """
        return relative_error(problem, roundings(problem.terms, problem.outputs))


def check_inner(inner: Algorithm) -> None:
    """Check the algorithm to which another one delegates.

    Raises:
      ValueError: if it is not an algorithm.
    """
    if not isinstance(inner, Algorithm):
        raise ValueError(
            f"`inner` must be an algorithm, such as `jconv.Direct()` or "
            f"`jconv.ALGORITHMS['fft']`. {received('inner', inner)}"
        )


def roundings(terms: int, columns: int = 1) -> float:
    """By how many unit roundoffs a sum of `terms` products may err.

    A product of matrices with some columns is summed in blocks. One with few is summed one term
    after the other: equal terms then drift, by up to a third of a roundoff each.
    """
    if columns >= 8:
        return min(terms, 4 * math.sqrt(terms))
    return min(terms, max(6 * math.sqrt(terms), terms / 3))


def relative_error(problem: Problem, count: float) -> float:
    """The bound for sums that err by `count` roundings of the accumulator.

    A complex product rounds as much as sqrt(2) times two real ones (Higham, section 3.6).
    """
    if not issubdtype(problem.accumulator, jnp.inexact):
        return 0.0
    u, own = unit_roundoff(problem.accumulator), unit_roundoff(problem.dtype)
    if issubdtype(problem.accumulator, jnp.complexfloating):
        count = math.sqrt(2) * (count + 2)
    if 0 < own < u:  # operands are rounded to a narrower accumulator
        count += 2
    return count * u + unit_roundoff(problem.result or problem.dtype)
