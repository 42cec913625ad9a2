"""XLA's own convolution, `lax.conv_general_dilated`, always in the one form it is fast at.

Input NHWC, kernel HWIO, output NHWC. The two gradients arrive here as plain convolutions in the
same form, so that they stay fast inside `scan` and `while`, where XLA's CPU compiler does not
bring the permuted dimension numbers that JAX writes into this form (jax issue 12868).

Wins on dense kernels of 1x1 to 5x5. Loses on depthwise kernels on CPU, to `direct`.

On GPUs XLA hands convolutions to cuDNN, and tells gradients by the form that `lax` gives them: of
kernels by the axes of images and channels, of strided inputs by a kernel that is reversed last.
Written in the one form, kernel gradients of depthwise convolutions took up to 50 times as long on
an H100. cuDNN sums no whole numbers but int8, and those with saturation, no 8-bit floats and no
more than three spatial axes: XLA refuses them, or ends the process. They are computed by products
of patches, as by `im2col`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.problem import Cost, Precision, Problem, accumulator
from jconv._core.validation import received
from jconv.algorithms.array_ops import merged, padded
from jconv.algorithms.base import Algorithm
from jconv.algorithms.im2col import Im2col
from jconv.algorithms.xla_lowering import (
    as_convolution,
    as_input_gradient,
    as_kernel_gradient,
    worked_in,
)

# Pairs that are convolved by a call each, which XLA computes beside other parts of a program, as it
# does no loop: a step of eight networks took 0.8 times as long.
UNROLLED = 8


@dataclass(frozen=True)
class Xla(Algorithm):
    """`lax.conv_general_dilated`.

    Args:
      cudnn: whether it is written as XLA knows cuDNN's calls by; None for where GPUs compute.

    Raises:
      ValueError: for a `cudnn` that is none of these.
    """

    cudnn: bool | None = None

    def __post_init__(self):
        if not (self.cudnn is None or isinstance(self.cudnn, bool)):
            raise ValueError(
                f"`cudnn` must be True, False, or None to go by the device. "
                f"{received('cudnn', self.cudnn)}"
            )

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def elsewhere(x, kernel):
            def one(x, kernel):
                left = window
                if _crops(window) or _has_fewer_pixels_than_taps(window):
                    x, left = _padded_first(x, window)
                return as_convolution(x, kernel, left, precision, accumulator(dtype))

            pairs = x.shape[0]
            if isinstance(pairs, int) and pairs <= UNROLLED:
                y = jnp.stack([one(x[i], kernel[i]) for i in range(pairs)])
            else:
                y = lax.map(lambda pair: one(*pair), (x, kernel))
            return y.astype(dtype)

        def on_gpus(x, kernel):
            return _by_cudnn(x, kernel, window, precision, dtype)

        cudnn = self.cudnn
        if cudnn is None and _is_alike(Problem.of(x, kernel, window, dtype)):
            cudnn = False
        if cudnn is not None:
            return (on_gpus if cudnn else elsewhere)(x, kernel)
        return lax.platform_dependent(x, kernel, cuda=on_gpus, rocm=on_gpus, default=elsewhere)

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


def _is_alike(problem: Problem) -> bool:
    """Whether it is written the same for cuDNN as for others."""
    return (
        problem.pairs == 1
        and _cudnn_has(problem)
        and not _is_kernel_gradient(problem)
        and not _is_input_gradient(problem)
    )


def _cudnn_has(problem: Problem) -> bool:
    """Whether cuDNN convolves numbers of this dtype, complex ones by their parts, on these axes."""
    dtype = worked_in(problem.dtype, problem.accumulator)
    return jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize > 1 and problem.window.rank <= 3


def _is_kernel_gradient(problem: Problem) -> bool:
    """Whether to call it the gradient in a kernel."""
    return problem.is_kernel_gradient and max(problem.window.input_dilation) == 1


def _is_input_gradient(problem: Problem) -> bool:
    """Whether to call it the gradient in the input of a dense convolution with strides."""
    window = problem.window
    no_other_gaps = max(window.stride) == max(window.dilation) == problem.groups == 1
    return no_other_gaps and max(window.input_dilation) > 1


def _by_cudnn(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolves as XLA knows cuDNN's calls by; several pairs are groups of one call."""
    if not _cudnn_has(Problem.of(x, kernel, window, dtype)):
        return Im2col().solve(x, kernel, window, precision, dtype)
    pairs, groups = kernel.shape[0], kernel.shape[-3]
    # (b, n, *i, g, c) -> (n, *i, b g, c) and (b, *t, g, c, f) -> (*t, b g, c, f)
    x, kernel = merged(jnp.moveaxis(x, 0, -3), x.ndim - 3), jnp.moveaxis(kernel, 0, -4)
    kernel = merged(kernel, kernel.ndim - 4)
    if _crops(window):
        x, window = _padded_first(x, window)
    problem = Problem.of(x[None], kernel[None], window, dtype)
    how = as_convolution
    if _is_kernel_gradient(problem):
        how = as_kernel_gradient
    elif _is_input_gradient(problem):
        how = as_input_gradient
    y = how(x, kernel, window, precision, accumulator(dtype)).astype(dtype)
    y = y.reshape(*y.shape[:-2], pairs, groups, y.shape[-1])
    return jnp.moveaxis(y, -3, 0)


def _padded_first(x, window: Window):
    """Input dilated, padded and cropped, and the window that is left, which needs not."""
    none, one = ((0, 0),) * window.rank, (1,) * window.rank
    left = replace(window, input=window.padded, padding=none, input_dilation=one)
    return padded(x[None], window)[0], left


def _crops(window: Window) -> bool:
    """Whether padding is negative: XLA's CPU convolution of jaxlib 0.10 then reads past the end of
    the input."""
    return any(side < 0 for pair in window.padding for side in pair)


def _has_fewer_pixels_than_taps(window: Window) -> bool:
    """Whether XLA's CPU convolution is 2 to 20 times faster on the padded input."""
    return window.rank <= 2 and math.prod(window.input) < math.prod(window.taps)
