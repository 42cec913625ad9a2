"""Direct convolution: shift, multiply, add.

A convolution is a sum over taps. Each tap shifts the input and multiplies it by one slice of the
kernel: by a matrix over the channels or, in a depthwise convolution, elementwise. If there are more
taps than outputs, as in kernel gradients, the sum runs over outputs instead, and each output is an
inner product of the kernel with a patch of the input.

Direct convolution wins on depthwise kernels up to about 15x15, where XLA's CPU convolution is 15 to
50 times slower. It loses on dense kernels with few channels, whose matrix products are too thin. It
supports every window.

Kernel gradients of depthwise convolutions, and other convolutions with few outputs per channel,
multiply some pixels by padded zeros. An infinite pixel can then make an output NaN that does not
depend on it.
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
from jconv.algorithms.array_ops import pad_input, slice_at, strided_block
from jconv.algorithms.base import Algorithm, relative_error_bound, summation_error
from jconv.algorithms.depthwise_kernel_grad import depthwise_inner_products

# Terms (matrix products or patches) of more bytes in total are computed in a loop.
MAX_HELD_BYTES = 32 * 2**20
MAX_UNROLLED_TERMS = 49  # for matrix products, and for all sums in a large output

# One pass over the output of a depthwise convolution adds at most this many taps. Each tap reads
# from a different address, and the registers hold no more addresses. Passes of 9 taps took 0.7, 0.6
# and 0.05 times as long as one pass over all taps, for kernels of 5x5, 7x7 and 15x15.
TAPS_PER_PASS = 9
CACHE_BYTES = 8 * 2**20  # An output of at most this size is still in cache at the next pass.
# Compilers that fuse the passes into one nevertheless are slow above 11x11 taps: 40 times at 15x15.
MAX_UNROLLED_TAPS = 225 if jax.__version_info__ >= (0, 12) else 121


@dataclass(frozen=True)
class Direct(Algorithm):
    """The direct sum over taps or over outputs, whichever are fewer.

    Args:
      unroll: the largest number of terms that are unrolled, so that XLA can fuse them; a longer
        sum is a loop. None stands for 49, or 225 taps (121 before jax 0.12) in depthwise
        convolutions.

    Raises:
      ValueError: if `unroll` is neither None nor an int of at least 0.
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
        unroll = self._max_unrolled(problem)
        match self._sum_over(problem):
            case "taps":
                x = pad_input(x, window)
                if problem.inputs == 1:
                    y = _sum_of_products(x, kernel, window, acc, unroll, _taps_per_pass(problem))
                else:
                    y = _sum_of_matrix_products(x, kernel, window, precision, acc, unroll)
            case "outputs":
                x = pad_input(x, window)
                y = _inner_products(x, kernel, window, precision, acc, unroll)
            case "pixels":
                y = depthwise_inner_products(x, kernel, window, acc)
        return y.astype(dtype)

    def _sum_over(self, problem: Problem) -> str:
        """Return the axes over which the sum is unrolled or looped: taps, outputs or pixels."""
        taps, outputs = math.prod(problem.window.taps), math.prod(problem.window.output)
        depthwise = problem.images == 1 and problem.outputs == 1 and problem.groups > 1
        max_outputs = MAX_UNROLLED_TERMS if self.unroll is None else self.unroll
        if depthwise and outputs <= min(taps - 1, max_outputs):
            return "pixels"
        return "taps" if taps <= outputs else "outputs"

    def _max_unrolled(self, problem: Problem) -> int:
        """Return the largest number of terms to unroll; XLA holds all of them until the sum."""
        if self._term_bytes(problem) * self._terms(problem) > MAX_HELD_BYTES:
            return 0
        if self.unroll is not None:
            return self.unroll
        elementwise = self._sum_over(problem) == "taps" and problem.inputs == 1
        if elementwise and _taps_per_pass(problem) == TAPS_PER_PASS:
            return MAX_UNROLLED_TAPS
        return MAX_UNROLLED_TERMS

    def _terms(self, problem: Problem) -> int:
        return min(math.prod(problem.window.taps), math.prod(problem.window.output))

    def _term_bytes(self, problem: Problem) -> int:
        """Return the bytes of one term: the patch of an output, or a tap's pixels and products."""
        images = problem.pairs * problem.groups * problem.images
        if self._sum_over(problem) == "outputs":
            return images * problem.terms * problem.itemsize
        if problem.inputs == 1:
            return 0  # Elementwise products are added at once.
        pixels = images * math.prod(problem.window.output)
        return pixels * (problem.inputs + problem.outputs) * problem.itemsize

    def regime(self, problem: Problem) -> str:
        factors = "matrices" if problem.inputs > 1 else "numbers"
        label = f"{self._sum_over(problem)}, {factors}"
        in_loop = self._terms(problem) > self._max_unrolled(problem)
        return f"{label}, in a loop" if in_loop else label

    def cost(self, problem: Problem) -> Cost:
        window = problem.window
        taps, outputs = math.prod(window.taps), math.prod(window.output)
        x, kernel, y = problem.sizes
        x = x // max(1, math.prod(window.input)) * math.prod(window.padded)
        if self._sum_over(problem) == "pixels":
            workspace = (8 * x + 2 * kernel + 3 * y) * problem.itemsize
        else:
            unrolled = self._terms(problem) <= self._max_unrolled(problem)
            terms = self._terms(problem) if unrolled else 1
            workspace = (3 * x + 2 * kernel + 3 * y) * problem.itemsize
            workspace += (terms + 1) * self._term_bytes(problem)
        channels = problem.pairs * problem.groups * problem.images
        flops = 2 * channels * problem.inputs * problem.outputs * taps * outputs
        return Cost(flops, problem.bytes + 2 * x * problem.itemsize, workspace)

    def error_bound(self, problem: Problem) -> float:
        """Return the bound of sums over channels that are then summed over taps."""
        if self._sum_over(problem) != "taps":
            return super().error_bound(problem)
        taps = summation_error(math.prod(problem.window.taps))
        channels = summation_error(problem.inputs, problem.outputs)
        return relative_error_bound(problem, channels + taps - 1)


