"""Space: what algorithms do to the spatial axes of canonical arrays, without a loop over pixels."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes, Window


def padded(x, window: Window):
    """Dilates, pads and crops the spatial axes, once, in memory of its own.

    Without the barrier XLA fuses the padding's bounds checks into every tap.
    """
    spatial = [(low, high, gap - 1) for (low, high), gap in
               zip(window.padding, window.input_dilation, strict=True)]  # fmt: skip
    if not any(map(any, spatial)):
        return x
    edges = [(0, 0, 0), (0, 0, 0), *spatial, (0, 0, 0), (0, 0, 0)]
    return lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), edges))


def strided(x, index, count: Sizes, scale: Sizes, step: Sizes, first: int):
    """Of each spatial axis, `count` entries `step` apart, from `index * scale` on."""
    last = range(first + len(count), x.ndim)
    extent = [(n - 1) * s + 1 for n, s in zip(count, step, strict=True)]
    starts = [
        *(0,) * first,
        *(i * s for i, s in zip(index, scale, strict=True)),
        *(0 for _ in last),
    ]
    sizes = [*x.shape[:first], *extent, *(x.shape[axis] for axis in last)]
    part = sliced(x, starts, sizes)
    for axis, s in enumerate(step, start=first):
        part = lax.slice_in_dim(part, 0, None, s, axis) if s > 1 else part
    return part


def sliced(x, starts, sizes):
    """`lax.slice` where the start is known, as in unrolled terms; `dynamic_slice` in loops."""
    if all(isinstance(start, int) for start in starts):
        return lax.slice(x, starts, [a + n for a, n in zip(starts, sizes, strict=True)])
    # Unsigned, so that no instructions are spent on counting negative ones from the end.
    return lax.dynamic_slice(x, [jnp.uint32(start) for start in starts], sizes)


def every(x, axis: int, start: int, step: int, count: int):
    """`count` entries of one axis, `step` apart, from `start` on."""
    return lax.slice_in_dim(x, start, start + (count - 1) * step + 1, step, axis)


def extended(x, axis: int, low: int, high: int):
    """Zeros before and after one axis; negative ones crop."""
    if low == high == 0:
        return x
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (low, high, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def merged(x, axis: int):
    """Merges `axis` with the one after it."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def cropped(y, output: Sizes):
    """The first `output` pixels of (b, n, *space, g, f)."""
    for axis, size in enumerate(output, start=2):
        y = lax.slice_in_dim(y, 0, size, axis=axis)
    return y
