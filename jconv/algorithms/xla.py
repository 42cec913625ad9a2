"""XLA's convolution, `lax.conv_general_dilated`, in the form that is fast on the device.

On CPUs, every convolution has NHWC inputs, HWIO kernels and NHWC outputs. Gradients arrive here as
plain convolutions in the same form, so they stay fast inside `scan` and `while`. There, XLA's CPU
compiler does not rewrite the permuted dimension numbers that JAX gives gradients (jax issue 12868).

XLA wins on dense kernels from 1x1 to 5x5. On CPUs it loses to `direct` on depthwise kernels.

On GPUs, XLA delegates convolutions to cuDNN. It recognises gradients by the form that `lax` gives
them: kernel gradients by the axes of images and channels, and gradients of strided convolutions in
their input by a kernel that is reversed right before the convolution. In the form for CPUs, kernel
gradients of depthwise convolutions took up to 50 times as long on an H100.

cuDNN supports no integers other than int8, for which sums saturate, no 8-bit floats, and at most
three spatial axes. XLA refuses other convolutions or aborts the process. They are computed as
products of patches, as by `im2col`.
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
from jconv.algorithms.array_ops import flatten_axes, pad_input
from jconv.algorithms.base import Algorithm
from jconv.algorithms.im2col import Im2col
from jconv.algorithms.xla_lowering import (
    as_convolution,
    as_input_gradient,
    as_kernel_gradient,
    compute_dtype,
)

# Up to this number, pairs are convolved by separate calls instead of a loop. XLA runs the calls in
# parallel with other parts of a program. A training step of eight networks took 0.8 times as long.
MAX_UNROLLED_PAIRS = 8


@dataclass(frozen=True)
class Xla(Algorithm):
    """XLA's convolution, `lax.conv_general_dilated`.

    Args:
      cudnn: True for the form that XLA recognises as a call of cuDNN, False for the form that is
        fast on other devices, None for the form of the device that runs the program.

    Raises:
      ValueError: if `cudnn` is none of these.
    """

    cudnn: bool | None = None

    def __post_init__(self):
        if not (self.cudnn is None or isinstance(self.cudnn, bool)):
            raise ValueError(
                f"`cudnn` must be True, False, or None, which lets the device decide. "
                f"{received('cudnn', self.cudnn)}"
            )

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def without_cudnn(x, kernel):
            def convolve_pair(x, kernel):
                remaining = window
                if _has_negative_padding(window) or _has_fewer_pixels_than_taps(window):
                    x, remaining = _pad_explicitly(x, window)
                return as_convolution(x, kernel, remaining, precision, accumulator(dtype))

            pairs = x.shape[0]
            if isinstance(pairs, int) and pairs <= MAX_UNROLLED_PAIRS:
                y = jnp.stack([convolve_pair(x[i], kernel[i]) for i in range(pairs)])
            else:
                y = lax.map(lambda pair: convolve_pair(*pair), (x, kernel))
            return y.astype(dtype)

        def with_cudnn(x, kernel):
            return _convolve_with_cudnn(x, kernel, window, precision, dtype)

        cudnn = self.cudnn
        if cudnn is None and _form_is_device_independent(Problem.of(x, kernel, window, dtype)):
            cudnn = False
        if cudnn is not None:
            return (with_cudnn if cudnn else without_cudnn)(x, kernel)
        return lax.platform_dependent(
            x, kernel, cuda=with_cudnn, rocm=with_cudnn, default=without_cudnn
        )

    def regime(self, problem: Problem) -> str:
        label, window = super().regime(problem), problem.window
        if problem.groups > 1:
            label += ", groups"
        if window.rank > 2:
            label += ", volumes"
        return label if window.is_dense or max(window.input_dilation) == 1 else label + ", gaps"

    def cost(self, problem: Problem) -> Cost:
        # XLA may copy input, kernel and output to other layouts, and pads some inputs first.
        x, kernel, y = problem.sizes
        growth = math.prod(problem.window.padded) / max(1, math.prod(problem.window.input))
        workspace = int(2 * (x * max(1.0, growth) + kernel + y) * problem.itemsize)
        return Cost(2 * problem.multiply_adds, problem.bytes, workspace)


def _form_is_device_independent(problem: Problem) -> bool:
    """Return True if the form for cuDNN is the one for other devices."""
    return (
        problem.pairs == 1
        and _cudnn_supports(problem)
        and not _lowers_to_kernel_gradient(problem)
        and not _lowers_to_input_gradient(problem)
    )


def _cudnn_supports(problem: Problem) -> bool:
    """Return True if cuDNN supports the dtype and the number of spatial axes.

    Complex convolutions are computed from their real and imaginary parts.
    """
    dtype = compute_dtype(problem.dtype, problem.accumulator)
    return jnp.issubdtype(dtype, jnp.inexact) and dtype.itemsize > 1 and problem.window.rank <= 3


def _lowers_to_kernel_gradient(problem: Problem) -> bool:
    """Return True if the form for cuDNN is that of a kernel gradient."""
    return problem.is_kernel_gradient and max(problem.window.input_dilation) == 1


def _lowers_to_input_gradient(problem: Problem) -> bool:
    """Return True if the form for cuDNN is that of an input gradient of a strided convolution."""
    window = problem.window
    no_other_gaps = max(window.stride) == max(window.dilation) == problem.groups == 1
    return no_other_gaps and max(window.input_dilation) > 1


def _convolve_with_cudnn(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolve in the form that XLA recognises as a call of cuDNN; pairs become groups."""
    if not _cudnn_supports(Problem.of(x, kernel, window, dtype)):
        return Im2col().solve(x, kernel, window, precision, dtype)
    pairs, groups = kernel.shape[0], kernel.shape[-3]
    # (b, n, *i, g, c) -> (n, *i, b g, c) and (b, *t, g, c, f) -> (*t, b g, c, f)
    x = flatten_axes(jnp.moveaxis(x, 0, -3), x.ndim - 3)
    kernel = flatten_axes(jnp.moveaxis(kernel, 0, -4), kernel.ndim - 4)
    if _has_negative_padding(window):
        x, window = _pad_explicitly(x, window)
    problem = Problem.of(x[None], kernel[None], window, dtype)
    convolve = as_convolution
    if _lowers_to_kernel_gradient(problem):
        convolve = as_kernel_gradient
    elif _lowers_to_input_gradient(problem):
        convolve = as_input_gradient
    y = convolve(x, kernel, window, precision, accumulator(dtype)).astype(dtype)
    y = y.reshape(*y.shape[:-2], pairs, groups, y.shape[-1])
    return jnp.moveaxis(y, -3, 0)


def _pad_explicitly(x, window: Window):
    """Return the padded input and the remaining window, without padding and input dilation."""
    no_padding, one = ((0, 0),) * window.rank, (1,) * window.rank
    remaining = replace(window, input=window.padded, padding=no_padding, input_dilation=one)
    return pad_input(x[None], window)[0], remaining


def _has_negative_padding(window: Window) -> bool:
    """Return True if padding crops the input.

    XLA's CPU convolution of jaxlib 0.10 then reads past the end of the input.
    """
    return any(side < 0 for pair in window.padding for side in pair)


def _has_fewer_pixels_than_taps(window: Window) -> bool:
    """Return True if the input is smaller than the kernel.

    XLA's CPU convolution is then 2 to 20 times faster on an explicitly padded input.
    """
    return window.rank <= 2 and math.prod(window.input) < math.prod(window.taps)
