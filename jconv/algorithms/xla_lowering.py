"""Forms in which a convolution is lowered to XLA; each computes the convolution of one pair.

The form that XLA is fast at depends on the device. `jconv.algorithms.xla` selects it.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.interception import without_interception
from jconv._core.problem import Precision, accumulator
from jconv.algorithms.array_ops import flatten_axes


def compute_dtype(dtype: jnp.dtype, result: jnp.dtype) -> jnp.dtype:
    """Return the dtype to which operands are converted, so that sums have the dtype `result`.

    Products of 16-bit floats are summed in float32. Every other dtype is converted first, since
    XLA's convolutions require operands of the dtype that they return.
    """
    return dtype if accumulator(dtype) == result else result


def as_convolution(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolve (n, *input, g, c) with (*taps, g, c, f) to (n, *output, g, f)."""
    *_, groups, inputs, outputs = kernel.shape
    x = flatten_axes(x, x.ndim - 2)
    kernel = jnp.swapaxes(kernel, -3, -2).reshape(*window.taps, inputs, groups * outputs)
    last = window.rank + 1
    y = _conv_general_dilated(
        x, kernel, window, precision, dtype,
        (0, last), (last, window.rank), (0, last), feature_group_count=groups,
    )  # fmt: skip
    return y.reshape(*y.shape[:-1], groups, outputs)


def as_kernel_gradient(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolve as `as_convolution` does, in the form that `lax` gives a kernel gradient.

    The channels of `x` take the place of the batch axis, and its groups become batch groups.
    """
    *_, groups, _, outputs = kernel.shape
    n, last = x.shape[0], window.rank + 1
    x = flatten_axes(jnp.swapaxes(x, 0, -1), x.ndim - 2)  # (c, *input, g n)
    kernel = flatten_axes(jnp.moveaxis(kernel, -2, 0), kernel.ndim - 2)  # (c, *taps, g f)
    y = _conv_general_dilated(
        x, kernel, window, precision, dtype,
        (last, 0), (last, 0), (window.rank, last), batch_group_count=groups,
    )  # fmt: skip
    return jnp.moveaxis(y.reshape(*window.output, n, groups, outputs), -3, 0)


def as_input_gradient(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolve as `as_convolution` does, in the form that `lax` gives an input gradient.

    Only one group is supported. The kernel is reversed right before the convolution, by which XLA
    recognises the form.
    """
    last = window.rank + 1
    forward = jnp.swapaxes(jnp.flip(kernel, range(window.rank)), -2, -1)[..., 0, :, :]
    x, kernel = x[..., 0, :], lax.rev(forward, range(window.rank))
    y = _conv_general_dilated(
        x, kernel, window, precision, dtype, (0, last), (window.rank, last), (0, last)
    )
    return y[..., None, :]


def _conv_general_dilated(
    x, kernel, window: Window, precision: Precision, dtype: jnp.dtype, lhs, rhs, out, **counts
):
    """Call `lax.conv_general_dilated`.

    `lhs` and `out` are the axes of batch and channels, and `rhs` those of output and input
    channels. The other axes are spatial.
    """
    operand_dtype = compute_dtype(x.dtype, dtype)
    axes = range(window.rank + 2)
    dimension_numbers = lax.ConvDimensionNumbers(
        *((*two, *(axis for axis in axes if axis not in two)) for two in (lhs, rhs, out))
    )
    with without_interception():
        return lax.conv_general_dilated(
            x.astype(operand_dtype),
            kernel.astype(operand_dtype),
            window_strides=window.stride,
            padding=window.padding,
            lhs_dilation=window.input_dilation,
            rhs_dilation=window.dilation,
            dimension_numbers=dimension_numbers,
            precision=precision,
            preferred_element_type=dtype,
            **counts,
        )
