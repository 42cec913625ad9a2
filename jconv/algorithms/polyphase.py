"""Phases: a convolution with gaps as a dense one, where every pixel meets every tap.

Stride, dilation and input dilation let an output meet only some of the pixels and taps: those of
the same phase, their remainder by the gap. Sorted by phase, the gaps are gone. Along one axis,
output `o`, tap `t` and input `i` meet where `i * e = o * s + t * d - pad`. With `M = lcm(s, d, e)`,

    o = (M / s) q + r,    t = (M / d) u + v    ->    i = (M / e) (q + u) + a(r, v),

which is a dense convolution over `q` and `u` for every pair of phases `(r, v)` that meets at all:

- a stride alone leaves one phase of outputs; the phases of the input become channels
  ("space to depth");
- a dilation alone leaves one phase of taps; the phases of the input become images;
- an input dilation alone, as in a transposed convolution, gives each phase of outputs its own
  taps of the same pixels; the phases of the kernel become output channels ("depth to space").

All phases together have as many multiply-adds as the window has meetings, up to the zeros that
fill phases of unequal size.

Reference: Vaidyanathan, "Multirate Systems and Filter Banks" (1993), section 4.3.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes, Window
from jconv._core.problem import Cost, Precision, Problem
from jconv.algorithms.array_ops import every, extended, merged
from jconv.algorithms.base import Algorithm

NOTHING = -1  # the phase of taps that a phase of outputs meets where it meets none


@dataclass(frozen=True)
class AxisPhases:
    """One axis of a window, sorted by phase."""

    input: int
    taps: int
    output: int
    stride: int
    pad: int
    dilation: int
    input_dilation: int

    @classmethod
    def all_of(cls, window: Window) -> list[AxisPhases]:
        """Each axis of `window`; gaps between fewer than two things are no gaps."""
        axes = []
        for n, k, out, s, (pad, _), d, e in zip(
            window.input, window.taps, window.output, window.stride, window.padding,
            window.dilation, window.input_dilation, strict=True,
        ):  # fmt: skip
            n, out = max(1, n), max(1, out)  # an empty one is never computed
            e = e if n > 1 else 1
            d = d if k > 1 else math.lcm(s, e)
            s = s if out > 1 else math.lcm(d, e)
            axes.append(cls(n, k, out, s, pad, d, e))
        return axes

    @cached_property
    def period(self) -> int:
        return math.lcm(self.stride, self.dilation, self.input_dilation)

    @property
    def output_phases(self) -> int:
        return self.period // self.stride

    @property
    def tap_phases(self) -> int:
        return self.period // self.dilation

    @property
    def step(self) -> int:
        """Input pixels from one of a phase to the next."""
        return self.period // self.input_dilation

    @property
    def dense_output(self) -> int:
        return -(-self.output // self.output_phases)

    @property
    def dense_taps(self) -> int:
        return -(-self.taps // self.tap_phases)

    @property
    def dense_input(self) -> int:
        return self.dense_output + self.dense_taps - 1

    @cached_property
    def meetings(self) -> list[list[tuple[int, int]]]:
        """For each phase of outputs, the phases `v` of taps it meets, each with its `a(r, v)`."""
        rows = []
        for r in range(self.output_phases):
            steps = [(v, r * self.stride + v * self.dilation - self.pad)
                     for v in range(self.tap_phases)]  # fmt: skip
            rows.append([(v, s // self.input_dilation) for v, s in steps
                         if s % self.input_dilation == 0])  # fmt: skip
        widest = max(1, *map(len, rows))
        # A phase of outputs that meets no tap is zero: it meets zeros.
        return [row or [(NOTHING, 0)] * widest for row in rows]

    @property
    def become(self) -> str:
        """What the phases of outputs turn into: images, output channels or pairs."""
        taps = {tuple(v for v, _ in row) for row in self.meetings}
        if len(taps) == 1:
            return "images"
        pixels = {tuple(a for _, a in row) for row in self.meetings}
        return "outputs" if len(pixels) == 1 else "pairs"

    @property
    def is_dense(self) -> bool:
        return self.period == 1


@lru_cache(maxsize=4096)
def dense_problem(problem: Problem) -> Problem:
    """What `problem` is once its axes are sorted by phase."""
    window = problem.window
    if window.is_dense and 0 not in window.output:
        return replace(problem, window=dense_window(window.padded, window.taps))
    sizes, counts = [], {"images": 1, "outputs": 1, "pairs": 1, "inputs": 1}
    for axis in AxisPhases.all_of(window):
        counts[axis.become] *= axis.output_phases
        counts["inputs"] *= len(axis.meetings[0])
        sizes.append((axis.dense_input, axis.dense_taps))
    return replace(
        problem,
        window=dense_window(*zip(*sizes, strict=True)),
        **{name: getattr(problem, name) * count for name, count in counts.items()},
    )


def dense_window(input: Sizes, taps: Sizes) -> Window:
    """The window without gaps and padding."""
    one = (1,) * len(taps)
    return Window(tuple(input), tuple(taps), one, ((0, 0),) * len(taps), one, one)


def by_phases(convolve: Callable, x: jax.Array, kernel: jax.Array, window: Window) -> jax.Array:
    """`convolve(x, kernel, window)` of a window without gaps and padding, for any window."""
    axes = AxisPhases.all_of(window)
    for at, axis in enumerate(axes):
        x, kernel = _sort(x, kernel, axis, at)
    window = dense_window(x.shape[2:-2], kernel.shape[1:-3])
    y = convolve(x, kernel, window)
    for at, axis in reversed(list(enumerate(axes))):
        y = _interleave(y, axis, at)
    return y


def _sort(x, kernel, axis: AxisPhases, at: int):
    """Sorts one axis of input and kernel by phase."""
    reads = [a for row in axis.meetings for _, a in row]
    low, high = min(reads), max(reads)
    last = low + (axis.dense_input - 1) * axis.step + high - low
    x = extended(x, 2 + at, -low, last + 1 - axis.input)
    if axis.is_dense:
        return x, kernel
    kernel = extended(kernel, 1 + at, 0, axis.dense_taps * axis.tap_phases - axis.taps)
    nothing = jnp.zeros_like(every(kernel, 1 + at, 0, axis.tap_phases, axis.dense_taps))

    def pixels(row):
        parts = [every(x, 2 + at, a - low, axis.step, axis.dense_input) for _, a in row]
        return merged(jnp.stack(parts, -2), x.ndim - 1)  # phases times channels

    def weights(row):
        parts = [
            nothing if v == NOTHING
            else every(kernel, 1 + at, v, axis.tap_phases, axis.dense_taps)
            for v, _ in row
        ]  # fmt: skip
        return merged(jnp.stack(parts, -3), kernel.ndim - 2)

    rows = axis.meetings
    if axis.become == "images":
        return merged(jnp.stack([pixels(row) for row in rows], 1), 1), weights(rows[0])
    if axis.become == "outputs":
        return pixels(rows[0]), merged(jnp.stack([weights(r) for r in rows], -2), kernel.ndim - 1)
    return (
        merged(jnp.stack([pixels(row) for row in rows], 0), 0),
        merged(jnp.stack([weights(row) for row in rows], 0), 0),
    )


def _interleave(y, axis: AxisPhases, at: int):
    """Puts the outputs of one axis back in order."""
    count = axis.output_phases
    if count > 1:
        where = {"images": 1, "outputs": y.ndim - 1, "pairs": 0}[axis.become]
        y = y.reshape(*y.shape[:where], count, y.shape[where] // count, *y.shape[where + 1 :])
        space = 2 + at + (where < 2)  # the axis of space, now that there is one more before it
        y = merged(jnp.moveaxis(y, where, space if where < 2 else space + 1), 2 + at)
    return lax.slice_in_dim(y, 0, axis.output, axis=2 + at)


class DenseAlgorithm(Algorithm):
    """An algorithm whose inside knows only windows without gaps and padding."""

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def dense(x, kernel, window):
            return self.dense(x, kernel, window, precision, dtype)

        return by_phases(dense, x, kernel, window)

    @abc.abstractmethod
    def dense(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
        """Convolves as `__call__` does, `window` having neither gaps nor padding."""

    def supports(self, problem: Problem) -> str | None:
        if problem.is_empty:
            return None
        return self.supports_dense(problem if problem.window.is_dense else dense_problem(problem))

    def cost(self, problem: Problem) -> Cost:
        dense = dense_problem(problem)
        inner = self.dense_cost(dense)
        sorted_ = 0 if dense == problem else 2 * dense.bytes
        return Cost(inner.flops, inner.bytes + sorted_, inner.workspace + sorted_)

    def supports_dense(self, problem: Problem) -> str | None:
        """Why a problem without gaps cannot be solved; None where it can."""
        return None

    @abc.abstractmethod
    def dense_cost(self, problem: Problem) -> Cost:
        """What solving a dense problem spends."""
