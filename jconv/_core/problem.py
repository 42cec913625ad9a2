"""A canonical convolution without its values, and the cost of computing it."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import jax.numpy as jnp

from jconv._core.geometry import Window

Precision = jax.lax.Precision | tuple[jax.lax.Precision, jax.lax.Precision] | None


SYMBOLIC = 32  # the size that stands for a symbolic one in costs and choices


@dataclass(frozen=True)
class Problem:
    """One canonical convolution without its values, the input of every cost and choice.

    Args:
      window: the spatial axes.
      pairs: `b`, pairs of an input and its kernel.
      images: `n`, inputs that share a kernel.
      groups: `g`.
      inputs: `c`, input channels per group.
      outputs: `f`, output channels per group.
      dtype: of input and kernel.
      result: of the output; that of input and kernel if None.
      symbolic: whether `pairs` and `images` stand for symbolic sizes.
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
        return self._hash  # used several times for each choice

    @cached_property
    def _hash(self) -> int:
        return hash((self.window, self.pairs, self.images, self.groups, self.inputs, self.outputs,
                     self.dtype, self.result, self.symbolic))  # fmt: skip

    @classmethod
    def of(cls, x, kernel, window: Window, result: jnp.dtype | None = None) -> Problem:
        """Return the problem of two canonical arrays; a symbolic size counts as 32."""
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
        return self.pairs * self.images * channels * self.window.multiply_adds_per_channel_pair

    @cached_property
    def terms(self) -> int:
        """Products in the sum behind one output."""
        return math.prod(self.window.taps) * self.inputs

    @cached_property
    def is_long(self) -> bool:
        """True if there are more taps than outputs, as in kernel gradients."""
        return math.prod(self.window.taps) > math.prod(self.window.output)

    @cached_property
    def is_kernel_gradient(self) -> bool:
        """True if it is likely a kernel gradient: more taps than outputs, and a sum over images."""
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
        """True if there is nothing to sum, or nothing to compute."""
        w = self.window
        counts = (self.pairs, self.images, self.groups, self.inputs, self.outputs)
        return 0 in (*counts, *w.input, *w.taps, *w.output)

    @cached_property
    def bytes(self) -> int:
        """Bytes of input, kernel and output, each counted once."""
        x, kernel, y = self.sizes
        return (x + kernel) * self.dtype.itemsize + y * (self.result or self.dtype).itemsize

    def input_gradient(self) -> Problem:
        """Return the problem of the derivative in the input."""
        return replace(
            self,
            window=self.window.input_gradient(),
            inputs=self.outputs,
            outputs=self.inputs,
            dtype=self._cotangent_dtype,
            result=self.dtype,
        )

    def kernel_gradient(self) -> Problem:
        """Return the problem of the derivative in the kernel.

        The images of the input take the place of its channels, and the cotangent takes the place
        of the kernel.
        """
        return replace(
            self,
            window=self.window.kernel_gradient(),
            images=self.inputs,
            inputs=self.images,
            dtype=self._cotangent_dtype,
            result=self.dtype,
            symbolic=(self.symbolic[0], False),
        )

    @property
    def _cotangent_dtype(self) -> jnp.dtype:
        """The dtype in which the cotangent of the output meets an operand."""
        y = self.result or self.dtype
        if not issubdtype(self.dtype, jnp.complexfloating) and issubdtype(y, jnp.complexfloating):
            y = jnp.finfo(y).dtype  # The real part alone reaches a real operand.
        return meeting_dtype(self.dtype, y)

    @property
    def itemsize(self) -> int:
        """Bytes of a number during the computation."""
        return max(self.dtype.itemsize, self.accumulator.itemsize)


@dataclass(frozen=True)
class Cost:
    """The cost of an algorithm on a problem.

    Attributes:
      flops: additions and multiplications.
      bytes: memory traffic.
      workspace: bytes held beside input, kernel and output.
    """

    flops: int
    bytes: int
    workspace: int


issubdtype = functools.cache(jnp.issubdtype)  # called several times for each choice


@functools.cache
def unit_roundoff(dtype: jnp.dtype) -> float:
    """Return the largest relative error of one rounding; 0 for integers."""
    if not jnp.issubdtype(dtype, jnp.inexact):
        return 0.0
    return float(jnp.finfo(dtype).eps) / 2


@functools.cache
def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """Return the dtype in which products of `dtype` are summed: float32 for 16-bit floats."""
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32:
        return jnp.dtype(jnp.float32)
    return jnp.dtype(dtype)


def meeting_dtype(first: jnp.dtype, second: jnp.dtype) -> jnp.dtype:
    """Return the dtype in which operands of two dtypes are multiplied.

    A cotangent may be wider or narrower than the operand that it meets, also where the caller has
    forbidden JAX to promote dtypes implicitly.
    """
    if first == second:
        return first
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(accumulator(first), accumulator(second))
