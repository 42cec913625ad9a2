"""The direct sum, by hand: shift, multiply, add.

A convolution is a sum over taps: each tap shifts the input and multiplies it by one slice of the
kernel, a matrix product over channels, or a plain multiplication where each channel has its own
kernel. Where there are more taps than outputs, as in kernel gradients, the sum runs over outputs
instead: each is an inner product of the kernel with the patch below it.

Kernel gradients of depthwise convolutions, and others that have few outputs a channel, multiply
some pixels by zeros, so one infinite pixel can make NaN of outputs that do not see it.

Takes every window. Wins on depthwise kernels up to about 7x7, where XLA's CPU convolution is 20
to 50 times slower. Loses on dense kernels with few channels, whose matrix products are too thin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jconv.algorithms.algorithm import Algorithm, Cost, Precision, Problem, accumulator
from jconv.window import Sizes, Window

CHUNKS = 16  # as many as were fastest on 3x3 and 7x7 kernel gradients


@dataclass(frozen=True)
class Direct(Algorithm):
    """The direct sum over taps or over outputs, whichever are fewer.

    Args:
      unroll: terms written out one by one so that XLA can fuse them; more go into a loop.
    """

    unroll: int = 49

    def __call__(
        self,
        x: jax.Array,
        kernel: jax.Array,
        window: Window,
        *,
        precision: Precision = None,
        preferred_element_type: jnp.dtype | None = None,
    ) -> jax.Array:
        dtype = jnp.dtype(preferred_element_type or x.dtype)
        acc = accumulator(dtype)
        if accumulator(x.dtype) != acc:
            x, kernel = x.astype(acc), kernel.astype(acc)
        taps, outputs = math.prod(window.taps), math.prod(window.output)
        if 0 in (taps, outputs, *kernel.shape) or 0 in x.shape[2:]:
            shape = (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])
            return jnp.zeros(shape, dtype)
        channelwise = x.shape[1] == 1 and kernel.shape[-1] == 1 and kernel.shape[-3] > 1
        if channelwise and outputs <= min(taps - 1, self.unroll):
            y = _channelwise_inner_products(_pad(x, window), kernel, window, acc)
        elif taps <= outputs:
            y = _sum_over_taps(_pad(x, window), kernel, window, precision, acc, self.unroll)
        else:
            y = _each_output(_pad(x, window), kernel, window, precision, acc, self.unroll)
        return y.astype(dtype)

    def cost(self, problem: Problem) -> Cost:
        window = problem.window
        channels = problem.pairs * problem.groups * problem.images
        padded = channels * math.prod(window.padded) * problem.inputs * problem.dtype.itemsize
        dense = 2 * channels * problem.inputs * problem.outputs
        flops = dense * math.prod(window.taps) * math.prod(window.output)
        return Cost(flops, problem.bytes + padded, padded)


def _pad(x, window: Window):
    """Dilates, pads and crops the spatial axes, once, in memory of its own.

    Without the barrier XLA fuses the padding's bounds checks into every tap.
    """
    spatial = [(low, high, gap - 1) for (low, high), gap in
               zip(window.padding, window.input_dilation, strict=True)]  # fmt: skip
    if not any(map(any, spatial)):
        return x
    edges = [(0, 0, 0), (0, 0, 0), *spatial, (0, 0, 0), (0, 0, 0)]
    return lax.optimization_barrier(lax.pad(x, jnp.zeros((), x.dtype), edges))


def _sum_over_taps(x, kernel, window: Window, precision, dtype, unroll: int):
    """y[o] = sum over t of x[o * stride + t * dilation] kernel[t]."""
    if kernel.shape[-2] == 1:
        return _sum_of_products(x, kernel, window, dtype, unroll)
    return _sum_of_matrix_products(x, kernel, window, precision, dtype, unroll)


def _sum_of_products(x, kernel, window: Window, dtype, unroll: int):
    """Of one channel a group: each tap is a multiplication, which fuses with the others."""
    pairs, *_, groups, _, outputs = kernel.shape
    kernel = kernel.astype(dtype)[..., 0, :]

    def term(tap):
        part = _strided(x, tap, window.output, window.dilation, window.stride, 2)
        weight = _pick(kernel, tap).reshape(pairs, *(1,) * (window.rank + 1), groups, outputs)
        return part.astype(dtype) * weight

    shape = (*x.shape[:2], *window.output, groups, outputs)
    return _accumulate(term, window.taps, shape, dtype, unroll)


def _sum_of_matrix_products(x, kernel, window: Window, precision, dtype, unroll: int):
    """Of several channels: each tap is one matrix product for each pair and group."""
    x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
    pairs, groups, images = x.shape[:3]

    def term(tap):
        return jnp.einsum(
            "bgn...c,bgcf->bgn...f",
            _strided(x, tap, window.output, window.dilation, window.stride, 3),
            _pick(kernel, tap, first=2),
            precision=precision,
            preferred_element_type=dtype,
        )

    shape = (pairs, groups, images, *window.output, kernel.shape[-1])
    return jnp.moveaxis(_accumulate(term, window.taps, shape, dtype, unroll), 1, -2)


def _each_output(x, kernel, window: Window, precision, dtype, unroll: int):
    """y[o] = <x[o * stride + ...], kernel>, one inner product per output."""
    pairs, images = x.shape[:2]
    spatial = "".join(chr(ord("p") + axis) for axis in range(window.rank))
    equation = f"bn{spatial}gc,b{spatial}gcf->bngf"

    def inner(index):
        patch = _strided(x, index, window.taps, window.stride, window.dilation, 2)
        return jnp.einsum(equation, patch, kernel, precision=precision,
                          preferred_element_type=dtype)  # fmt: skip

    count = math.prod(window.output)
    if count <= unroll:
        y = jnp.stack([inner(index) for index in itertools.product(*map(range, window.output))])
    else:
        y = lax.map(lambda i: inner(jnp.unravel_index(i, window.output)), jnp.arange(count))
    y = y.reshape(*window.output, *y.shape[1:])
    return jnp.moveaxis(y, (-4, -3), (0, 1))


def _channelwise_inner_products(x, kernel, window: Window, dtype):
    """The same where channels do not mix, as in the kernel gradient of a depthwise convolution.

    All pixels are laid out in one axis, row after row, so that each output is a contiguous
    offset; zeros in the kernel make up for what a row's end reads of the next. Chunks of the
    axis are added elementwise and the rest is reduced by a product with ones: a plain sum would
    be fused into the stack of results and read memory in strides, 20 times slower.
    """
    pairs, *_, groups, _ = x.shape
    space = x.shape[2:-2]
    # (b, 1, *space, g, c) -> (b, c * space, g), the order in which gradients already lie.
    x = jnp.moveaxis(x[:, 0], -1, 1).reshape(pairs, -1, groups)
    kernel = jnp.moveaxis(kernel[..., 0], -1, 1)
    fill = [
        (0, n - extent, gap - 1)
        for n, extent, gap in zip(space, window.span, window.dilation, strict=True)
    ]
    kernel = lax.pad(kernel, jnp.zeros((), kernel.dtype), [(0, 0, 0)] * 2 + fill + [(0, 0, 0)])
    kernel = kernel.reshape(pairs, -1, groups)

    steps = [math.prod(space[axis + 1 :]) * s for axis, s in enumerate(window.stride)]
    offsets = [
        sum(i * step for i, step in zip(index, steps, strict=True))
        for index in itertools.product(*map(range, window.output))
    ]
    length = kernel.shape[1]
    chunk = -(-length // CHUNKS)
    x = jnp.pad(x, [(0, 0), (0, chunk * CHUNKS - length + offsets[-1]), (0, 0)])
    kernel = jnp.pad(kernel, [(0, 0), (0, chunk * CHUNKS - length), (0, 0)])
    x, kernel = lax.optimization_barrier((x, kernel))
    ones = jnp.ones((pairs, chunk), dtype)

    def inner(offset):
        starts = [chunk * i for i in range(CHUNKS)]
        parts = [
            lax.slice_in_dim(x, offset + start, offset + start + chunk, axis=1).astype(dtype)
            * lax.slice_in_dim(kernel, start, start + chunk, axis=1).astype(dtype)
            for start in starts
        ]
        return jnp.einsum("bl,blg->bg", ones, sum(parts[1:], parts[0]), precision="highest")

    y = jnp.stack([inner(offset) for offset in offsets], axis=1)
    return y.reshape(pairs, 1, *window.output, groups, 1)


def _accumulate(term: Callable, taps: Sizes, shape: Sizes, dtype, unroll: int):
    """Sums `term(index)` over all taps."""
    count = math.prod(taps)
    if count <= unroll:
        indices = itertools.product(*map(range, taps))
        y = term(next(indices))
        for index in indices:
            y = y + term(index)
        return y

    def body(i, y):
        return y + term(jnp.unravel_index(i, taps))

    return lax.fori_loop(0, count, body, jnp.zeros(shape, dtype))


def _strided(x, index, count: Sizes, scale: Sizes, step: Sizes, first: int):
    """Of each spatial axis, `count` entries `step` apart, from `index * scale` on."""
    last = range(first + len(count), x.ndim)
    extent = [(n - 1) * s + 1 for n, s in zip(count, step, strict=True)]
    starts = [
        *(0,) * first,
        *(i * s for i, s in zip(index, scale, strict=True)),
        *(0 for _ in last),
    ]
    sizes = [*x.shape[:first], *extent, *(x.shape[axis] for axis in last)]
    part = _slice(x, starts, sizes)
    for axis, s in enumerate(step, start=first):
        part = lax.slice_in_dim(part, 0, None, s, axis) if s > 1 else part
    return part


def _pick(kernel, index, first: int = 1):
    """The kernel's slice at tap `index`, its tap axes gone."""
    last = kernel.shape[first + len(index) :]
    starts = [*(0,) * first, *index, *(0,) * len(last)]
    part = _slice(kernel, starts, [*kernel.shape[:first], *(1,) * len(index), *last])
    return part.reshape(*kernel.shape[:first], *last)


def _slice(x, starts, sizes):
    """`lax.slice` where the start is known, as in unrolled terms; `dynamic_slice` in loops."""
    if all(isinstance(start, int) for start in starts):
        return lax.slice(x, starts, [a + n for a, n in zip(starts, sizes, strict=True)])
    return lax.dynamic_slice(x, starts, sizes)
