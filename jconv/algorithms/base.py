"""What an algorithm is: a value that computes the canonical convolution and can be asked about it.

y[b, n, o, g, f] = sum over t, c of
    x[b, n, (o*stride + t*dilation - pad) / input_dilation, g, c] * kernel[b, t, g, c, f]
"""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from jconv._core.geometry import Window, received

Precision = jax.lax.Precision | tuple[jax.lax.Precision, jax.lax.Precision] | None

SYMBOLIC = 32  # what a size that is not known yet counts as, in costs and choices


@dataclass(frozen=True)
class Problem:
    """One canonical convolution as an algorithm and the choice between them see it: no values.

    Args:
      window: the spatial axes.
      pairs: `b`, inputs that come with a kernel of their own.
      images: `n`, inputs that share a kernel.
      groups: `g`.
      inputs: `c`, input channels per group.
      outputs: `f`, output channels per group.
      dtype: of input and kernel.
      result: of the output; that of input and kernel if None.
      symbolic: whether `pairs` and `images` stand for sizes that are not known yet.
    """

    window: Window
    pairs: int
    images: int
    groups: int
    inputs: int
    outputs: int
    dtype: jnp.dtype
    result: jnp.dtype | None = None
    symbolic: tuple[bool, bool] = (False, False)

    def __hash__(self) -> int:
        return self._hash  # is looked up several times for each choice

    @cached_property
    def _hash(self) -> int:
        return hash((self.window, self.pairs, self.images, self.groups, self.inputs, self.outputs,
                     self.dtype, self.result, self.symbolic))  # fmt: skip

    @classmethod
    def of(cls, x, kernel, window: Window, result: jnp.dtype | None = None) -> Problem:
        """The problem that two canonical arrays pose; a symbolic size counts as 32."""
        sizes = (*x.shape[:2], *kernel.shape[-3:])
        pairs, images, groups, inputs, outputs = (
            n if isinstance(n, int) else SYMBOLIC for n in sizes
        )
        symbolic = (not isinstance(sizes[0], int), not isinstance(sizes[1], int))
        return cls(
            window, pairs, images, groups, inputs, outputs, jnp.dtype(x.dtype), result, symbolic
        )

    @cached_property
    def accumulator(self) -> jnp.dtype:
        """The dtype in which products are summed."""
        return accumulator(self.result or self.dtype)

    @cached_property
    def multiply_adds(self) -> int:
        """Scalar products summed, padding counted as pixels."""
        channels = self.groups * self.inputs * self.outputs
        return self.pairs * self.images * channels * self.window.meetings

    @cached_property
    def terms(self) -> int:
        """Products in the sum behind one output."""
        return math.prod(self.window.taps) * self.inputs

    @cached_property
    def is_long(self) -> bool:
        """Whether there are more taps than outputs, as in kernel gradients."""
        return math.prod(self.window.taps) > math.prod(self.window.output)

    @cached_property
    def is_kernel_gradient(self) -> bool:
        """Whether it is likely to be one: it has more taps than outputs, and sums images."""
        of_own_channels = self.groups > 1 and self.inputs == 1
        return self.is_long and not (of_own_channels and self.images > 1)

    @cached_property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers in input, kernel and output."""
        w, each = self.window, self.pairs * self.groups
        x = self.images * math.prod(w.input) * self.inputs
        kernel = math.prod(w.taps) * self.inputs * self.outputs
        y = self.images * math.prod(w.output) * self.outputs
        return each * x, each * kernel, each * y

    @cached_property
    def is_empty(self) -> bool:
        """Whether there is nothing to sum, or nothing to compute."""
        w = self.window
        counts = (self.pairs, self.images, self.groups, self.inputs, self.outputs)
        return 0 in (*counts, *w.input, *w.taps, *w.output)

    @cached_property
    def bytes(self) -> int:
        """Bytes of input, kernel and output, each counted once."""
        x, kernel, y = self.sizes
        return (x + kernel) * self.dtype.itemsize + y * (self.result or self.dtype).itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of a number while it is worked on."""
        return max(self.dtype.itemsize, self.accumulator.itemsize)


@dataclass(frozen=True)
class Cost:
    """What an algorithm spends: `flops` additions and multiplications, bytes of memory traffic,
    and bytes of `workspace` held beside input, kernel and output."""

    flops: int
    bytes: int
    workspace: int


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

    @property
    def takes_any_kernel(self) -> bool:
        """Whether it is exact for every kernel of a shape, and so for derivatives in the kernel."""
        return True

    @property
    def reads_kernel(self) -> bool:
        """Whether values of the kernel decide how to go on: see `for_kernel`."""
        return False

    def for_kernel(self, kernel: np.ndarray) -> Algorithm:
        """The algorithm for one canonical kernel whose values are known.

        Raises:
          ValueError: where it cannot do that kernel.
        """
        return self

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
    """Checks what one algorithm leaves to another, whose kernels it makes itself.

    Raises:
      ValueError: for what is no algorithm, or is one for some kernels only.
    """
    if not isinstance(inner, Algorithm) or not inner.takes_any_kernel:
        raise ValueError(
            f"`inner` must be an algorithm for any kernel, such as `jconv.Direct()` or "
            f"`jconv.ALGORITHMS['fft']`. {received('inner', inner)}"
        )


issubdtype = functools.cache(jnp.issubdtype)  # is asked several times for each choice


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


@functools.cache
def unit_roundoff(dtype: jnp.dtype) -> float:
    """The largest relative error of one rounding; 0 for integers."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    return float(jnp.finfo(dtype).eps) / 2


@functools.cache
def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which products of `dtype` are summed: float32 for 16-bit floats."""
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        return jnp.dtype(jnp.float32)
    return jnp.dtype(dtype)
