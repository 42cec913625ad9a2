"""Blocks: a convolution some outputs at a time, so that its workspace stays small."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes
from jconv.algorithms.array_ops import extended


@dataclass(frozen=True)
class Blocks:
    """A grid of pairs, images and places along each spatial axis, cut into equal blocks.

    Args:
      counts: (pairs, images, *places).
      sizes: of one block, in the same units.
      step: input pixels from one place to the next, along each spatial axis.
      reach: input pixels that one place reads, along each spatial axis.
    """

    counts: Sizes
    sizes: Sizes
    step: Sizes
    reach: Sizes

    @classmethod
    def within(
        cls,
        limit: int,
        each: int,
        counts: Sequence[int],
        step: Sequence[int],
        reach: Sequence[int],
        whole: Sequence[bool] = (),
    ) -> Blocks:
        """Blocks of at most `limit` bytes, at `each` bytes a place; the first axes are cut first.

        Pairs and images are cut without remainder, a spatial axis into blocks of nearly one size.
        Those that `whole` marks are not cut, since how many there are is not known yet.
        """
        counts = [max(1, count) for count in counts]
        sizes = list(counts)
        for axis, count in enumerate(counts):
            others = math.prod(sizes) // count * each
            most = max(1, min(count, limit // max(others, 1)))
            if any(whole[axis : axis + 1]):
                continue
            if axis < 2:
                sizes[axis] = max(d for d in range(1, most + 1) if count % d == 0)
            else:
                sizes[axis] = -(-count // -(-count // most))
        return cls(tuple(counts), tuple(sizes), tuple(step), tuple(reach))

    @property
    def grid(self) -> Sizes:
        """Blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.counts, self.sizes, strict=True))

    @property
    def places(self) -> int:
        """Places in one block, over all axes."""
        return math.prod(self.sizes)

    @property
    def region(self) -> Sizes:
        """Input pixels that one block reads, along each spatial axis."""
        return tuple((size - 1) * step + reach for size, step, reach in
                     zip(self.sizes[2:], self.step, self.reach, strict=True))  # fmt: skip

    @property
    def covered(self) -> Sizes:
        """Input pixels that all blocks read, along each spatial axis."""
        return tuple(
            (count - 1) * size * step + region
            for count, size, step, region in zip(
                self.grid[2:], self.sizes[2:], self.step, self.region, strict=True
            )
        )

    def run(self, f: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Computes `f(x, kernel)` block by block.

        Args:
          f: from (b, n, *region, g, c) and (b, ...) to (b, n, *outputs, g, f), with as many
            outputs along an axis as its block has places, or a multiple.
          x: inputs (b, n, *space, g, c).
          kernel: what `f` takes, one for each pair.

        Returns:
          The outputs, (b, n, *outputs, g, f), of all blocks; past the last place they have no
          meaning.
        """
        for axis, (have, want) in enumerate(zip(x.shape[2:-2], self.covered, strict=True), 2):
            x = extended(x, axis, 0, want - have)
        if math.prod(self.grid) == 1:
            return f(x, kernel)

        def one(i):
            at = jnp.unravel_index(i, self.grid)
            starts = [j * size for j, size in zip(at, self.sizes, strict=True)]
            steps = (1, 1, *self.step)
            x_starts = [start * step for start, step in zip(starts, steps, strict=True)]
            pairs, images = (
                have if count == 1 else size  # what is not cut may be symbolic
                for have, count, size in zip(x.shape[:2], self.grid, self.sizes, strict=False)
            )
            part = lax.dynamic_slice(
                x, [*x_starts, 0, 0], [pairs, images, *self.region, *x.shape[-2:]]
            )
            if self.grid[0] == 1:
                return f(part, kernel)
            return f(part, lax.dynamic_slice_in_dim(kernel, starts[0], pairs))

        return self._joined(lax.map(one, jnp.arange(math.prod(self.grid))))

    def _joined(self, y: jax.Array) -> jax.Array:
        """(blocks, b, n, *outputs, g, f) to the whole."""
        grid, block = self.grid, y.shape[1:]
        rank = len(grid)
        y = y.reshape(*grid, *block)
        order = [axis for a in range(rank) for axis in (a, rank + a)]
        y = jnp.transpose(y, [*order, 2 * rank, 2 * rank + 1])
        return y.reshape(*(i * n for i, n in zip(grid, block, strict=False)), *block[-2:])
