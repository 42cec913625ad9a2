"""Pooling: the mean, the maximum or a norm of every window of an input.

Sums and maxima are separable, so each pass reduces one spatial axis and a `k x k` window costs
`2 k` and not `k^2`. The derivative of the maximum goes to one pixel, the first of equals in reading
order. It does not use JAX's derivative, which does not support dilation and was 4 to 17 times
slower on two CPU cores.

With `ceil_mode=True` windows may reach beyond the padding, as in torch and ONNX: the number of
outputs is rounded up, and windows that start beyond the input's last pixel are dropped.

Reference: torch `AvgPool2d`, `MaxPool2d`; ONNX `AveragePool`, `MaxPool`, `LpPool` of set 22.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Int, Num

from jconv._core.geometry import Sizes, Window
from jconv._core.problem import accumulator
from jconv._core.validation import as_numbers, check_flag, is_real
from jconv.functional.patches import (
    along,
    check_fits,
    resolve_window,
    sources,
    unfold_axis,
)


def avg_pool(
    x: Num[ArrayLike, ...],
    window_shape: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    layout: Any = None,
) -> Num[Array, ...]:
    """Average every window: `(n, *space, c)` to `(n, *output, c)`.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      window_shape: pixels of the window; one for all spatial axes, or one for each.
      stride: pixels between neighbouring windows; `window_shape` if None.
      padding: as in `jconv.conv`, but `"VALID"` by default.
      dilation: pixels between neighbouring pixels of a window.
      ceil_mode: whether to round the number of outputs up: the last window may then reach beyond
        the padding, if it starts within the input or the padding before it.
      count_include_pad: whether to divide by the pixels of the window including its padding, as
        torch and Flax do by default, but without the pixels that `ceil_mode` adds. Otherwise the
        sum is divided by the number of input pixels, and a window without any is zero.
      layout: None for channels last, or what `jconv.conv` takes; the input's part is used.

    Returns:
      The means, of the dtype of `x`; of floats for integers. 16-bit floats are added in float32.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> avg_pool(jnp.arange(5.0).reshape(1, 5, 1), 2, ceil_mode=True)[0, :, 0]
    Array([0.5, 2.5, 4. ], dtype=float32)
    """
    x = as_numbers("x", x)
    ceil_mode = check_flag("ceil_mode", ceil_mode)
    count_include_pad = check_flag("count_include_pad", count_include_pad)
    window, spec = _resolve(x, window_shape, stride, padding, dilation, ceil_mode, layout)
    return _avg_pool(x, window, ceil_mode, count_include_pad, spec)


def max_pool(
    x: Num[ArrayLike, ...],
    window_shape: int | Sequence[int],
    *,
    stride: int | Sequence[int] | None = None,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    layout: Any = None,
) -> Num[Array, ...] | tuple[Num[Array, ...], Int[Array, ...]]:
    """Return the largest value of every window: `(n, *space, c)` to `(n, *output, c)`.

    Padding is never the largest: a window of nothing else is `-inf`, or the smallest integer.

    Args:
      x: the input, floats or integers, `(n, *space, c)`, or as `layout` says.
      window_shape: pixels of the window; one for all spatial axes, or one for each.
      stride: pixels between neighbouring windows; `window_shape` if None.
      padding: as in `jconv.conv`, but `"VALID"` by default.
      dilation: pixels between neighbouring pixels of a window.
      ceil_mode: as in `jconv.avg_pool`.
      return_indices: return also where the values stand, counted in reading order within one
        image and channel, as torch does: `row * columns + column`; -1 for a window of padding.
      layout: None for channels last, or what `jconv.conv` takes; the input's part is used.

    Returns:
      The maxima, of the dtype of `x`; with `return_indices` the pair (maxima, int32 indices).

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> max_pool(jnp.array([[[3.0], [1], [4], [1], [5]]]), 3, stride=1)[0, :, 0]
    Array([4., 4., 5.], dtype=float32)
    """
    x = _as_reals(x, "a maximum")
    ceil_mode = check_flag("ceil_mode", ceil_mode)
    return_indices = check_flag("return_indices", return_indices)
    window, spec = _resolve(x, window_shape, stride, padding, dilation, ceil_mode, layout)
    return _max_pool(x, window, ceil_mode, return_indices, spec)


def lp_pool(
    x: Num[ArrayLike, ...],
    window_shape: int | Sequence[int],
    *,
    p: float = 2,
    stride: int | Sequence[int] | None = None,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    layout: Any = None,
) -> Num[Array, ...]:
    """Compute `(sum |x|^p)^(1/p)` of every window: `(n, *space, c)` to `(n, *output, c)`.

    The derivative is zero where all pixels of a window are, though the norm has a corner there.
    The sum is over the pixels of the window, as in ONNX. Torch scales the sums of windows that
    reach beyond the border with `ceil_mode`.

    Args:
      x: the input, floats or integers, `(n, *space, c)`, or as `layout` says.
      window_shape: pixels of the window; one for all spatial axes, or one for each.
      p: at least 1. `|x|^p` must neither overflow nor vanish in the dtype (float32 for 16 bits).
      stride: pixels between neighbouring windows; `window_shape` if None.
      padding: as in `jconv.conv`, but `"VALID"` by default.
      dilation: pixels between neighbouring pixels of a window.
      ceil_mode: as in `jconv.avg_pool`.
      layout: None for channels last, or what `jconv.conv` takes; the input's part is used.

    Returns:
      The norms, of the dtype of `x`; of floats for integers.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> lp_pool(jnp.array([[[3.0], [4], [0], [0]]]), 2)[0, :, 0]
    Array([5., 0.], dtype=float32)
    """
    x = _as_reals(x, "a norm")
    ceil_mode = check_flag("ceil_mode", ceil_mode)
    if not is_real(p) or not 1 <= p < math.inf:
        raise ValueError(
            f"`p` must be a finite number of at least 1. Received: p={p!r}. The limit of large `p` "
            f"is `jconv.max_pool(abs(x), ...)`."
        )
    window, spec = _resolve(x, window_shape, stride, padding, dilation, ceil_mode, layout)
    return _lp_pool(x, window, ceil_mode, int(p) if p == int(p) else float(p), spec)


def _as_reals(x, what: str) -> jax.Array:
    x = as_numbers("x", x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise ValueError(
            f"`x` must be floats or integers for {what}. Received: {x.dtype}. Pool `abs(x)`, or "
            f"`x.real` and `x.imag`."
        )
    return x


def _resolve(
    x, window_shape, stride, padding, dilation, ceil_mode: bool, layout
) -> tuple[Window, Sizes]:
    window, spec = resolve_window(
        "window_shape",
        x.shape,
        window_shape,
        stride=window_shape if stride is None else stride,
        padding=padding,
        dilation=dilation,
        layout=layout,
        may_be_empty=True,
    )
    output = _reaching(_cropped(window)).output if ceil_mode else window.output
    check_fits("window_shape", window, output)
    return window, spec


def _cropped(window: Window) -> Window:
    """Return the window on the input without the pixels that negative padding crops."""
    pads = tuple((max(0, low), max(0, high)) for low, high in window.padding)
    sizes = tuple(
        max(0, n + min(0, low) + min(0, high))
        for n, (low, high) in zip(window.input, window.padding, strict=True)
    )
    return Window(sizes, window.taps, window.stride, pads, window.dilation, window.input_dilation)


def _reaching(window: Window) -> Window:
    """Return the window with the padding after the input that `ceil_mode` adds."""
    pads = []
    for axis, (low, _) in enumerate(window.padding):
        stride, n = window.stride[axis], window.input[axis]
        outputs = -(-(window.padded[axis] - window.span[axis]) // stride) + 1
        # Output `o` starts at `o * stride`, and the last pixel stands at `low + n - 1`.
        outputs = min(outputs, -(-(low + n) // stride))
        pads.append((low, max(0, (outputs - 1) * stride + window.span[axis] - low - n)))
    return Window(window.input, window.taps, window.stride, tuple(pads), window.dilation,
                  window.input_dilation)  # fmt: skip


def _crop(x, window: Window, ceil_mode: bool, spec: Sizes) -> tuple[jax.Array, Window, Window]:
    """Return the cropped input, its window, and its window without `ceil_mode`."""
    for axis, (low, high) in zip(spec[2:], window.padding, strict=True):
        x = lax.slice_in_dim(x, max(0, -low), max(max(0, -low), x.shape[axis] + min(0, high)),
                             axis=axis)  # fmt: skip
    cropped = _cropped(window)
    return x, _reaching(cropped) if ceil_mode else cropped, cropped


def _reduce_axis(x, init, op: Callable, window: Window, axis: int):
    """Reduce one axis of `x` by `lax.reduce_window`; `window` has that axis alone."""
    alone = lambda value, rest: tuple(value if a == axis else rest for a in range(x.ndim))
    return lax.reduce_window(
        x,
        np.array(init, x.dtype),
        op,
        alone(window.taps[0], 1),
        alone(window.stride[0], 1),
        alone(window.padding[0], (0, 0)),
        window_dilation=alone(window.dilation[0], 1),
    )


def _passes(window: Window, spec: Sizes):
    """Return the window along each axis with that axis, the last spatial axis first."""
    return [(along(window, i), axis) for i, axis in reversed(list(enumerate(spec[2:])))]


def _sum_pool(x, window: Window, spec: Sizes):
    for one, axis in _passes(window, spec):
        x = _reduce_axis(x, 0, lax.add, one, axis)
    return x


def _float_dtypes(dtype) -> tuple[jnp.dtype, jnp.dtype]:
    """Return the dtype of a floating result, and the dtype in which it is computed."""
    if jnp.issubdtype(dtype, jnp.integer):
        dtype = jnp.result_type(float)
    return dtype, accumulator(dtype)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=True)
def _avg_pool(x, window: Window, ceil_mode: bool, count_include_pad: bool, spec: Sizes):
    dtype, wide = _float_dtypes(x.dtype)
    x, window, cropped = _crop(x.astype(wide), window, ceil_mode, spec)
    y = _sum_pool(x, window, spec)
    count = np.ones((1,) * x.ndim)
    for i, axis in enumerate(spec[2:]):
        pixel, inside = sources(along(window, i))
        if count_include_pad:
            inside = pixel < cropped.input[i] + cropped.padding[i][1]
        shape = [1] * x.ndim
        shape[axis] = -1
        count = count * inside.sum(axis=1).reshape(shape)
    return (y / np.maximum(count, 1).astype(wide)).astype(dtype)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=True)
def _lp_pool(x, window: Window, ceil_mode: bool, p: float, spec: Sizes):
    dtype, wide = _float_dtypes(x.dtype)
    x, window, _ = _crop(x.astype(wide), window, ceil_mode, spec)
    sums = _sum_pool(_power(x, p), window, spec)
    if p == 1:
        return sums.astype(dtype)
    # The root has no derivative at zero. There it is evaluated at one, and the result is dropped.
    zero = sums == 0
    sums = jnp.where(zero, 1, sums)
    return jnp.where(zero, 0, jnp.sqrt(sums) if p == 2 else sums ** (1 / p)).astype(dtype)


def _power(x, p: float):
    """Return |x|^p with derivatives of every order, none of them infinite."""
    if p % 2 == 0:
        return lax.integer_pow(x, int(p))
    if isinstance(p, int):  # `abs` has the derivative 1 at zero in JAX, `sign(x) * x` has 0
        return jnp.sign(x) * lax.integer_pow(x, p)
    zero = x == 0
    return jnp.where(zero, 0, jnp.where(zero, 1, jnp.abs(x)) ** p)


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=True)
def _max_pool(x, window: Window, ceil_mode: bool, return_indices: bool, spec: Sizes):
    indices = _crop(_reading_order(x.shape, spec), window, ceil_mode, spec)[0]
    x, window, _ = _crop(x, window, ceil_mode, spec)
    for one, axis in _passes(window, spec):
        y = _max_axis(x, one, axis)
        if return_indices:
            first = _first(lax.stop_gradient(x), lax.stop_gradient(y), one, axis)
            indices = jnp.where(first.any(axis + 1), _pick(indices, first, one, axis), -1)
        x = y
    return (x, indices) if return_indices else x


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _max_axis(x, window: Window, axis: int):
    if jnp.issubdtype(x.dtype, jnp.integer):
        lowest = jnp.iinfo(x.dtype).min
    else:  # some floats of 8 bits have no infinity
        lowest = np.array(-np.inf, x.dtype)
        lowest = lowest if np.isinf(lowest) else jnp.finfo(x.dtype).min
    return _reduce_axis(x, lowest, lax.max, window, axis)


@_max_axis.defjvp
def _max_axis_jvp(window: Window, axis: int, primals, tangents):
    (x,), (x_dot,) = primals, tangents
    y = _max_axis(x, window, axis)
    return y, _pick(x_dot, _first(x, y, window, axis), window, axis)


def _first(x, y, window: Window, axis: int):
    """Mark the first largest pixel of each window, along `axis + 1`."""
    patches = unfold_axis(x, window=window, axis=axis, taps=axis + 1)
    column = (slice(None), *(None,) * (x.ndim - axis - 1))
    inside = sources(window)[1][(slice(None), *column)]
    largest = (patches == jnp.expand_dims(y, axis + 1)) | (patches != patches)
    tap = np.arange(window.taps[0], dtype=np.int32)[column]
    return tap == jnp.where(largest & inside, tap, window.taps[0]).min(axis + 1, keepdims=True)


def _pick(x, first, window: Window, axis: int):
    """Return the marked pixel of each window, and zero where none is marked."""
    patches = unfold_axis(x, window=window, axis=axis, taps=axis + 1)
    return jnp.where(first, patches, 0).sum(axis + 1, dtype=x.dtype)


def _reading_order(shape: Sizes, spec: Sizes):
    """Return the index of each pixel in reading order, with the shape of the input."""
    space = tuple(shape[axis] for axis in spec[2:])
    order = np.arange(math.prod(space), dtype=np.int32).reshape(space)
    order = order.transpose(np.argsort(np.argsort(spec[2:])))
    return jnp.broadcast_to(np.expand_dims(order, tuple(sorted(spec[:2]))), shape)