def _taps_per_pass(problem: Problem) -> int:
    """Return the number of taps that one pass over the output of a depthwise convolution adds."""
    _, _, y = problem.sizes
    fits_cache = y * problem.accumulator.itemsize <= CACHE_BYTES
    return TAPS_PER_PASS if fits_cache else MAX_UNROLLED_TERMS


def _sum_of_products(x, kernel, window: Window, dtype, unroll: int, per_pass: int):
    """Sum `x[o * stride + t * dilation] * kernel[t]` over all taps, with one channel per group.

    Each tap is an elementwise product, which XLA fuses with the others of its pass.
    """
    pairs, *_, groups, _, outputs = kernel.shape
    kernel = kernel.astype(dtype)[..., 0, :]

    def product_at(tap):
        pixels = strided_block(x, tap, window.output, window.dilation, window.stride, 2)
        weight = _kernel_at(kernel, tap).reshape(pairs, *(1,) * (window.rank + 1), groups, outputs)
        return pixels.astype(dtype) * weight

    shape = (*x.shape[:2], *window.output, groups, outputs)
    y = _sum_over_taps(product_at, window.taps, shape, dtype, unroll, per_pass)
    # Without the barrier XLA repeats the sum for each of several readers, as in a normalisation.
    return lax.optimization_barrier(y)


def _sum_of_matrix_products(x, kernel, window: Window, precision, dtype, unroll: int):
    """Sum `x[o * stride + t * dilation] @ kernel[t]` over all taps, for each pair and group."""
    x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
    pairs, groups, images = x.shape[:3]

    def product_at(tap):
        return jnp.einsum(
            "bgn...c,bgcf->bgn...f",
            _matmul_operand(x, tap, window.output, window.dilation, window.stride, 3),
            _kernel_at(kernel, tap, first=2),
            precision=precision,
            preferred_element_type=dtype,
        )

    shape = (pairs, groups, images, *window.output, kernel.shape[-1])
    y = _sum_over_taps(product_at, window.taps, shape, dtype, unroll)
    return jnp.moveaxis(y, 1, -2)


def _inner_products(x, kernel, window: Window, precision, dtype, unroll: int):
    """Compute each output as an inner product of its patch of `x` with the kernel."""
    pairs, images = x.shape[:2]
    spatial = "".join(chr(ord("p") + axis) for axis in range(window.rank))
    equation = f"bn{spatial}gc,b{spatial}gcf->bngf"

    def output_at(index):
        patch = _matmul_operand(x, index, window.taps, window.stride, window.dilation, 2)
        return jnp.einsum(equation, patch, kernel, precision=precision,
                          preferred_element_type=dtype)  # fmt: skip

    if math.prod(window.output) <= unroll:
        indices = itertools.product(*map(range, window.output))
        y = jnp.stack([output_at(index) for index in indices])
    else:
        y = lax.map(output_at, jnp.asarray(_all_indices(window.output)))
    y = y.reshape(*window.output, *y.shape[1:])
    return jnp.moveaxis(y, (-4, -3), (0, 1))


def _matmul_operand(x, index, count: Sizes, scale: Sizes, step: Sizes, first: int):
    """Return `strided_block(...)` in a form that can be an operand of a matrix product."""
    block = strided_block(x, index, count, scale, step, first)
    # The compiler for GPUs aborts on products of some strided slices (jaxlib 0.11).
    needs_barrier = jax.default_backend() == "gpu" and max(step) > 1
    return lax.optimization_barrier(block) if needs_barrier else block


def _sum_over_taps(
    term: Callable, taps: Sizes, shape: Sizes, dtype, unroll: int, per_pass: int = 0
):
    """Sum `term(index)` over all taps, unrolled in passes of `per_pass` taps, or in a loop."""
    if math.prod(taps) > unroll:
        add = lambda y, index: (y + term(index), None)
        return lax.scan(add, jnp.zeros(shape, dtype), jnp.asarray(_all_indices(taps)))[0]
    first, *others = itertools.product(*map(range, taps))
    y = term(first)
    for summed, index in enumerate(others, start=1):
        if per_pass and summed % per_pass == 0:
            y = lax.optimization_barrier(y)
        y = y + term(index)
    return y


def _all_indices(sizes: Sizes) -> np.ndarray:
    """Return every index into an array of `sizes`, in order, as the rows of a table for loops."""
    return np.indices(sizes, np.uint32).reshape(len(sizes), -1).T


def _kernel_at(kernel, tap, first: int = 1):
    """Return the slice of the kernel at `tap`, without the tap axes; `first` is the first one."""
    last = kernel.shape[first + len(tap) :]
    starts = [*(0,) * first, *tap, *(0,) * len(last)]
    part = slice_at(kernel, starts, [*kernel.shape[:first], *(1,) * len(tap), *last])
    return part.reshape(*kernel.shape[:first], *last)
