"""Split: the groups, and the pairs, convolved one after the other.

XLA's CPU convolution computes many groups in plain loops, but one group as a product of matrices.
So the channels are cut apart, each block of them is convolved densely, and the results are put
side by side. Where groups have few channels, some are made one block, with a block-diagonal
kernel: the products by its zeros cost less than products of thin matrices. An infinite pixel can
then make NaN of the other groups of its block.

Wins on grouped convolutions, in all three passes, with 4 channels a group or more: 2 to 10 times
`xla` on those of ResNeXt and AlexNet. Loses on depthwise kernels, to `direct`.
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

# Channels, in and out, up to which groups are made one block: the fastest of 1, 2, 4, ... groups
# on published layers. Kernels larger than their outputs, those of kernel gradients, cost more.
BLOCK, BLOCK_OF_GRADIENT = (16, 16), (8, 32)


@dataclass(frozen=True)
class Split(Algorithm):
    """One dense convolution for each block of groups of each pair.

    Args:
      inner: the algorithm of each.
      unroll: convolutions written out one by one; more go into a loop.

    Raises:
      ValueError: for an `inner` that is not an algorithm, or an `unroll` that is not an int of at
        least 0.
    """

    inner: Algorithm = Xla()
    unroll: int = 4

    def __post_init__(self):
        check_inner(self.inner)
        object.__setattr__(self, "unroll", check_int("unroll", self.unroll, min=0))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        pairs, groups = kernel.shape[0], kernel.shape[-3]
        together = groups_together(Problem.of(x, kernel, window, dtype))
        kernel = block_diagonal(kernel, together)
        blocks = groups // together
        x = x.reshape(*x.shape[:-2], blocks, -1)
        # Pairs and blocks become the pairs of convolutions that have one group.
        x, kernel = jnp.moveaxis(x, -2, 1), jnp.moveaxis(kernel, -3, 1)
        x, kernel = (a.reshape(pairs * blocks, *a.shape[2:]) for a in (x, kernel))

        def one(part):
            x, kernel = part[0][None, ..., None, :], part[1][None, ..., None, :, :]
            return self.inner(
                x, kernel, window, precision=precision, preferred_element_type=dtype
            )[0, ..., 0, :]  # fmt: skip

        if isinstance(pairs, int) and pairs * blocks <= self.unroll:
            y = jnp.stack([one(part) for part in zip(x, kernel, strict=True)])
        else:
            y = lax.map(one, (x, kernel))
        y = jnp.moveaxis(y.reshape(pairs, blocks, *y.shape[1:]), 1, -2)
        return y.reshape(*y.shape[:-2], groups, -1)

    def supports(self, problem: Problem) -> str | None:
        return self.inner.supports(one_block(problem))

    def regime(self, problem: Problem) -> str:
        return self.inner.regime(one_block(problem))

    def cost(self, problem: Problem) -> Cost:
        block = one_block(problem)
        count = problem.pairs * problem.groups // groups_together(problem)
        each, at_once = self.inner.cost(block), min(count, max(1, self.unroll))
        # Operands and result are cut apart and joined by copies.
        copied = 2 * (count * block.bytes + problem.bytes)
        return Cost(count * each.flops, count * each.bytes + copied,
                    at_once * each.workspace + copied)  # fmt: skip

    def error_bound(self, problem: Problem) -> float:
        """See `Algorithm.error_bound`; that of one group, since zeros add no rounding."""
        return self.inner.error_bound(replace(problem, pairs=1, groups=1))


def groups_together(problem: Problem) -> int:
    """How many groups are made one block: a divisor of them."""
    inputs, outputs = BLOCK_OF_GRADIENT if problem.is_long else BLOCK
    most = min(inputs // max(1, problem.inputs), outputs // max(1, problem.outputs))
    return max(n for n in range(1, max(1, most) + 1) if problem.groups % n == 0)


@lru_cache(maxsize=4096)
def one_block(problem: Problem) -> Problem:
    """The convolution of one block of groups of one pair."""
    together = groups_together(problem)
    return replace(
        problem,
        pairs=1,
        groups=1,
        inputs=together * problem.inputs,
        outputs=together * problem.outputs,
        symbolic=(False, problem.symbolic[1]),
    )


def block_diagonal(kernel, together: int):
    """(b, *taps, g, c, f) to (b, *taps, g / m, m c, m f), zero between different groups."""
    if together == 1:
        return kernel
    *first, groups, inputs, outputs = kernel.shape
    kernel = kernel.reshape(*first, groups // together, together, inputs, 1, outputs)
    same = jnp.eye(together, dtype=bool)[:, None, :, None]
    kernel = jnp.where(same, kernel, jnp.zeros((), kernel.dtype))
    return kernel.reshape(*first, groups // together, together * inputs, together * outputs)
