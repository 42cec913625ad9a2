"""The forms in which a convolution is written for XLA; each is the canonical one of one pair.

Which of them XLA is fast at differs by device: `jconv.algorithms.xla` takes one.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.interception import without_interception
from jconv._core.problem import Precision, accumulator
from jconv.algorithms.array_ops import merged


def worked_in(dtype: jnp.dtype, result: jnp.dtype) -> jnp.dtype:
    """What operands are converted to, so that products are summed in the dtype of the result.

    Products of 16-bit floats are summed in float32; every other dtype is converted first, since
    XLA's convolutions want operands of the dtype they return.
    """
    return dtype if accumulator(dtype) == result else result


def as_convolution(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """Convolves (n, *input, g, c) with (*taps, g, c, f) to (n, *output, g, f)."""
    *_, groups, inputs, outputs = kernel.shape
    x = merged(x, x.ndim - 2)
    kernel = jnp.swapaxes(kernel, -3, -2).reshape(*window.taps, inputs, groups * outputs)
    last = window.rank + 1
    y = _lax(x, kernel, window, precision, dtype, (0, last), (last, window.rank), (0, last),
             feature_group_count=groups)  # fmt: skip
    return y.reshape(*y.shape[:-1], groups, outputs)


def as_kernel_gradient(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """The same, what `x` has for channels being images again, and groups being groups of images."""
    *_, groups, _, outputs = kernel.shape
    n, last = x.shape[0], window.rank + 1
    x = merged(jnp.swapaxes(x, 0, -1), x.ndim - 2)  # (c, *input, g n)
    kernel = merged(jnp.moveaxis(kernel, -2, 0), kernel.ndim - 2)  # (c, *taps, g f)
    y = _lax(x, kernel, window, precision, dtype, (last, 0), (last, 0), (window.rank, last),
             batch_group_count=groups)  # fmt: skip
    return jnp.moveaxis(y.reshape(*window.output, n, groups, outputs), -3, 0)


def as_input_gradient(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
    """The same of one group, the last thing that is done to the kernel being to reverse it."""
    last = window.rank + 1
    forward = jnp.swapaxes(jnp.flip(kernel, range(window.rank)), -2, -1)[..., 0, :, :]
    y = _lax(x[..., 0, :], lax.rev(forward, range(window.rank)), window, precision, dtype,
             (0, last), (window.rank, last), (0, last))  # fmt: skip
    return y[..., None, :]


def _lax(x, kernel, window: Window, precision: Precision, dtype: jnp.dtype, *ends, **counts):
    """`lax.conv_general_dilated`, each of `ends` being the axes of batch and feature, or of output
    and input feature; the others are those of space."""
    operands = worked_in(x.dtype, dtype)
    axes = range(window.rank + 2)
    lhs, rhs, out = ((*two, *(axis for axis in axes if axis not in two)) for two in ends)
    with without_interception():
        return lax.conv_general_dilated(
            x.astype(operands),
            kernel.astype(operands),
            window_strides=window.stride,
            padding=window.padding,
            lhs_dilation=window.input_dilation,
            rhs_dilation=window.dilation,
            dimension_numbers=lax.ConvDimensionNumbers(lhs, rhs, out),
            precision=precision,
            preferred_element_type=dtype,
            **counts,
        )
