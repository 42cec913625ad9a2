"""Evaluation in blocks of outputs, which bounds the workspace of an algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes
from jconv.algorithms.array_ops import pad_axis


@dataclass(frozen=True)
class Blocks:
    """A grid of pairs, images and positions along each spatial axis, cut into equal blocks.

    A position is one output, or one tile of outputs.

    Args:
      counts: (pairs, images, *positions).
      sizes: the size of one block, in the same units.
      step: input pixels from one position to the next, along each spatial axis.
      receptive_field: input pixels that one position reads, along each spatial axis.
    """

    counts: Sizes
    sizes: Sizes
    step: Sizes
    receptive_field: Sizes

    @classmethod
    def within(
        cls,
        max_bytes: int,
        bytes_per_position: int,
        counts: Sequence[int],
        step: Sequence[int],
        receptive_field: Sequence[int],
        uncut: Sequence[bool] = (),
    ) -> Blocks:
        """Return the largest blocks of at most `max_bytes`.

        The first axes are cut first. Pairs and images are cut without remainder, spatial axes into
        blocks of nearly equal size. Axes that `uncut` marks stay whole, because their sizes are
        symbolic. One position is the smallest block.
        """
        counts = [max(1, count) for count in counts]
        sizes = list(counts)
        for axis, count in enumerate(counts):
            bytes_per_entry = math.prod(sizes) // count * bytes_per_position
            max_size = max(1, min(count, max_bytes // max(bytes_per_entry, 1)))
            if any(uncut[axis : axis + 1]):
                continue
            if axis < 2:
                sizes[axis] = max(d for d in range(1, max_size + 1) if count % d == 0)
            else:
                sizes[axis] = -(-count // -(-count // max_size))
        return cls(tuple(counts), tuple(sizes), tuple(step), tuple(receptive_field))

    @property
    def grid(self) -> Sizes:
        """The number of blocks along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.counts, self.sizes, strict=True))

    @property
    def positions_per_block(self) -> int:
        """The number of positions in one block, over all axes."""
        return math.prod(self.sizes)

    @property
    def region(self) -> Sizes:
        """The input pixels that one block reads, along each spatial axis."""
        return tuple((size - 1) * step + field for size, step, field in
                     zip(self.sizes[2:], self.step, self.receptive_field, strict=True))  # fmt: skip

    @property
    def covered(self) -> Sizes:
        """The input pixels that all blocks read, along each spatial axis."""
        return tuple(
            (count - 1) * size * step + region
            for count, size, step, region in zip(
                self.grid[2:], self.sizes[2:], self.step, self.region, strict=True
            )
        )

    def run(self, f: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """Compute `f(x, kernel)` block by block.

        Args:
          f: a function from (b, n, *region, g, c) and (b, ...) to (b, n, *outputs, g, f), with as
            many outputs along an axis as its block has positions, or a multiple.
          x: inputs (b, n, *spatial, g, c).
          kernel: the second argument of `f`, with one entry per pair.

        Returns:
          The outputs (b, n, *outputs, g, f) of all blocks. Outputs past the last position are
          meaningless.
        """
        for axis, (have, want) in enumerate(zip(x.shape[2:-2], self.covered, strict=True), 2):
            x = pad_axis(x, axis, 0, want - have)
        if math.prod(self.grid) == 1:
            return f(x, kernel)

        def run_block(i):
            block = jnp.unravel_index(i, self.grid)
            starts = [j * size for j, size in zip(block, self.sizes, strict=True)]
            steps = (1, 1, *self.step)
            x_starts = [start * step for start, step in zip(starts, steps, strict=True)]
            # An axis that is not cut may have a symbolic size.
            pairs, images = (
                have if count == 1 else size
                for have, count, size in zip(x.shape[:2], self.grid, self.sizes, strict=False)
            )
            region = lax.dynamic_slice(
                x, [*x_starts, 0, 0], [pairs, images, *self.region, *x.shape[-2:]]
            )
            if self.grid[0] == 1:
                return f(region, kernel)
            return f(region, lax.dynamic_slice_in_dim(kernel, starts[0], pairs))

        return self._join(lax.map(run_block, jnp.arange(math.prod(self.grid))))

    def _join(self, y: jax.Array) -> jax.Array:
        """Join (blocks, b, n, *outputs, g, f) to one array (b, n, *outputs, g, f)."""
        grid, block = self.grid, y.shape[1:]
        rank = len(grid)
        y = y.reshape(*grid, *block)
        order = [axis for a in range(rank) for axis in (a, rank + a)]
        y = jnp.transpose(y, [*order, 2 * rank, 2 * rank + 1])
        return y.reshape(*(i * n for i, n in zip(grid, block, strict=False)), *block[-2:])
