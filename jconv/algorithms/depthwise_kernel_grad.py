"""The kernel gradient of a depthwise convolution, as inner products of pixels and cotangents.

The pixels that one output of this convolution (one tap of the kernel) depends on lie `dilation`
apart: they form one phase, which is their remainder by the dilation. (This dilation is the stride
of the convolution whose gradient is computed.) The pixels of a phase are laid out along one axis,
row after row, so that each output corresponds to a contiguous slice at its own offset. The end of
a row also reads the start of the next row, and zeros in the kernel cancel these products.

The axis is cut into chunks that are added elementwise, and the rest is reduced by a product with
ones. XLA would fuse a plain sum into the stack of results and read memory in strides, which is 20
times slower.
"""

from __future__ import annotations

import functools
import itertools
import math

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv.algorithms.array_ops import pad_axis, pad_input

NUM_CHUNKS = 16  # The fastest number on kernel gradients of 3x3 and 7x7.


def depthwise_inner_products(x, kernel, window: Window, dtype):
    """Convolve x (b, 1, *input, g, c) with kernel (b, *taps, g, c, 1), one output at a time."""
    pad_low = [low for low, _ in window.padding]
    if set(window.input_dilation) != {1}:
        x, pad_low = pad_input(x, window), [0] * window.rank
    pairs, *_, groups, _ = x.shape
    # Gradients already lie in the order (b, c, *spatial, g).
    x, kernel = jnp.moveaxis(x[:, 0], -1, 1), jnp.moveaxis(kernel[..., 0], -1, 1)
    phase_sizes = [-(-n // gap) for n, gap in zip(window.padded, window.dilation, strict=True)]
    # The (row within its phase, phase) at which each output begins, along each axis.
    output_starts = [
        [divmod(o * stride, gap) for o in range(outputs)]
        for outputs, stride, gap in zip(window.output, window.stride, window.dilation, strict=True)
    ]
    row_steps = [math.prod(phase_sizes[axis:]) for axis in range(1, window.rank + 1)]
    max_offset = sum(
        starts[-1][0] * step for starts, step in zip(output_starts, row_steps, strict=True)
    )
    length = x.shape[1] * math.prod(phase_sizes)
    chunk = -(-length // NUM_CHUNKS)

    def lay_out(a, zeros, extra):
        """Pad `a` to the size of a phase and flatten it to (b, pixels, g)."""
        for axis, (n, low) in enumerate(zip(phase_sizes, zeros, strict=True), start=2):
            a = pad_axis(a, axis, low, n - low - a.shape[axis])
        a = a.reshape(pairs, length, groups)
        a = pad_axis(a, 1, 0, chunk * NUM_CHUNKS - length + extra)
        return lax.optimization_barrier(a)

    @functools.cache
    def phase_pixels(phases):
        pixels, zeros = x, []  # `zeros` counts the padding that belongs to this phase.
        for axis, (phase, gap, low) in enumerate(
            zip(phases, window.dilation, pad_low, strict=True), start=2
        ):
            zeros.append(max(0, -(-(low - phase) // gap)))
            first = min(pixels.shape[axis], phase + zeros[-1] * gap - low)
            pixels = lax.slice_in_dim(pixels, first, None, gap, axis)
        return lay_out(pixels, zeros, max_offset)

    kernel = lay_out(kernel, [0] * window.rank, 0)
    ones = jnp.ones((pairs, chunk), dtype)

    def inner_product(output):
        rows, phases = zip(*output, strict=True)
        pixels = phase_pixels(phases)
        offset = sum(row * step for row, step in zip(rows, row_steps, strict=True))
        # A batch of symbolic size makes `chunk` symbolic, which `range` does not take as a step.
        products = [
            lax.slice_in_dim(pixels, offset + start, offset + start + chunk, axis=1).astype(dtype)
            * lax.slice_in_dim(kernel, start, start + chunk, axis=1).astype(dtype)
            for start in (chunk * i for i in range(NUM_CHUNKS))
        ]
        total = sum(products[1:], products[0])
        return jnp.einsum("bl,blg->bg", ones, total, precision="highest")

    y = jnp.stack([inner_product(o) for o in itertools.product(*output_starts)], axis=1)
    return y.reshape(pairs, 1, *window.output, groups, 1)
