"""Inner products where channels do not mix: the kernel gradient of a depthwise convolution.

The pixels that one output meets are of one phase, their remainder by the dilation (which is the
stride of the convolution that the gradient is of). Those of a phase are laid out in one axis, row
after row, so that each output is a contiguous offset; zeros in the kernel make up for what a
row's end reads of the next. Chunks of the axis are added elementwise and the rest is reduced by a
product with ones: a plain sum would be fused into the stack of results and read memory in
strides, 20 times slower.
"""

from __future__ import annotations

import functools
import itertools
import math

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv.algorithms.array_ops import extended, padded

CHUNKS = 16  # as many as were fastest on 3x3 and 7x7 kernel gradients


def channelwise_inner_products(x, kernel, window: Window, dtype):
    """Convolves x (b, 1, *input, g, c) with kernel (b, *taps, g, c, 1), one output at a time."""
    before = [low for low, _ in window.padding]
    if set(window.input_dilation) != {1}:
        x, before = padded(x, window), [0] * window.rank
    pairs, *_, groups, _ = x.shape
    # (b, c, *space, g) is the order in which gradients already lie.
    x, kernel = jnp.moveaxis(x[:, 0], -1, 1), jnp.moveaxis(kernel[..., 0], -1, 1)
    space = [-(-n // gap) for n, gap in zip(window.padded, window.dilation, strict=True)]
    # Where each output begins along each axis: in which row of a phase, and in which phase.
    begins = [
        [divmod(o * stride, gap) for o in range(outputs)]
        for outputs, stride, gap in zip(window.output, window.stride, window.dilation, strict=True)
    ]
    steps = [math.prod(space[axis:]) for axis in range(1, window.rank + 1)]
    last = sum(axis[-1][0] * step for axis, step in zip(begins, steps, strict=True))
    length = x.shape[1] * math.prod(space)
    chunk = -(-length // CHUNKS)

    def in_one_axis(part, zeros, beyond):
        for axis, (n, low) in enumerate(zip(space, zeros, strict=True), start=2):
            part = extended(part, axis, low, n - low - part.shape[axis])
        part = part.reshape(pairs, length, groups)
        part = extended(part, 1, 0, chunk * CHUNKS - length + beyond)
        return lax.optimization_barrier(part)

    @functools.cache
    def phase(remainders):
        part, zeros = x, []  # those of the padding that are of this phase
        for axis, (r, gap, low) in enumerate(
            zip(remainders, window.dilation, before, strict=True), start=2
        ):
            zeros.append(max(0, -(-(low - r) // gap)))
            first = min(part.shape[axis], r + zeros[-1] * gap - low)
            part = lax.slice_in_dim(part, first, None, gap, axis)
        return in_one_axis(part, zeros, last)

    kernel = in_one_axis(kernel, [0] * window.rank, 0)
    ones = jnp.ones((pairs, chunk), dtype)

    def inner(index):
        rows, remainders = zip(*index, strict=True)
        pixels = phase(remainders)
        offset = sum(row * step for row, step in zip(rows, steps, strict=True))
        parts = [
            lax.slice_in_dim(pixels, offset + start, offset + start + chunk, axis=1).astype(dtype)
            * lax.slice_in_dim(kernel, start, start + chunk, axis=1).astype(dtype)
            for start in (chunk * i for i in range(CHUNKS))  # a batch may be symbolic
        ]
        return jnp.einsum("bl,blg->bg", ones, sum(parts[1:], parts[0]), precision="highest")

    y = jnp.stack([inner(index) for index in itertools.product(*begins)], axis=1)
    return y.reshape(pairs, 1, *window.output, groups, 1)
