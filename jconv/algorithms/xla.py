"""XLA's own convolution, `lax.conv_general_dilated`, always in the one form it is fast at.

Input NHWC, kernel HWIO, output NHWC. The two gradients arrive here as plain convolutions in the
same form, so that they stay fast inside `scan` and `while`, where XLA's CPU compiler does not
bring the permuted dimension numbers that JAX writes into this form (jax issue 12868).

Wins on dense kernels of 1x1 to 5x5. Loses on depthwise kernels on CPU, to `direct`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax

from jconv.algorithms.algorithm import (
    Algorithm,
    Cost,
    Precision,
    Problem,
    accumulator,
)
from jconv.algorithms.space import padded
from jconv.window import Window

# The plan of what `jconv.accelerate` puts in the place of `lax`; None for `lax` itself.
replacement = jax.make_user_context(None)


@dataclass(frozen=True)
class Xla(Algorithm):
    """`lax.conv_general_dilated`; one call, or one for each of many kernels."""

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        x, window = _cropped(x, window)

        def one(x, kernel):
            return _convolve(x, kernel, window, precision, accumulator(dtype))

        if x.shape[0] == 1:
            y = one(x[0], kernel[0])[None]
        else:
            y = lax.map(lambda pair: one(*pair), (x, kernel))
        return y.astype(dtype)

    def regime(self, problem: Problem) -> str:
        what, window = super().regime(problem), problem.window
        if problem.groups > 1:
            what += ", groups"
        if window.rank > 2:
            what += ", volumes"
        return what if window.is_dense or max(window.input_dilation) == 1 else what + ", gaps"

    def cost(self, problem: Problem) -> Cost:
        # XLA may bring any of the three to the order it works in, and pads some inputs first.
        x, kernel, y = problem.sizes
        grown = math.prod(problem.window.padded) / max(1, math.prod(problem.window.input))
        held = int(2 * (x * max(1.0, grown) + kernel + y) * problem.itemsize)
        return Cost(2 * problem.multiply_adds, problem.bytes, held)


def _cropped(x, window: Window):
    """Crops first where padding is negative: XLA's CPU convolution of jaxlib 0.10 then reads
    past the end of the input."""
    if all(side >= 0 for pair in window.padding for side in pair):
        return x, window
    x = padded(x, window)
    none = ((0, 0),) * window.rank
    window = replace(window, input=window.padded, padding=none, input_dilation=(1,) * window.rank)
    return x, window


def _convolve(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolves (n, *input, g, c) with (*taps, g, c, f) to (n, *output, g, f)."""
    *_, groups, inputs, outputs = kernel.shape
    # Products of 16-bit floats are summed in float32; every other dtype is converted first,
    # since XLA's convolutions want operands of the dtype they return.
    if accumulator(x.dtype) != dtype:
        x, kernel = x.astype(dtype), kernel.astype(dtype)
    x = x.reshape(*x.shape[:-2], groups * inputs)
    kernel = jnp.swapaxes(kernel, -3, -2).reshape(*window.taps, inputs, groups * outputs)
    spatial = tuple(range(1, window.rank + 1))
    with replacement(None):
        y = lax.conv_general_dilated(
            x,
            kernel,
            window_strides=window.stride,
            padding=window.padding,
            lhs_dilation=window.input_dilation,
            rhs_dilation=window.dilation,
            dimension_numbers=lax.ConvDimensionNumbers(
                lhs_spec=(0, window.rank + 1, *spatial),
                rhs_spec=(window.rank + 1, window.rank, *(axis - 1 for axis in spatial)),
                out_spec=(0, window.rank + 1, *spatial),
            ),
            feature_group_count=groups,
            precision=precision,
            preferred_element_type=dtype,
        )
    return y.reshape(*y.shape[:-1], groups, outputs)
