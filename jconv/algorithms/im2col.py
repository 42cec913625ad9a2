"""im2col: copy the patch under each output into a row, then multiply matrices.

Every convolution is one matrix product of patches (outputs x taps * channels) and kernels. The
patches repeat each pixel once per tap, so they are made for one block of outputs at a time, of at
most `workspace` bytes.

im2col wins if the product is large in every direction and the image is small, as in kernel
gradients with few taps. It loses to `xla` by 1.5 to 3 times on dense kernels over large images,
because the copies cost more than the product. With a depthwise kernel, the matrix of the kernel has
a single column.

Reference: Chellapilla, Puri & Simard, "High Performance Convolutional Neural Networks for
Document Processing" (2006).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jconv._core.geometry import Sizes, Window
from jconv._core.problem import Cost, Precision, Problem, accumulator
from jconv._core.validation import check_int
from jconv.algorithms.array_ops import crop_output, pad_input, strided_slice
from jconv.algorithms.base import Algorithm
from jconv.algorithms.blocking import Blocks
from jconv.algorithms.polyphase import convolve_by_phase, dense_problem

MAX_SLICES = 8  # Patches along an axis with more outputs and more taps than this are a gather.


@dataclass(frozen=True)
class Im2col(Algorithm):
    """Convolution as a matrix product of patches and kernels.

    Args:
      workspace: the largest number of bytes of patches held at a time; the patch of one output is
        the minimum.

    Raises:
      ValueError: if `workspace` is not a positive int.
    """

    workspace: int = 64 * 2**20

    def __post_init__(self):
        object.__setattr__(self, "workspace", check_int("workspace", self.workspace, min=1))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def multiply_patches(x, kernel, window):
            return self._multiply_patches(x, kernel, window, precision, dtype)

        if any(gap > 1 for gap in window.input_dilation):
            return convolve_by_phase(multiply_patches, x, kernel, window)
        return multiply_patches(x, kernel, window)

    def _multiply_patches(self, x, kernel, window: Window, precision, dtype):
        acc = accumulator(dtype)
        if accumulator(x.dtype) != acc:
            x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        blocks = self._blocks(problem)
        kernel = kernel.reshape(kernel.shape[0], math.prod(window.taps), *kernel.shape[-3:])

        def solve_block(x, kernel):
            outputs = blocks.sizes[2:]
            y = jnp.einsum("bnotgc,btgcf->bnogf", _patches(x, outputs, window), kernel,
                           precision=precision, preferred_element_type=acc)  # fmt: skip
            return y.astype(dtype).reshape(*y.shape[:2], *outputs, *y.shape[-2:])

        return crop_output(blocks.run(solve_block, pad_input(x, window), kernel), window.output)

    def _blocks(self, problem: Problem) -> Blocks:
        window = problem.window
        counts = (problem.pairs, problem.images, *window.output)
        return Blocks.within(
            self.workspace,
            _row_bytes(problem),
            counts,
            window.stride,
            window.span,
            problem.symbolic,
        )

    def regime(self, problem: Problem) -> str:
        thin = problem.outputs == 1 if problem.is_long else problem.inputs == 1
        return super().regime(problem) + ", thin" * thin

    def cost(self, problem: Problem) -> Cost:
        window = problem.window
        if any(gap > 1 for gap in window.input_dilation):
            problem = dense_problem(problem)
        blocks = self._blocks(problem)
        outputs = problem.pairs * problem.images * math.prod(problem.window.output)
        # Patches are made axis by axis and then transposed; each step is a copy.
        return Cost(
            flops=2 * outputs * problem.groups * problem.terms * problem.outputs,
            bytes=problem.bytes + 2 * outputs * _row_bytes(problem),
            workspace=3 * blocks.positions_per_block * _row_bytes(problem) + 3 * problem.bytes,
        )


def _row_bytes(problem: Problem) -> int:
    """Return the bytes of the patch under one output, over all groups."""
    size = max(problem.accumulator.itemsize, problem.dtype.itemsize)
    return problem.groups * problem.terms * size


def _patches(x, outputs: Sizes, window: Window):
    """Return the patches (b, n, prod(outputs), prod(taps), g, c) of x (b, n, *spatial, g, c).

    One spatial axis after the other becomes two, which count outputs and taps.
    """
    rank = window.rank
    for i, (count, taps, stride, dilation) in enumerate(
        zip(outputs, window.taps, window.stride, window.dilation, strict=True)
    ):
        axis = 2 + 2 * i  # Each spatial axis before this one has become two.
        if taps <= min(count, MAX_SLICES):
            slices = [strided_slice(x, axis, t * dilation, stride, count) for t in range(taps)]
            x = jnp.stack(slices, axis + 1)
        elif count <= MAX_SLICES:
            slices = [strided_slice(x, axis, o * stride, dilation, taps) for o in range(count)]
            x = jnp.stack(slices, axis)
        else:
            index = stride * jnp.arange(count)[:, None] + dilation * jnp.arange(taps)
            x = jnp.take(x, index, axis=axis, mode="clip")
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2), -2, -1]
    x = jnp.transpose(x, [axis % x.ndim for axis in order])
    return x.reshape(*x.shape[:2], math.prod(outputs), math.prod(window.taps), *x.shape[-2:])
