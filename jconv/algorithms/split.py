"""Split: a grouped convolution as one dense convolution after the other.

XLA's CPU convolution computes many groups in plain loops, but one group as a product of matrices.
So the channels are cut into blocks of groups, each block is convolved densely, and the results are
concatenated. The pairs of a batch are split likewise.

If groups have few channels, several of them form one block with a block-diagonal kernel, because
products with its zeros cost less than products of thin matrices. An infinite pixel can then make
the outputs of the other groups of its block NaN.

Split wins on grouped convolutions with at least 4 channels per group, in all three passes: it is 2
to 10 times as fast as `xla` on those of ResNeXt and AlexNet. It loses to `direct` on depthwise
kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.problem import Cost, Precision, Problem
from jconv._core.validation import check_int
from jconv.algorithms.base import Algorithm, check_inner
from jconv.algorithms.xla import Xla

# The largest (input, output) channels of a block of several groups. They gave the fastest of 1, 2,
# 4, ... groups on published layers. Kernel gradients, whose kernels are larger than their outputs,
# are slower in large blocks.
MAX_BLOCK_CHANNELS, MAX_BLOCK_CHANNELS_OF_GRADIENT = (16, 16), (8, 32)


@dataclass(frozen=True)
class Split(Algorithm):
    """One dense convolution for each block of groups of each pair.

    Args:
      inner: the algorithm of each dense convolution.
      unroll: the largest number of convolutions that are unrolled; more of them run in a loop.

    Raises:
      ValueError: if `inner` is not an algorithm, or `unroll` is not an int of at least 0.
    """

    inner: Algorithm = Xla()
    unroll: int = 4

    def __post_init__(self):
        check_inner(self.inner)
        object.__setattr__(self, "unroll", check_int("unroll", self.unroll, min=0))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        pairs, groups = kernel.shape[0], kernel.shape[-3]
        block_groups = groups_per_block(Problem.of(x, kernel, window, dtype))
        kernel = block_diagonal(kernel, block_groups)
        blocks = groups // block_groups
        x = x.reshape(*x.shape[:-2], blocks, -1)
        # Pairs and blocks become the pairs of convolutions with one group.
        x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
        x, kernel = (a.reshape(pairs * blocks, *a.shape[2:]) for a in (x, kernel))

        def solve_block(operands):
            x, kernel = operands
            x, kernel = x[None, ..., None, :], kernel[None, ..., None, :, :]
            y = self.inner(x, kernel, window, precision=precision, preferred_element_type=dtype)
            return y[0, ..., 0, :]

        if isinstance(pairs, int) and pairs * blocks <= self.unroll:
            y = jnp.stack([solve_block(operands) for operands in zip(x, kernel, strict=True)])
        else:
            y = lax.map(solve_block, (x, kernel))
        y = jnp.moveaxis(y.reshape(pairs, blocks, *y.shape[1:]), 1, -2)
        return y.reshape(*y.shape[:-2], groups, -1)

    def supports(self, problem: Problem) -> str | None:
        return self.inner.supports(block_problem(problem))

    def regime(self, problem: Problem) -> str:
        return self.inner.regime(block_problem(problem))

    def cost(self, problem: Problem) -> Cost:
        block = block_problem(problem)
        count = problem.pairs * problem.groups // groups_per_block(problem)
        inner = self.inner.cost(block)
        concurrent = min(count, max(1, self.unroll))
        # Cutting the operands and joining the results are copies.
        copied = 2 * (count * block.bytes + problem.bytes)
        return Cost(
            flops=count * inner.flops,
            bytes=count * inner.bytes + copied,
            workspace=concurrent * inner.workspace + copied,
        )

    def error_bound(self, problem: Problem) -> float:
        """Return the bound of one group; the zeros of a block add no rounding errors."""
        return self.inner.error_bound(replace(problem, pairs=1, groups=1))


def groups_per_block(problem: Problem) -> int:
    """Return the number of groups that form one block, a divisor of the number of groups."""
    limits = MAX_BLOCK_CHANNELS_OF_GRADIENT if problem.is_long else MAX_BLOCK_CHANNELS
    max_inputs, max_outputs = limits
    max_groups = min(max_inputs // max(1, problem.inputs), max_outputs // max(1, problem.outputs))
    return max(n for n in range(1, max(1, max_groups) + 1) if problem.groups % n == 0)


@lru_cache(maxsize=4096)
def block_problem(problem: Problem) -> Problem:
    """Return the convolution of one block of groups of one pair."""
    block_groups = groups_per_block(problem)
    return replace(
        problem,
        pairs=1,
        groups=1,
        inputs=block_groups * problem.inputs,
        outputs=block_groups * problem.outputs,
        symbolic=(False, problem.symbolic[1]),
    )


def block_diagonal(kernel, block_groups: int):
    """Join every `m = block_groups` groups of a kernel to one, with zeros between them.

    The shape (b, *taps, g, c, f) becomes (b, *taps, g / m, m c, m f).
    """
    if block_groups == 1:
        return kernel
    *first, groups, inputs, outputs = kernel.shape
    blocks = groups // block_groups
    kernel = kernel.reshape(*first, blocks, block_groups, inputs, 1, outputs)
    same_group = jnp.eye(block_groups, dtype=bool)[:, None, :, None]
    kernel = jnp.where(same_group, kernel, jnp.zeros((), kernel.dtype))
    return kernel.reshape(*first, blocks, block_groups * inputs, block_groups * outputs)
