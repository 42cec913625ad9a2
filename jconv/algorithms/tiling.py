"""Tiles: algorithms that multiply pixels and taps in a transformed domain, tile by tile.

Along each axis, a tile of `outputs + taps - 1` pixels and a kernel of `taps` give `outputs`
pixels: the inverse transform of the product of their transforms. Inputs are cut into tiles that
overlap ("overlap-save"). Where there are more taps than outputs, as in a kernel gradient, the
kernel is cut into parts instead, whose products are summed before they are transformed back.
At every point of the transformed domain stands one matrix product over channels.
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
from jconv.algorithms.array_ops import cropped, every, extended
from jconv.algorithms.blocking import Blocks
from jconv.algorithms.polyphase import DenseAlgorithm, dense_window


@dataclass(frozen=True)
class Tiling:
    """How one axis is cut: its outputs into `places`, or its taps into `parts`, or neither.

    Args:
      outputs: pixels that one tile computes.
      taps: taps of the part of the kernel that it meets.
      points: values of its transform, at least `reads`.
      places: tiles whose outputs lie next to one another.
      parts: tiles whose outputs are summed.
    """

    outputs: int
    taps: int
    points: int
    places: int
    parts: int

    @property
    def reads(self) -> int:
        """Pixels of one tile."""
        return self.outputs + self.taps - 1

    @property
    def count(self) -> int:
        """Tiles, of which either all are places or all are parts."""
        return max(self.places, self.parts)

    @property
    def step(self) -> int:
        """Pixels from one tile to the next."""
        return self.outputs if self.parts == 1 else self.taps

    @property
    def reach(self) -> int:
        """Pixels that one place reads, with all parts."""
        return self.outputs + self.parts * self.taps - 1


def cut(output: int, taps: int, outputs_each: int, taps_each: int, points: int = 0) -> Tiling:
    """Cuts an axis into tiles of at most `outputs_each`, or kernels of at most `taps_each`."""
    m, r = max(1, min(output, outputs_each)), max(1, min(taps, taps_each))
    return Tiling(m, r, points or m + r - 1, places=-(-output // m), parts=-(-taps // r))


class TiledAlgorithm(DenseAlgorithm):
    """What such algorithms share; each says how to cut, and how to transform."""

    block: int  # bytes of tiles and transforms worked on at a time; one tile is the least

    @abc.abstractmethod
    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        """How each axis of a dense problem is cut."""

    @abc.abstractmethod
    def transform_input(self, x, tilings: Sequence[Tiling]):
        """Of tiles (b, *reads, g, tiles, k)."""

    @abc.abstractmethod
    def transform_kernel(self, kernel, tilings: Sequence[Tiling]) -> jax.Array:
        """Of parts (b, *taps, g, k, f)."""

    @abc.abstractmethod
    def multiply(self, x_hat, kernel_hat, precision):
        """Sums the products of both transforms over `k`."""

    @abc.abstractmethod
    def inverse(self, y_hat, tilings: Sequence[Tiling], dtype: jnp.dtype):
        """Of what `multiply` returns, the outputs (b, *outputs, g, tiles, f)."""

    def values(self, tilings: Sequence[Tiling]) -> int:
        """Real numbers in the transform of one tile."""
        return math.prod(tiling.points for tiling in tilings)

    def dense(self, x, kernel, window: Window, precision, dtype):
        acc = accumulator(dtype)
        x, kernel = x.astype(acc), kernel.astype(acc)
        problem = Problem.of(x, kernel, window, dtype)
        tilings = self.tilings(problem)
        if self._too_many_parts(problem, tilings):
            return self._sum_over_parts(x, kernel, window, tilings, precision, dtype)
        kernel_hat = self.transform_kernel(_kernel_parts(kernel, tilings), tilings)

        def one(x, kernel_hat):
            tiles = _input_tiles(x, tilings)
            y_hat = self.multiply(self.transform_input(tiles, tilings), kernel_hat, precision)
            return _joined(self.inverse(y_hat, tilings, acc), x.shape, tilings).astype(dtype)

        y = self._blocks(problem, tilings).run(one, x, kernel_hat)
        return cropped(y, window.output)

    def _bytes_each(self, problem: Problem, tilings: Sequence[Tiling]) -> int:
        """Of one place: its tiles, their transforms and its products."""
        parts = math.prod(tiling.parts for tiling in tilings)
        channels = 2 * parts * problem.inputs + 2 * problem.outputs
        return self.values(tilings) * channels * problem.groups * problem.accumulator.itemsize

    def _blocks(self, problem: Problem, tilings: Sequence[Tiling]) -> Blocks:
        return Blocks.within(
            self.block,
            self._bytes_each(problem, tilings),
            counts=(problem.pairs, problem.images, *(t.places for t in tilings)),
            step=[t.outputs for t in tilings],
            reach=[t.reach for t in tilings],
            whole=problem.symbolic,
        )

    def _too_many_parts(self, problem: Problem, tilings: Sequence[Tiling]) -> bool:
        kernel = self._kernel_bytes(problem, tilings)
        held = max(kernel, self._bytes_each(problem, tilings))
        return held > self.block and any(tiling.parts > 1 for tiling in tilings)

    def _kernel_bytes(self, problem: Problem, tilings: Sequence[Tiling]) -> int:
        """Of the transforms of the kernels of one pair."""
        values = self.values(tilings) * math.prod(tiling.parts for tiling in tilings)
        channels = problem.groups * problem.inputs * problem.outputs
        return values * channels * problem.accumulator.itemsize

    def _sum_over_parts(self, x, kernel, window: Window, tilings, precision, dtype):
        """Halves the kernel along the axis with most parts, and adds what the halves give."""
        axis = max(range(len(tilings)), key=lambda a: tilings[a].parts)
        tiling = tilings[axis]
        taps = -(-tiling.parts // 2) * tiling.taps
        kernel = extended(kernel, 1 + axis, 0, 2 * taps - window.taps[axis])
        x = extended(x, 2 + axis, 0, window.output[axis] + 2 * taps - 1 - x.shape[2 + axis])
        sizes = list(window.input), list(window.taps)
        sizes[0][axis], sizes[1][axis] = window.output[axis] + taps - 1, taps
        half = dense_window(*map(tuple, sizes))

        def add(i, y):
            pixels = lax.dynamic_slice_in_dim(x, i * taps, half.input[axis], 2 + axis)
            weights = lax.dynamic_slice_in_dim(kernel, i * taps, taps, 1 + axis)
            return y + self.dense(pixels, weights, half, precision, y.dtype)

        shape = (*x.shape[:2], *window.output, kernel.shape[-3], kernel.shape[-1])
        return lax.fori_loop(0, 2, add, jnp.zeros(shape, accumulator(dtype))).astype(dtype)

    def regime(self, problem: Problem) -> str:
        alone = problem.inputs == 1 or problem.outputs == 1
        return super().regime(problem) + ", no matrices" * alone

    def dense_cost(self, problem: Problem) -> Cost:
        tilings = self.tilings(problem)
        blocks = self._blocks(problem, tilings)
        places = problem.pairs * problem.images * math.prod(t.places for t in tilings)
        parts = math.prod(t.parts for t in tilings)
        products = places * parts * problem.groups * problem.inputs * problem.outputs
        each, kernel = self._bytes_each(problem, tilings), self._kernel_bytes(problem, tilings)
        kernels = problem.pairs * kernel
        held = blocks.places * each
        if self._too_many_parts(problem, tilings):
            kernels, held = min(kernels, self.block), min(held, self.block)
        flops = self.flops_each_product() * self.values(tilings) * products
        transforms = self.transform_flops(problem, tilings, places)
        return Cost(
            flops=flops + transforms,
            bytes=problem.bytes + 2 * places * each + 2 * problem.pairs * kernel,
            workspace=3 * held + 3 * kernels + 4 * problem.bytes,
        )

    def flops_each_product(self) -> int:
        """Of one multiply-add, for each real number of a transform."""
        return 2

    @abc.abstractmethod
    def transform_flops(self, problem: Problem, tilings: Sequence[Tiling], places: int) -> int:
        """Of all transforms of `places` tiles."""


def _input_tiles(x, tilings: Sequence[Tiling]):
    """(b, n, *region, g, c) to (b, *reads, g, n * places, parts * c)."""
    for axis, tiling in enumerate(tilings):
        at = 2 + 2 * axis
        count = tiling.parts if tiling.parts > 1 else _places(x.shape[at], tiling)
        if count <= tiling.reads:
            tiles = [every(x, at, i * tiling.step, 1, tiling.reads) for i in range(count)]
            x = jnp.stack(tiles, at)
        else:
            pixels = [every(x, at, i, tiling.step, count) for i in range(tiling.reads)]
            x = jnp.stack(pixels, at + 1)
    rank = len(tilings)
    tile_axes = range(2, 2 + 2 * rank, 2)
    places = [a for a, t in zip(tile_axes, tilings, strict=True) if t.parts == 1]
    parts = [a for a, t in zip(tile_axes, tilings, strict=True) if t.parts > 1]
    groups, channels = x.ndim - 2, x.ndim - 1
    order = [0, *(a + 1 for a in tile_axes), groups, 1, *places, *parts, channels]
    rows = math.prod(x.shape[a] for a in [1, *places])
    columns = math.prod(x.shape[a] for a in [*parts, channels])
    shape = (x.shape[0], *(t.reads for t in tilings), x.shape[groups], rows, columns)
    return jnp.transpose(x, order).reshape(shape)


def _places(pixels: int, tiling: Tiling) -> int:
    return (pixels - tiling.reach) // tiling.outputs + 1


def _kernel_parts(kernel, tilings: Sequence[Tiling]):
    """(b, *taps, g, c, f) to (b, *taps of a part, g, parts * c, f)."""
    for axis, tiling in enumerate(tilings):
        at = 1 + 2 * axis
        kernel = extended(kernel, at, 0, tiling.parts * tiling.taps - kernel.shape[at])
        shape = kernel.shape
        kernel = kernel.reshape(*shape[:at], tiling.parts, tiling.taps, *shape[at + 1 :])
    rank = len(tilings)
    groups, inputs, outputs = range(kernel.ndim - 3, kernel.ndim)
    parts, taps = range(1, 1 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    sizes = [t.taps for t in tilings]
    shape = (kernel.shape[0], *sizes, kernel.shape[groups], -1, kernel.shape[outputs])
    return jnp.transpose(kernel, [0, *taps, groups, *parts, inputs, outputs]).reshape(shape)


def _joined(y, x_shape, tilings: Sequence[Tiling]):
    """(b, *outputs, g, n * places, f) to (b, n, *places * outputs, g, f)."""
    rank = len(tilings)
    places = [_places(n, t) for n, t in zip(x_shape[2:-2], tilings, strict=True)]
    y = y.reshape(*y.shape[: rank + 2], x_shape[1], *places, y.shape[-1])
    groups, images, channels = rank + 1, rank + 2, y.ndim - 1
    space = [axis for a in range(rank) for axis in (rank + 3 + a, 1 + a)]
    y = jnp.transpose(y, [0, images, *space, groups, channels])
    sizes = [n * t.outputs for n, t in zip(places, tilings, strict=True)]
    return y.reshape(*y.shape[:2], *sizes, *y.shape[-2:])
