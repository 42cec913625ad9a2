"""Tiled algorithms, which multiply pixels and taps in a transformed domain, tile by tile.

Along each axis, a tile of `outputs + taps - 1` pixels and a kernel of `taps` give `outputs`
pixels: the inverse transform of the product of their transforms. Inputs are cut into overlapping
tiles ("overlap-save"). If there are more taps than outputs, as in a kernel gradient, the kernel is
cut into parts instead, whose products are summed before the inverse transform. Each point of the
transformed domain has one matrix product over channels.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.problem import Cost, Problem, accumulator
from jconv.algorithms.array_ops import crop_output, pad_axis, strided_slice
from jconv.algorithms.blocking import Blocks
from jconv.algorithms.polyphase import DenseAlgorithm, dense_window


@dataclass(frozen=True)
class Tiling:
    """The tiles of one axis, which is cut along its outputs, along its taps, or not at all.

    Args:
      outputs: outputs of one tile.
      taps: taps of one part of the kernel.
      points: points of the transform of a tile, at least `input_pixels`.
      positions: the number of tiles whose outputs lie next to each other.
      parts: the number of tiles whose outputs are summed, one per part of the kernel.
    """

    outputs: int
    taps: int
    points: int
    positions: int
    parts: int

    @property
    def input_pixels(self) -> int:
        """The input pixels of one tile."""
        return self.outputs + self.taps - 1

    @property
    def step(self) -> int:
        """The input pixels from one tile to the next."""
        return self.outputs if self.parts == 1 else self.taps

    @property
    def receptive_field(self) -> int:
        """The input pixels of one position, over all parts."""
        return self.outputs + self.parts * self.taps - 1


def make_tiling(output: int, taps: int, max_outputs: int, max_taps: int, points: int = 0) -> Tiling:
    """Return the tiling of an axis with `output` outputs and `taps` taps.

    Args:
      output: outputs of the axis.
      taps: taps of the axis.
      max_outputs: the largest number of outputs of one tile.
      max_taps: the largest number of taps of one part of the kernel.
      points: points of a transform; 0 stands for the pixels of a tile.
    """
    m, r = max(1, min(output, max_outputs)), max(1, min(taps, max_taps))
    return Tiling(m, r, points or m + r - 1, positions=-(-output // m), parts=-(-taps // r))


class TiledAlgorithm(DenseAlgorithm):
    """Base class of tiled algorithms; a subclass defines the tilings and the transforms."""

    # The largest number of bytes of tiles and transforms that are computed at a time; one tile is
    # the minimum.
    block: int

    @abc.abstractmethod
    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        """Return the tiling of each axis of a dense problem."""

    @abc.abstractmethod
    def transform_input(self, x, tilings: Sequence[Tiling]):
        """Return the transform of tiles (b, *input_pixels, g, tiles, k)."""

    @abc.abstractmethod
    def transform_kernel(self, kernel, tilings: Sequence[Tiling]) -> jax.Array:
        """Return the transform of the parts of a kernel (b, *taps, g, k, f)."""

    @abc.abstractmethod
    def multiply(self, x_hat, kernel_hat, precision):
        """Multiply the transforms point by point and sum the products over `k`."""

    @abc.abstractmethod
    def inverse_transform(self, y_hat, tilings: Sequence[Tiling], dtype: jnp.dtype):
        """Return the outputs (b, *outputs, g, tiles, f) of a result of `multiply`."""

    def transform_size(self, tilings: Sequence[Tiling]) -> int:
        """Return the number of real numbers in the transform of one tile."""
        return math.prod(tiling.points for tiling in tilings)

    def solve_dense(self, x, kernel, window: Window, precision, dtype):
        acc = accumulator(dtype)
        x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        tilings = self.tilings(problem)
        if self._splits_kernel(problem, tilings):
            return self._sum_over_parts(x, kernel, window, tilings, precision, dtype)
        kernel_hat = self.transform_kernel(_kernel_parts(kernel, tilings), tilings)

        def solve_block(x, kernel_hat):
            x_hat = self.transform_input(_input_tiles(x, tilings), tilings)
            y_hat = self.multiply(x_hat, kernel_hat, precision)
            y = self.inverse_transform(y_hat, tilings, acc)
            return _join_tiles(y, x.shape, tilings).astype(dtype)

        y = self._blocks(problem, tilings).run(solve_block, x, kernel_hat)
        return crop_output(y, window.output)

    def _bytes_per_position(self, problem: Problem, tilings: Sequence[Tiling]) -> int:
        """Return the bytes of the tiles of one position, their transforms and their products."""
        parts = math.prod(tiling.parts for tiling in tilings)
        channels = 2 * parts * problem.inputs + 2 * problem.outputs
        itemsize = problem.accumulator.itemsize
        return self.transform_size(tilings) * channels * problem.groups * itemsize

    def _kernel_bytes(self, problem: Problem, tilings: Sequence[Tiling]) -> int:
        """Return the bytes of the transforms of the kernels of one pair."""
        size = self.transform_size(tilings) * math.prod(tiling.parts for tiling in tilings)
        channels = problem.groups * problem.inputs * problem.outputs
        return size * channels * problem.accumulator.itemsize

    def _blocks(self, problem: Problem, tilings: Sequence[Tiling]) -> Blocks:
        return Blocks.within(
            self.block,
            self._bytes_per_position(problem, tilings),
            counts=(problem.pairs, problem.images, *(t.positions for t in tilings)),
            step=[t.outputs for t in tilings],
            receptive_field=[t.receptive_field for t in tilings],
            uncut=problem.symbolic,
        )

    def _splits_kernel(self, problem: Problem, tilings: Sequence[Tiling]) -> bool:
        """Return True if all parts of the kernel together exceed a block."""
        size = max(self._kernel_bytes(problem, tilings), self._bytes_per_position(problem, tilings))
        return size > self.block and any(tiling.parts > 1 for tiling in tilings)

    def _sum_over_parts(self, x, kernel, window: Window, tilings, precision, dtype):
        """Convolve with each half of the kernel, cut along the axis with most parts, and add."""
        axis = max(range(len(tilings)), key=lambda a: tilings[a].parts)
        tiling = tilings[axis]
        taps = -(-tiling.parts // 2) * tiling.taps
        kernel = pad_axis(kernel, 1 + axis, 0, 2 * taps - window.taps[axis])
        x = pad_axis(x, 2 + axis, 0, window.output[axis] + 2 * taps - 1 - x.shape[2 + axis])
        sizes = list(window.input), list(window.taps)
        sizes[0][axis], sizes[1][axis] = window.output[axis] + taps - 1, taps
        half = dense_window(*map(tuple, sizes))

        def add_half(i, y):
            pixels = lax.dynamic_slice_in_dim(x, i * taps, half.input[axis], 2 + axis)
            weights = lax.dynamic_slice_in_dim(kernel, i * taps, taps, 1 + axis)
            return y + self.solve_dense(pixels, weights, half, precision, y.dtype)

        shape = (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])
        return lax.fori_loop(0, 2, add_half, jnp.zeros(shape, accumulator(dtype))).astype(dtype)

    def regime(self, problem: Problem) -> str:
        elementwise = problem.inputs == 1 or problem.outputs == 1
        return super().regime(problem) + ", no matrices" * elementwise

    def dense_cost(self, problem: Problem) -> Cost:
        tilings = self.tilings(problem)
        blocks = self._blocks(problem, tilings)
        positions = problem.pairs * problem.images * math.prod(t.positions for t in tilings)
        parts = math.prod(t.parts for t in tilings)
        products = positions * parts * problem.groups * problem.inputs * problem.outputs
        bytes_per_position = self._bytes_per_position(problem, tilings)
        kernel_bytes = problem.pairs * self._kernel_bytes(problem, tilings)
        block_held, kernel_held = blocks.positions_per_block * bytes_per_position, kernel_bytes
        if self._splits_kernel(problem, tilings):
            block_held, kernel_held = min(block_held, self.block), min(kernel_held, self.block)
        flops = self.flops_per_product() * self.transform_size(tilings) * products
        return Cost(
            flops=flops + self.transform_flops(problem, tilings, positions),
            bytes=problem.bytes + 2 * positions * bytes_per_position + 2 * kernel_bytes,
            workspace=3 * block_held + 3 * kernel_held + 4 * problem.bytes,
        )

    def flops_per_product(self) -> int:
        """Return the operations of one multiply-add, for each real number of a transform."""
        return 2

    @abc.abstractmethod
    def transform_flops(self, problem: Problem, tilings: Sequence[Tiling], positions: int) -> int:
        """Return the operations of all transforms of `positions` positions."""


def _input_tiles(x, tilings: Sequence[Tiling]):
    """Cut x (b, n, *region, g, c) into tiles (b, *input_pixels, g, n * positions, parts * c)."""
    for i, tiling in enumerate(tilings):
        axis = 2 + 2 * i  # Each spatial axis before this one has become two: tiles and pixels.
        count = tiling.parts if tiling.parts > 1 else _positions(x.shape[axis], tiling)
        if count <= tiling.input_pixels:
            starts = [j * tiling.step for j in range(count)]
            tiles = [strided_slice(x, axis, start, 1, tiling.input_pixels) for start in starts]
            x = jnp.stack(tiles, axis)
        else:
            offsets = range(tiling.input_pixels)
            pixels = [strided_slice(x, axis, offset, tiling.step, count) for offset in offsets]
            x = jnp.stack(pixels, axis + 1)
    rank = len(tilings)
    tile_axes = range(2, 2 + 2 * rank, 2)
    positions = [a for a, t in zip(tile_axes, tilings, strict=True) if t.parts == 1]
    parts = [a for a, t in zip(tile_axes, tilings, strict=True) if t.parts > 1]
    groups, channels = x.ndim - 2, x.ndim - 1
    order = [0, *(a + 1 for a in tile_axes), groups, 1, *positions, *parts, channels]
    rows = math.prod(x.shape[a] for a in [1, *positions])
    columns = math.prod(x.shape[a] for a in [*parts, channels])
    shape = (x.shape[0], *(t.input_pixels for t in tilings), x.shape[groups], rows, columns)
    return jnp.transpose(x, order).reshape(shape)


def _positions(pixels: int, tiling: Tiling) -> int:
    """Return the number of positions in a region of `pixels` input pixels."""
    return (pixels - tiling.receptive_field) // tiling.outputs + 1


def _kernel_parts(kernel, tilings: Sequence[Tiling]):
    """Cut kernel (b, *taps, g, c, f) into parts (b, *taps of a part, g, parts * c, f)."""
    for i, tiling in enumerate(tilings):
        axis = 1 + 2 * i  # Each tap axis before this one has become two: parts and taps.
        kernel = pad_axis(kernel, axis, 0, tiling.parts * tiling.taps - kernel.shape[axis])
        shape = kernel.shape
        kernel = kernel.reshape(*shape[:axis], tiling.parts, tiling.taps, *shape[axis + 1 :])
    rank = len(tilings)
    groups, inputs, outputs = range(kernel.ndim - 3, kernel.ndim)
    parts, taps = range(1, 1 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    sizes = [t.taps for t in tilings]
    shape = (kernel.shape[0], *sizes, kernel.shape[groups], -1, kernel.shape[outputs])
    return jnp.transpose(kernel, [0, *taps, groups, *parts, inputs, outputs]).reshape(shape)


def _join_tiles(y, x_shape, tilings: Sequence[Tiling]):
    """Join tiles y (b, *outputs, g, n * positions, f) to (b, n, *positions * outputs, g, f)."""
    rank = len(tilings)
    positions = [_positions(n, t) for n, t in zip(x_shape[2:-2], tilings, strict=True)]
    y = y.reshape(*y.shape[: rank + 2], x_shape[1], *positions, y.shape[-1])
    groups, images, channels = rank + 1, rank + 2, y.ndim - 1
    spatial = [axis for a in range(rank) for axis in (rank + 3 + a, 1 + a)]
    y = jnp.transpose(y, [0, images, *spatial, groups, channels])
    sizes = [n * t.outputs for n, t in zip(positions, tilings, strict=True)]
    return y.reshape(*y.shape[:2], *sizes, *y.shape[-2:])
