"""The direct sum, by hand: shift, multiply, add.

A convolution is a sum over taps: each tap shifts the input and multiplies it by one slice of the
kernel, a matrix product over channels, or a plain multiplication where each channel has its own
kernel. Where there are more taps than outputs, as in kernel gradients, the sum runs over outputs
instead: each is an inner product of the kernel with the patch below it.

Kernel gradients of depthwise convolutions, and others that have few outputs a channel, multiply
some pixels by zeros, so one infinite pixel can make NaN of outputs that do not see it.

Takes every window. Wins on depthwise kernels up to about 15x15, where XLA's CPU convolution is 15
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

from jconv._core.geometry import Sizes, Window
from jconv._core.problem import Cost, Precision, Problem, accumulator
from jconv._core.validation import check_int
from jconv.algorithms.array_ops import padded, sliced, strided
from jconv.algorithms.base import Algorithm, relative_error, roundings
from jconv.algorithms.depthwise_kernel_grad import channelwise_inner_products

HELD = 32 * 2**20  # bytes of matrix products, or of patches, up to which all are held at once
TERMS = 49  # of matrix products, and of anything that lies in a large output

# Where channels do not mix, one pass over the output adds so many taps: each reads from addresses
# of its own, and past these the registers hold no more. 5x5, 7x7 and 15x15 kernels took 0.7, 0.6
# and 0.05 times as long as with all taps in one pass.
TAPS_OF_A_PASS = 9
CACHED = 8 * 2**20  # bytes of an output that is in cache still when the next pass comes
# Compilers that fuse the passes into one all the same are slow past 11x11 taps: 40 times at 15x15.
PRODUCTS = 225 if jax.__version_info__ >= (0, 12) else 121


@dataclass(frozen=True)
class Direct(Algorithm):
    """The direct sum over taps or over outputs, whichever are fewer.

    Args:
      unroll: terms written out one by one so that XLA can fuse them; more go into a loop. None
        for 49, and for 225 taps (121 before jax 0.12) where channels do not mix.

    Raises:
      ValueError: for an `unroll` that is neither None nor an int of at least 0.
    """

    unroll: int | None = None

    def __post_init__(self):
        if self.unroll is not None:
            unroll = check_int("unroll", self.unroll, min=0, hint=", or None")
            object.__setattr__(self, "unroll", unroll)

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        acc = accumulator(dtype)
        if accumulator(x.dtype) != acc:
            x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        unroll = self._unrolled(problem)
        match self._sum_over(problem):
            case "taps":
                x = padded(x, window)
                if problem.inputs == 1:
                    y = _sum_of_products(x, kernel, window, acc, unroll, _at_once(problem))
                else:
                    y = _sum_of_matrix_products(x, kernel, window, precision, acc, unroll)
            case "outputs":
                y = _each_output(padded(x, window), kernel, window, precision, acc, unroll)
            case "pixels":
                y = channelwise_inner_products(x, kernel, window, acc)
        return y.astype(dtype)

    def _sum_over(self, problem: Problem) -> str:
        """What the terms that are written out, or looped over, stand for."""
        taps, outputs = math.prod(problem.window.taps), math.prod(problem.window.output)
        channelwise = problem.images == 1 and problem.outputs == 1 and problem.groups > 1
        if channelwise and outputs <= min(taps - 1, TERMS if self.unroll is None else self.unroll):
            return "pixels"
        return "taps" if taps <= outputs else "outputs"

    def _unrolled(self, problem: Problem) -> int:
        """Terms up to which they are written out; XLA then holds every product until the sum."""
        if self._term_bytes(problem) * self._terms(problem) > HELD:
            return 0
        if self.unroll is not None:
            return self.unroll
        products = self._sum_over(problem) == "taps" and problem.inputs == 1
        return PRODUCTS if products and _at_once(problem) == TAPS_OF_A_PASS else TERMS

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
        over = self._sum_over(problem)
        what = f"{over}, {'matrices' if problem.inputs > 1 else 'numbers'}"
        return f"{what}, in a loop" if self._terms(problem) > self._unrolled(problem) else what

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


def _at_once(problem: Problem) -> int:
    """Taps that one pass over the output adds, where channels do not mix."""
    _, _, y = problem.sizes
    return TAPS_OF_A_PASS if y * problem.accumulator.itemsize <= CACHED else TERMS


def _sum_of_products(x, kernel, window: Window, dtype, unroll: int, at_once: int):
    """y[o] = sum over t of x[o * stride + t * dilation] kernel[t], of one channel a group: each tap
    is a multiplication, which fuses with the others of its pass."""
    pairs, *_, groups, _, outputs = kernel.shape
    kernel = kernel.astype(dtype)[..., 0, :]

    def term(tap):
        part = strided(x, tap, window.output, window.dilation, window.stride, 2)
        weight = _pick(kernel, tap).reshape(pairs, *(1,) * (window.rank + 1), groups, outputs)
        return part.astype(dtype) * weight

    shape = (*x.shape[:2], *window.output, groups, outputs)
    # In memory of its own: XLA would sum anew for each of several readers, as in a normalisation.
    y = _accumulate(term, window.taps, shape, dtype, unroll, at_once)
    return lax.optimization_barrier(y)


def _sum_of_matrix_products(x, kernel, window: Window, precision, dtype, unroll: int):
    """The same of several channels: each tap is one matrix product for each pair and group."""
    x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
    pairs, groups, images = x.shape[:3]

    def term(tap):
        return jnp.einsum(
            "bgn...c,bgcf->bgn...f",
            _factor(x, tap, window.output, window.dilation, window.stride, 3),
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
        patch = _factor(x, index, window.taps, window.stride, window.dilation, 2)
        return jnp.einsum(equation, patch, kernel, precision=precision,
                          preferred_element_type=dtype)  # fmt: skip

    count = math.prod(window.output)
    if count <= unroll:
        y = jnp.stack([inner(index) for index in itertools.product(*map(range, window.output))])
    else:
        y = lax.map(inner, jnp.asarray(_places(window.output)))
    y = y.reshape(*window.output, *y.shape[1:])
    return jnp.moveaxis(y, (-4, -3), (0, 1))


def _factor(x, index, count: Sizes, scale: Sizes, step: Sizes, first: int):
    """What `strided` takes out, to be a factor of matrix products."""
    part = strided(x, index, count, scale, step, first)
    # The compiler for GPUs aborts over products of some slices with steps (jaxlib 0.11).
    apart = jax.default_backend() == "gpu" and max(step) > 1
    return lax.optimization_barrier(part) if apart else part


def _accumulate(term: Callable, taps: Sizes, shape: Sizes, dtype, unroll: int, at_once: int = 0):
    """Sums `term(index)` over all taps, in passes of `at_once` where they are written out."""
    if math.prod(taps) > unroll:
        add = lambda y, index: (y + term(index), None)
        return lax.scan(add, jnp.zeros(shape, dtype), jnp.asarray(_places(taps)))[0]
    first, *others = itertools.product(*map(range, taps))
    y = term(first)
    for done, index in enumerate(others, start=1):
        if at_once and done % at_once == 0:
            y = lax.optimization_barrier(y)
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
