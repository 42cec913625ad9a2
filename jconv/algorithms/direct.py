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
import numpy as np
from jax import lax

from jconv.algorithms.algorithm import (
    Algorithm,
    Cost,
    Precision,
    Problem,
    accumulator,
    relative_error,
    roundings,
)
from jconv.algorithms.channelwise import channelwise_inner_products
from jconv.algorithms.space import padded, sliced, strided
from jconv.window import Sizes, Window, whole

HELD = 32 * 2**20  # bytes of matrix products, or of patches, up to which all are held at once


@dataclass(frozen=True)
class Direct(Algorithm):
    """The direct sum over taps or over outputs, whichever are fewer.

    Args:
      unroll: terms written out one by one so that XLA can fuse them; more go into a loop.

    Raises:
      ValueError: for an `unroll` that is not an int of at least 0.
    """

    unroll: int = 49

    def __post_init__(self):
        object.__setattr__(self, "unroll", whole("unroll", self.unroll, least=0))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        acc = accumulator(dtype)
        if accumulator(x.dtype) != acc:
            x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        unroll = self._unrolled(problem)
        match self._sum_over(problem):
            case "taps":
                y = _sum_over_taps(padded(x, window), kernel, window, precision, acc, unroll)
            case "outputs":
                y = _each_output(padded(x, window), kernel, window, precision, acc, unroll)
            case "pixels":
                y = channelwise_inner_products(x, kernel, window, acc)
        return y.astype(dtype)

    def _sum_over(self, problem: Problem) -> str:
        """What the terms that are written out, or looped over, stand for."""
        taps, outputs = math.prod(problem.window.taps), math.prod(problem.window.output)
        channelwise = problem.images == 1 and problem.outputs == 1 and problem.groups > 1
        if channelwise and outputs <= min(taps - 1, self.unroll):
            return "pixels"
        return "taps" if taps <= outputs else "outputs"

    def _unrolled(self, problem: Problem) -> int:
        """Terms up to which they are written out; XLA then holds every product until the sum."""
        return self.unroll if self._term_bytes(problem) * self._terms(problem) <= HELD else 0

    def _terms(self, problem: Problem) -> int:
        return min(math.prod(problem.window.taps), math.prod(problem.window.output))

    def _term_bytes(self, problem: Problem) -> int:
        """Of the pixels that one tap meets and their products, or of the patch under an output."""
        images = problem.pairs * problem.groups * problem.images
        if self._sum_over(problem) == "outputs":
            return images * problem.terms * problem.itemsize
        if problem.inputs == 1:
            return 0  # products of numbers are added at once
        pixels = images * math.prod(problem.window.output)
        return pixels * (problem.inputs + problem.outputs) * problem.itemsize

    def regime(self, problem: Problem) -> str:
        words = [self._sum_over(problem), "matrices" if problem.inputs > 1 else "numbers"]
        words += ["in a loop"] * (self._terms(problem) > self._unrolled(problem))
        return ", ".join(words)

    def cost(self, problem: Problem) -> Cost:
        window = problem.window
        taps, outputs = math.prod(window.taps), math.prod(window.output)
        x, kernel, y = problem.sizes
        x = x // max(1, math.prod(window.input)) * math.prod(window.padded)
        if self._sum_over(problem) == "pixels":
            held = (8 * x + 2 * kernel + 3 * y) * problem.itemsize
        else:
            written_out = self._terms(problem) <= self._unrolled(problem)
            terms = self._terms(problem) if written_out else 1
            held = (3 * x + 2 * kernel + 3 * y) * problem.itemsize
            held += (terms + 1) * self._term_bytes(problem)
        channels = problem.pairs * problem.groups * problem.images
        flops = 2 * channels * problem.inputs * problem.outputs * taps * outputs
        return Cost(flops, problem.bytes + 2 * x * problem.itemsize, held)

    def error_bound(self, problem: Problem) -> float:
        """See `Algorithm.error_bound`; channels are summed first, then taps."""
        if self._sum_over(problem) != "taps":
            return super().error_bound(problem)
        taps = roundings(math.prod(problem.window.taps))
        channels = roundings(problem.inputs, problem.outputs)
        return relative_error(problem, channels + taps - 1)


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
        part = strided(x, tap, window.output, window.dilation, window.stride, 2)
        weight = _pick(kernel, tap).reshape(pairs, *(1,) * (window.rank + 1), groups, outputs)
        return part.astype(dtype) * weight

    shape = (*x.shape[:2], *window.output, groups, outputs)
    # In memory of its own: XLA would sum anew for each of several readers, as in a normalisation.
    return lax.optimization_barrier(_accumulate(term, window.taps, shape, dtype, unroll))


def _sum_of_matrix_products(x, kernel, window: Window, precision, dtype, unroll: int):
    """Of several channels: each tap is one matrix product for each pair and group."""
    x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
    pairs, groups, images = x.shape[:3]

    def term(tap):
        return jnp.einsum(
            "bgn...c,bgcf->bgn...f",
            strided(x, tap, window.output, window.dilation, window.stride, 3),
            _pick(kernel, tap, first=2),
            precision=precision,
            preferred_element_type=dtype,
        )

    shape = (pairs, groups, images, *window.output, kernel.shape[-1])
    y = _accumulate(term, window.taps, shape, dtype, unroll)
    return jnp.moveaxis(y, 1, -2)


def _each_output(x, kernel, window: Window, precision, dtype, unroll: int):
    """y[o] = <x[o * stride + ...], kernel>, one inner product per output."""
    pairs, images = x.shape[:2]
    spatial = "".join(chr(ord("p") + axis) for axis in range(window.rank))
    equation = f"bn{spatial}gc,b{spatial}gcf->bngf"

    def inner(index):
        patch = strided(x, index, window.taps, window.stride, window.dilation, 2)
        return jnp.einsum(equation, patch, kernel, precision=precision,
                          preferred_element_type=dtype)  # fmt: skip

    count = math.prod(window.output)
    if count <= unroll:
        y = jnp.stack([inner(index) for index in itertools.product(*map(range, window.output))])
    else:
        y = lax.map(inner, jnp.asarray(_places(window.output)))
    y = y.reshape(*window.output, *y.shape[1:])
    return jnp.moveaxis(y, (-4, -3), (0, 1))


def _accumulate(term: Callable, taps: Sizes, shape: Sizes, dtype, unroll: int):
    """Sums `term(index)` over all taps."""
    if math.prod(taps) > unroll:
        add = lambda y, index: (y + term(index), None)
        return lax.scan(add, jnp.zeros(shape, dtype), jnp.asarray(_places(taps)))[0]
    indices = itertools.product(*map(range, taps))
    y = term(next(indices))
    for index in indices:
        y = y + term(index)
    return y


def _places(sizes: Sizes) -> np.ndarray:
    """Every index into an array of `sizes`, one after the other: a table that loops read."""
    return np.indices(sizes, np.uint32).reshape(len(sizes), -1).T


def _pick(kernel, index, first: int = 1):
    """The kernel's slice at tap `index`, its tap axes gone."""
    last = kernel.shape[first + len(index) :]
    starts = [*(0,) * first, *index, *(0,) * len(last)]
    part = sliced(kernel, starts, [*kernel.shape[:first], *(1,) * len(index), *last])
    return part.reshape(*kernel.shape[:first], *last)
