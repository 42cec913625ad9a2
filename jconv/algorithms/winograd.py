"""Winograd convolution: fewer products, by interpolating polynomials.

`F(m, r)` computes `m` outputs of `r` taps from `m + r - 1` products instead of `m r`. Over two
axes, F(4, 3) needs 36 products instead of 144. Dilated and strided windows are first sorted into
dense ones. Errors grow with the number of points; see `toom_cook.amplification`.

Winograd wins on dense 3x3 kernels with at least 64 channels: it is 1.5 to 2.5 times as fast as
`xla` with jax 0.12. It loses with few channels, where the transforms cost more than the products
that they save.

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
from jconv.algorithms.base import relative_error_bound, summation_error
from jconv.algorithms.polyphase import dense_problem
from jconv.algorithms.tiling import TiledAlgorithm, Tiling, make_tiling
from jconv.algorithms.toom_cook import POINTS, amplification, matrices

MAX_TAPS = 7  # along an axis; the rounding errors of more taps exceed the result
MAX_POINTS = 8  # of a tile with `tile=None`


@dataclass(frozen=True)
class Winograd(TiledAlgorithm):
    """Winograd convolution F(m, r) along any number of axes.

    Args:
      tile: `m`, the outputs of one tile along every axis, or one size per axis. None stands for 4,
        or fewer where the tile would need more than 8 points.
      block: the largest number of bytes of tiles and transforms that are computed at a time; one
        tile is the minimum.

    Raises:
      ValueError: if `tile` or `block` is not a positive int, or if `tile` is too large.
    """

    tile: int | tuple[int, ...] | None = None
    block: int = 64 * 2**20

    def __post_init__(self):
        object.__setattr__(self, "block", check_int("block", self.block, min=1))
        listed = as_listed(self.tile)
        tiles = tuple(_check_tile(size) for size in ((self.tile,) if listed is None else listed))
        if not tiles:
            raise ValueError(f"`tile` must have an entry for each axis. {received('tile', ())}")
        object.__setattr__(self, "tile", tiles[0] if listed is None else tiles)

    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        window = problem.window
        return tuple(
            self._tiling(output, taps, axis)
            for axis, (output, taps) in enumerate(zip(window.output, window.taps, strict=True))
        )

    def _tiling(self, output: int, taps: int, axis: int) -> Tiling:
        tile = self.tile[axis] if isinstance(self.tile, tuple) else self.tile
        if taps <= MAX_TAPS and taps <= output:
            size = tile or max(1, min(4, MAX_POINTS + 1 - taps))
            return make_tiling(output, taps, size if taps > 1 else 1, taps)
        # The roles of outputs and taps can be exchanged: F(r, m) has the same points.
        part = tile or max(1, min(4, MAX_POINTS + 1 - output))
        return make_tiling(output, taps, output, part)

    def supports_dense(self, problem: Problem) -> str | None:
        if not issubdtype(problem.dtype, jnp.inexact):
            return f"its fractions are not exact in {problem.dtype}"
        window = problem.window
        if isinstance(self.tile, tuple) and len(self.tile) != window.rank:
            return f"`tile` has {len(self.tile)} entries for {window.rank} spatial axes"
        for output, taps in zip(window.output, window.taps, strict=True):
            if min(taps, output) > MAX_TAPS:
                return (
                    f"{taps} taps (of one phase) along an axis with {output} outputs are more "
                    f"than {MAX_TAPS}, above which its rounding errors are too large"
                )
        for tiling in self.tilings(problem) if self.tile else ():
            if tiling.points - 1 > len(POINTS):
                return f"a tile of {tiling.outputs} and {tiling.taps} taps needs too many points"
        return None

    def transform_input(self, x, tilings):
        return _transform_axes(x, [matrices(t.outputs, t.taps)[2] for t in tilings])

    def transform_kernel(self, kernel, tilings):
        return _transform_axes(kernel, [matrices(t.outputs, t.taps)[1] for t in tilings])

    def multiply(self, x_hat, kernel_hat, precision):
        return jnp.matmul(x_hat, kernel_hat, precision=precision)

    def inverse_transform(self, y_hat, tilings, dtype):
        return _transform_axes(y_hat, [matrices(t.outputs, t.taps)[0] for t in tilings])

    def transform_flops(self, problem: Problem, tilings, positions: int) -> int:
        values = self.transform_size(tilings) * problem.groups
        parts = math.prod(t.parts for t in tilings)
        points = sum(t.points for t in tilings)
        outputs = sum(t.outputs for t in tilings)
        x = positions * parts * problem.inputs * points
        kernel = problem.pairs * parts * problem.inputs * problem.outputs * points
        return 2 * values * (x + kernel + positions * problem.outputs * outputs)

    def error_bound(self, problem: Problem) -> float:
        """Return the bound of `Algorithm.error_bound`.

        The rounding errors of the transforms grow by `amplification` along each axis. Those of the
        sum over channels do not grow.

        Reference: Barabasz et al. (2020), theorem 1, with norms for independent errors.
        """
        dense = dense_problem(problem)
        tilings = self.tilings(dense)
        growth = math.prod(amplification(t.outputs, t.taps) for t in tilings)
        terms = dense.inputs * math.prod(t.parts for t in tilings)
        return relative_error_bound(problem, 4 * growth + summation_error(terms, dense.outputs))


def _check_tile(size: Any) -> int | None:
    if size is None:
        return None
    size = check_int("tile", size, min=1, hint=", None, or one of them for each spatial axis")
    if size > len(POINTS):
        raise ValueError(
            f"`tile` must be at most {len(POINTS)}, since the rounding errors of larger tiles "
            f"exceed the result. {received('tile', size)}"
        )
    return size


def _transform_axes(x, transforms):
    """Multiply axes 1, 2, ... of x by one matrix each.

    The products are unrolled into sums of slices, which XLA fuses. They take half the time of
    matrix products with matrices of 6x6.
    """
    for axis, matrix in enumerate(transforms, start=1):
        slices = [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]
        x = jnp.stack([_weighted_sum(row, slices) for row in matrix], axis)
    return x


def _weighted_sum(weights, slices):
    """Return a weighted sum of slices; weights of 0 and 1 cost nothing."""
    terms = [
        part if weight == 1 else part * jnp.asarray(weight, part.dtype)
        for weight, part in zip(map(float, weights), slices, strict=True)
        if weight != 0
    ]
    return sum(terms[1:], terms[0])
