"""im2col: copy the patch under each output into a row, then multiply matrices once.

Every convolution is one matrix product of patches (outputs x taps * channels) and kernels. The
patches repeat each pixel once per tap, so they are made a block of outputs at a time, of at most
`workspace` bytes.

Wins where the product is large in every direction and the image small, as in kernel gradients
with few taps. Loses on dense kernels over large images, to `xla`, by 1.5 to 3 times: the copies
cost more than the product. A depthwise kernel makes it a product of one column.

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
from jconv.algorithms.array_ops import cropped, every, padded
from jconv.algorithms.base import Algorithm
from jconv.algorithms.blocking import Blocks
from jconv.algorithms.polyphase import by_phases, dense_problem

UNROLLED = 8  # slices along one axis up to which its patches are slices, more are a gather


@dataclass(frozen=True)
class Im2col(Algorithm):
    """One matrix product of patches and kernels.

    Args:
      workspace: bytes of patches held at a time; one output's patch is the least.

    Raises:
      ValueError: for a workspace that is not a positive int.
    """

    workspace: int = 64 * 2**20

    def __post_init__(self):
        object.__setattr__(self, "workspace", check_int("workspace", self.workspace, min=1))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def product(x, kernel, window):
            return self._product(x, kernel, window, precision, dtype)

        if any(gap > 1 for gap in window.input_dilation):
            return by_phases(product, x, kernel, window)
        return product(x, kernel, window)

    def _product(self, x, kernel, window: Window, precision, dtype):
        acc = accumulator(dtype)
        if accumulator(x.dtype) != acc:
            x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        blocks = self._blocks(problem)
        kernel = kernel.reshape(kernel.shape[0], math.prod(window.taps), *kernel.shape[-3:])

        def one(x, kernel):
            outputs = blocks.sizes[2:]
            y = jnp.einsum("bnotgc,btgcf->bnogf", _patches(x, outputs, window), kernel,
                           precision=precision, preferred_element_type=acc)  # fmt: skip
            return y.astype(dtype).reshape(*y.shape[:2], *outputs, *y.shape[-2:])

        return cropped(blocks.run(one, padded(x, window), kernel), window.output)

    def _blocks(self, problem: Problem) -> Blocks:
        window = problem.window
        counts = (problem.pairs, problem.images, *window.output)
        return Blocks.within(
            self.workspace, _row(problem), counts, window.stride, window.span, problem.symbolic
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
        # Patches are made axis by axis and then put in order, each time by a copy.
        return Cost(
            flops=2 * outputs * problem.groups * problem.terms * problem.outputs,
            bytes=problem.bytes + 2 * outputs * _row(problem),
            workspace=3 * blocks.places * _row(problem) + 3 * problem.bytes,
        )


def _row(problem: Problem) -> int:
    """Bytes of the patch under one output, all groups together."""
    size = max(problem.accumulator.itemsize, problem.dtype.itemsize)
    return problem.groups * problem.terms * size


def _patches(x, outputs: Sizes, window: Window):
    """(b, n, *space, g, c) to (b, n, prod(outputs), prod(taps), g, c), one axis after the other."""
    rank = window.rank
    for axis, (count, taps, stride, dilation) in enumerate(
        zip(outputs, window.taps, window.stride, window.dilation, strict=True)
    ):
        at = 2 + 2 * axis  # each axis before this one has become two: outputs and taps
        if taps <= min(count, UNROLLED):
            parts = [every(x, at, t * dilation, stride, count) for t in range(taps)]
            x = jnp.stack(parts, at + 1)
        elif count <= UNROLLED:
            x = jnp.stack([every(x, at, o * stride, dilation, taps) for o in range(count)], at)
        else:
            index = stride * jnp.arange(count)[:, None] + dilation * jnp.arange(taps)
            x = jnp.take(x, index, axis=at, mode="clip")
    order = [0, 1, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2), -2, -1]
    x = jnp.transpose(x, [axis % x.ndim for axis in order])
    return x.reshape(*x.shape[:2], math.prod(outputs), math.prod(window.taps), *x.shape[-2:])
