"""Slicing, padding and reshaping of the spatial axes of canonical arrays."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes, Window


def pad_input(x, window: Window):
    """Dilate, pad and crop the spatial axes of `x`, as the window says.

    The result is held in memory. Without the optimization barrier XLA fuses the bounds checks of
    the padding into every tap.
    """
    spatial = [(low, high, gap - 1) for (low, high), gap in
               zip(window.padding, window.input_dilation, strict=True)]  # fmt: skip
    if not any(map(any, spatial)):
        return x
    edges = [(0, 0, 0), (0, 0, 0), *spatial, (0, 0, 0), (0, 0, 0)]
    return lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), edges))


def strided_block(x, index, count: Sizes, scale: Sizes, step: Sizes, first: int):
    """Return `count` entries of each spatial axis, `step` apart, beginning at `index * scale`.

    `first` is the number of the first spatial axis.
    """
    last = range(first + len(count), x.ndim)
    extent = [(n - 1) * s + 1 for n, s in zip(count, step, strict=True)]
    starts = [
        *(0,) * first,
        *(i * s for i, s in zip(index, scale, strict=True)),
        *(0 for _ in last),
    ]
    sizes = [*x.shape[:first], *extent, *(x.shape[axis] for axis in last)]
    block = slice_at(x, starts, sizes)
    for axis, s in enumerate(step, start=first):
        block = lax.slice_in_dim(block, 0, None, s, axis) if s > 1 else block
    return block


def slice_at(x, starts, sizes):
    """Return `sizes` entries of `x` from `starts` on.

    Starts that are known, as in unrolled sums, give a `lax.slice`; the others, as in loops, a
    `lax.dynamic_slice`.
    """
    if all(isinstance(start, int) for start in starts):
        return lax.slice(x, starts, [a + n for a, n in zip(starts, sizes, strict=True)])
    # Unsigned starts save the instructions that count negative ones from the end.
    return lax.dynamic_slice(x, [jnp.uint32(start) for start in starts], sizes)


def strided_slice(x, axis: int, start: int, step: int, count: int):
    """Return `count` entries of one axis, `step` apart, from `start` on."""
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)


def pad_axis(x, axis: int, low: int, high: int):
    """Pad one axis with zeros before and after; negative counts crop."""
    if low == high == 0:
        return x
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def flatten_axes(x, axis: int):
    """Reshape `axis` and the one after it into one axis."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def crop_output(y, output: Sizes):
    """Return the first `output` pixels of (b, n, *spatial, g, f)."""
    for axis, size in enumerate(output, start=2):
        y = lax.slice_in_dim(y, 0, size, axis=axis)
    return y
