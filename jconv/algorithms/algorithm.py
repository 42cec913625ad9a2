"""What an algorithm is: a value that computes the canonical convolution and can be asked about it.

y[b, n, o, g, f] = sum over t, c of
    x[b, n, (o*stride + t*dilation - pad) / input_dilation, g, c] * kernel[b, t, g, c, f]
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jconv.window import Window

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
    """

    window: Window
    pairs: int
    images: int
    groups: int
    inputs: int
    outputs: int
    dtype: jnp.dtype

    @classmethod
    def of(cls, x, kernel, window: Window) -> Problem:
        """The problem that two canonical arrays pose; a symbolic size counts as 32."""
        sizes = (*x.shape[:2], *kernel.shape[-3:])
        pairs, images, groups, inputs, outputs = (
            n if isinstance(n, int) else SYMBOLIC for n in sizes
        )
        return cls(window, pairs, images, groups, inputs, outputs, jnp.dtype(x.dtype))

    @property
    def multiply_adds(self) -> int:
        """Scalar products summed, padding counted as pixels."""
        channels = self.groups * self.inputs * self.outputs
        return self.pairs * self.images * channels * self.window.meetings

    @property
    def terms(self) -> int:
        """Products in the sum behind one output."""
        return math.prod(self.window.taps) * self.inputs

    @property
    def bytes(self) -> int:
        """Bytes of input, kernel and output, each counted once."""
        w = self.window
        x = self.images * math.prod(w.input) * self.inputs
        kernel = math.prod(w.taps) * self.inputs * self.outputs
        y = self.images * math.prod(w.output) * self.outputs
        return self.pairs * self.groups * (x + kernel + y) * self.dtype.itemsize


@dataclass(frozen=True)
class Cost:
    """What an algorithm spends: `flops` additions and multiplications, bytes of memory traffic,
    and bytes of `workspace` held beside input, kernel and output."""

    flops: int
    bytes: int
    workspace: int


class Algorithm(abc.ABC):
    """One way to compute the canonical convolution. Subclasses are frozen dataclasses."""

    @abc.abstractmethod
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

    def supports(self, problem: Problem) -> str | None:
        """Why this algorithm cannot solve `problem`; None where it can."""
        return None

    @abc.abstractmethod
    def cost(self, problem: Problem) -> Cost:
        """What solving `problem` spends."""

    def error_bound(self, problem: Problem) -> float:
        """Bounds the largest error, relative to `max|x| * max over outputs of sum|kernel|`.

        Here for sums of products in any order: `gamma(terms) = terms*u / (1 - terms*u)` with the
        unit roundoff `u` of the accumulator, and one rounding to the dtype of the input.
        Barring overflow and underflow.

        Reference: Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.1.
        """
        if not jnp.issubdtype(problem.dtype, jnp.inexact):
            return 0.0
        # A complex product is four real ones: Higham's section 3.6 has sqrt(2) gamma(n + 2).
        is_complex = jnp.issubdtype(problem.dtype, jnp.complexfloating)
        terms = 2 * (problem.terms + 2) if is_complex else problem.terms + 1
        u = float(jnp.finfo(accumulator(problem.dtype)).eps) / 2
        rounding = float(jnp.finfo(problem.dtype).eps) / 2
        return terms * u / (1 - terms * u) + rounding if terms * u < 1 else math.inf


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype in which products of `dtype` are summed: float32 for 16-bit floats."""
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        return jnp.dtype(jnp.float32)
    return jnp.dtype(dtype)
