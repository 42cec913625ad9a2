"""The base class of all algorithms, and the rounding errors of sums.

An algorithm is a value that computes the canonical convolution and states its cost and its error
bound:

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
    """A way to compute the canonical convolution.

    Subclasses are frozen dataclasses that implement `solve` and `cost`.
    """

    def __call__(
        self,
        x: jax.Array,
        kernel: jax.Array,
        window: Window,
        *,
        precision: Precision = None,
        preferred_element_type: jnp.dtype | None = None,
    ) -> jax.Array:
        """Convolve `x` (b, n, *input, g, c) with `kernel` (b, *taps, g, c, f).

        Args:
          x: the inputs.
          kernel: the kernels, of the same dtype.
          window: the geometry of the spatial axes.
          precision: as in `lax.dot_general`.
          preferred_element_type: dtype of the result; that of `x` if None.

        Returns:
          y (b, n, *output, g, f).
        """
        dtype = jnp.dtype(preferred_element_type or x.dtype)
        sizes = (*x.shape[2:], *kernel.shape, *window.output)
        # The number of images may be symbolic, and then it cannot be compared.
        if 0 in sizes or (isinstance(x.shape[1], int) and x.shape[1] == 0):
            shape = (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])
            return jnp.zeros(shape, dtype)
        return self.solve(x, kernel, window, precision, dtype)

    @abc.abstractmethod
    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        """Compute the convolution in `dtype`.

        The arguments are those of a call, except that no size is zero.
        """

    def supports(self, problem: Problem) -> str | None:
        """Return the reason why this algorithm cannot solve `problem`, or None if it can."""
        return None

    def regime(self, problem: Problem) -> str:
        """Return a label of the computation that `problem` leads to.

        The cost model has separate coefficients for each regime, since their speeds differ.
        """
        return "more taps than outputs" if problem.is_long else "more outputs than taps"

    @abc.abstractmethod
    def cost(self, problem: Problem) -> Cost:
        """Return the operations, memory traffic and workspace of solving `problem`."""

    def error_bound(self, problem: Problem) -> float:
        """Return an a priori bound of the relative error.

            max |y_computed - y|  <=  error_bound * max (|x| convolved with |kernel|),

        where each maximum is over the pixels and images of one output channel, barring overflow
        and underflow. The right-hand side is the largest output without cancellation.

        Rounding errors are assumed to be independent. A sum of `n` products then has an error of
        less than `4 sqrt(n)` roundings in all but one of 1,500 outputs; the worst case is `n`.
        The bound holds for all inputs of the tests, among them equal numbers and one number of
        1e6. It is within 100 times the error on random inputs up to about 500 terms. With more
        terms, the errors on equal and on random inputs differ by more than 100 times.

        Reference: Higham & Mary, "A New Approach to Probabilistic Rounding Error Analysis" (2019),
        theorem 2.4; for the worst case, Higham, "Accuracy and Stability of Numerical Algorithms"
        (2002), section 3.1.
        """
        return relative_error_bound(problem, summation_error(problem.terms, problem.outputs))


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


def summation_error(terms: int, columns: int = 1) -> float:
    """Return the error bound of a sum of `terms` products, in unit roundoffs.

    A product of matrices with at least 8 columns is summed in blocks. One with fewer columns is
    summed one term after the other, and sums of equal terms then drift, by up to a third of a
    roundoff per term.
    """
    if columns >= 8:
        return min(terms, 4 * math.sqrt(terms))
    return min(terms, max(6 * math.sqrt(terms), terms / 3))


def relative_error_bound(problem: Problem, roundoffs: float) -> float:
    """Return the relative error of a result whose sums have an error of `roundoffs`.

    `roundoffs` counts unit roundoffs of the accumulator. A complex product has the error of two
    real ones times sqrt(2) (Higham, section 3.6).
    """
    if not issubdtype(problem.accumulator, jnp.inexact):
        return 0.0
    u, operand_u = unit_roundoff(problem.accumulator), unit_roundoff(problem.dtype)
    if issubdtype(problem.accumulator, jnp.complexfloating):
        roundoffs = math.sqrt(2) * (roundoffs + 2)
    if 0 < operand_u < u:  # Operands are rounded to a narrower accumulator.
        roundoffs += 2
    return roundoffs * u + unit_roundoff(problem.result or problem.dtype)
