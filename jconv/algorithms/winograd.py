"""Winograd: fewer products, by interpolating polynomials.

`F(m, r)` computes `m` outputs of `r` taps from `m + r - 1` products a pixel row instead of `m r`;
over two axes F(4, 3) needs 36 instead of 144. Dilated and strided windows are sorted into dense
ones first. Errors grow with the points; see `toom_cook.amplification`.

Wins on dense 3x3 kernels with 64 and more channels: 1.5 to 2.5 times `xla` with jax 0.12.
Loses with few channels, where the transforms cost more than the products saved.

Reference: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2016).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax import lax

from jconv._core.problem import Problem, issubdtype
from jconv._core.validation import as_listed, check_int, received
from jconv.algorithms.base import relative_error, roundings
from jconv.algorithms.polyphase import dense_problem
from jconv.algorithms.tiling import TiledAlgorithm, Tiling, cut
from jconv.algorithms.toom_cook import POINTS, amplification, matrices

MOST_TAPS = 7  # along an axis; more would need points whose errors drown the result
MOST_POINTS = 8  # of a tile whose size is left to the algorithm


@dataclass(frozen=True)
class Winograd(TiledAlgorithm):
    """F(m, r) along every axis, of any number of axes.

    Args:
      tile: `m`, outputs of one tile along every axis, or one for each; None for 4, or as many as
        keep to 8 points.
      block: bytes of tiles and transforms worked on at a time; one tile is the least.

    Raises:
      ValueError: for a tile or block that is not a positive int, or a tile that is too large.
    """

    tile: int | tuple[int, ...] | None = None
    block: int = 64 * 2**20

    def __post_init__(self):
        object.__setattr__(self, "block", check_int("block", self.block, min=1))
        listed = as_listed(self.tile)
        tiles = tuple(_tile(size) for size in ((self.tile,) if listed is None else listed))
        if not tiles:
            raise ValueError(f"`tile` must have an entry for each axis. {received('tile', ())}")
        object.__setattr__(self, "tile", tiles[0] if listed is None else tiles)

    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        window = problem.window
        return tuple(
            self._cut(output, taps, axis)
            for axis, (output, taps) in enumerate(zip(window.output, window.taps, strict=True))
        )

    def _cut(self, output: int, taps: int, axis: int) -> Tiling:
        tile = self.tile[axis] if isinstance(self.tile, tuple) else self.tile
        most = tile or 4
        if taps <= MOST_TAPS and taps <= output:
            size = tile or max(1, min(most, MOST_POINTS + 1 - taps))
            return cut(output, taps, size if taps > 1 else 1, taps)
        # The roles of outputs and taps may be exchanged: F(r, m) has the same points.
        return cut(output, taps, output, tile or max(1, min(most, MOST_POINTS + 1 - output)))

    def supports_dense(self, problem: Problem) -> str | None:
        if not issubdtype(problem.dtype, jnp.inexact):
            return f"its fractions are not exact in {problem.dtype}"
        window = problem.window
        if isinstance(self.tile, tuple) and len(self.tile) != window.rank:
            return f"`tile` has {len(self.tile)} entries for {window.rank} spatial axes"
        for output, taps in zip(window.output, window.taps, strict=True):
            if min(taps, output) > MOST_TAPS:
                return (
                    f"{taps} taps (of one phase) along an axis with {output} outputs are more "
                    f"than {MOST_TAPS}, past which its errors grow too large"
                )
        for tiling in self.tilings(problem) if self.tile else ():
            if tiling.points - 1 > len(POINTS):
                return f"a tile of {tiling.outputs} and {tiling.taps} taps need too many points"
        return None

    def transform_input(self, x, tilings):
        return _along_axes(x, [matrices(t.outputs, t.taps)[2] for t in tilings])

    def transform_kernel(self, kernel, tilings):
        return _along_axes(kernel, [matrices(t.outputs, t.taps)[1] for t in tilings])

    def multiply(self, x_hat, kernel_hat, precision):
        return jnp.matmul(x_hat, kernel_hat, precision=precision)

    def inverse(self, y_hat, tilings, dtype):
        return _along_axes(y_hat, [matrices(t.outputs, t.taps)[0] for t in tilings])

    def transform_flops(self, problem: Problem, tilings, places: int) -> int:
        pixels = self.values(tilings) * problem.groups
        parts = math.prod(t.parts for t in tilings)
        points = sum(t.points for t in tilings)
        outputs = sum(t.outputs for t in tilings)
        x = places * parts * problem.inputs * points
        kernel = problem.pairs * parts * problem.inputs * problem.outputs * points
        return 2 * pixels * (x + kernel + places * problem.outputs * outputs)

    def error_bound(self, problem: Problem) -> float:
        """See `Algorithm.error_bound`.

        The roundings of the transforms grow by `amplification` along each axis on their way to
        the result, those of the sum over channels do not.

        Reference: Barabasz et al. (2020), theorem 1, with norms for independent errors.
        """
        dense = dense_problem(problem)
        tilings = self.tilings(dense)
        growth = math.prod(amplification(t.outputs, t.taps) for t in tilings)
        sums = dense.inputs * math.prod(t.parts for t in tilings)
        return relative_error(problem, 4 * growth + roundings(sums, dense.outputs))


def _tile(size: Any) -> int | None:
    if size is None:
        return None
    size = check_int("tile", size, min=1, hint=", None, or one of them for each spatial axis")
    if size > len(POINTS):
        raise ValueError(
            f"`tile` must be at most {len(POINTS)}: more outputs need points whose errors drown "
            f"the result. {received('tile', size)}"
        )
    return size


def _along_axes(x, transforms):
    """Multiplies axes 1, 2, ... of x by one matrix each.

    Written out as sums of slices, which XLA fuses: twice as fast as products with matrices whose
    sides are 6.
    """
    for axis, matrix in enumerate(transforms, start=1):
        slices = [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
        x = jnp.stack([_combination(row, slices) for row in matrix], axis)
    return x


def _combination(weights, slices):
    """A weighted sum; weights of 0 and 1 cost nothing."""
    terms = [
        part if weight == 1 else part * jnp.asarray(weight, part.dtype)
        for weight, part in zip(map(float, weights), slices, strict=True)
        if weight != 0
    ]
    return sum(terms[1:], terms[0])
