"""Polyphase decomposition: a convolution with gaps as a dense one.

With stride, dilation or input dilation, an output depends on only some of the pixels and taps:
those of matching phases, where a phase is the remainder of an index by the gap. Once outputs,
pixels and taps are sorted by phase, there are no gaps left. Along one axis, output `o` contains the
product of input `i` and tap `t` if `i * e = o * s + t * d - pad`, where `s`, `d` and `e` are
stride, dilation and input dilation. With `M = lcm(s, d, e)`,

    o = (M / s) q + r,    t = (M / d) u + v    ->    i = (M / e) (q + u) + a(r, v),

which is a dense convolution over `q` and `u` for every pair of phases `(r, v)` that occurs:

- a stride alone leaves one phase of outputs; the phases of the input become channels
  ("space to depth");
- a dilation alone leaves one phase of taps; the phases of the input become images;
- an input dilation alone, as in a transposed convolution, gives each phase of outputs separate
  taps of the same pixels; the phases of the kernel become output channels ("depth to space").

All phases together have as many multiply-adds as the window, up to the zeros that pad phases to
equal sizes.

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
from jconv.algorithms.array_ops import flatten_axes, pad_axis, strided_slice
from jconv.algorithms.base import Algorithm

NO_PHASE = -1  # stands for the tap phase of an output phase that depends on no tap


@dataclass(frozen=True)
class AxisPhases:
    """The polyphase decomposition of one axis of a window.

    Args:
      input: pixels of the input.
      taps: pixels of the kernel.
      output: pixels of the output.
      stride: pixels between neighbouring outputs.
      pad: zeros before the input.
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs.
    """

    input: int
    taps: int
    output: int
    stride: int
    pad: int
    dilation: int
    input_dilation: int

    @classmethod
    def of_window(cls, window: Window) -> list[AxisPhases]:
        """Return the decomposition of each axis of `window`.

        A gap between fewer than two pixels, taps or outputs is ignored.
        """
        axes = []
        for n, k, out, s, (pad, _), d, e in zip(
            window.input, window.taps, window.output, window.stride, window.padding,
            window.dilation, window.input_dilation, strict=True,
        ):  # fmt: skip
            n, out = max(1, n), max(1, out)  # Empty axes are never computed, but have a cost.
            e = e if n > 1 else 1
            d = d if k > 1 else math.lcm(s, e)
            s = s if out > 1 else math.lcm(d, e)
            axes.append(cls(n, k, out, s, pad, d, e))
        return axes

    @cached_property
    def period(self) -> int:
        """The least common multiple `M` of all gaps."""
        return math.lcm(self.stride, self.dilation, self.input_dilation)

    @property
    def output_phases(self) -> int:
        """The number of output phases."""
        return self.period // self.stride

    @property
    def tap_phases(self) -> int:
        """The number of tap phases."""
        return self.period // self.dilation

    @property
    def input_step(self) -> int:
        """The input pixels from one of a phase to the next."""
        return self.period // self.input_dilation

    @property
    def dense_output(self) -> int:
        """The outputs of one phase."""
        return -(-self.output // self.output_phases)

    @property
    def dense_taps(self) -> int:
        """The taps of one phase."""
        return -(-self.taps // self.tap_phases)

    @property
    def dense_input(self) -> int:
        """The input pixels of one phase."""
        return self.dense_output + self.dense_taps - 1

    @cached_property
    def phase_pairs(self) -> list[list[tuple[int, int]]]:
        """The pairs `(v, a(r, v))` of tap phase and input offset, for each output phase `r`."""
        rows = []
        for r in range(self.output_phases):
            offsets = [(v, r * self.stride + v * self.dilation - self.pad)
                       for v in range(self.tap_phases)]  # fmt: skip
            rows.append([(v, offset // self.input_dilation) for v, offset in offsets
                         if offset % self.input_dilation == 0])  # fmt: skip
        length = max(1, *map(len, rows))
        # An output phase without taps is zero. It is computed with a kernel of zeros.
        return [row or [(NO_PHASE, 0)] * length for row in rows]

    @property
    def folds_into(self) -> str:
        """The axis that takes the output phases: "images", "outputs" (channels) or "pairs"."""
        tap_phases = {tuple(v for v, _ in row) for row in self.phase_pairs}
        if len(tap_phases) == 1:
            return "images"
        input_offsets = {tuple(a for _, a in row) for row in self.phase_pairs}
        return "outputs" if len(input_offsets) == 1 else "pairs"

    @property
    def is_dense(self) -> bool:
        """True if the axis has no gaps."""
        return self.period == 1


@lru_cache(maxsize=4096)
def dense_problem(problem: Problem) -> Problem:
    """Return the dense problem that `problem` becomes once its axes are sorted by phase."""
    window = problem.window
    if window.is_dense and 0 not in window.output:
        return replace(problem, window=dense_window(window.padded, window.taps))
    sizes, counts = [], {"images": 1, "outputs": 1, "pairs": 1, "inputs": 1}
    for axis in AxisPhases.of_window(window):
        counts[axis.folds_into] *= axis.output_phases
        counts["inputs"] *= len(axis.phase_pairs[0])
        sizes.append((axis.dense_input, axis.dense_taps))
    return replace(
        problem,
        window=dense_window(*zip(*sizes, strict=True)),
        **{name: getattr(problem, name) * count for name, count in counts.items()},
    )


def dense_window(input: Sizes, taps: Sizes) -> Window:
    """Return the window without gaps and padding."""
    one = (1,) * len(taps)
    return Window(tuple(input), tuple(taps), one, ((0, 0),) * len(taps), one, one)


def convolve_by_phase(
    convolve: Callable, x: jax.Array, kernel: jax.Array, window: Window
) -> jax.Array:
    """Compute a convolution by its polyphase decomposition.

    Args:
      convolve: the dense convolution, called once as `convolve(x, kernel, window)` with a window
        without gaps and padding.
      x: the inputs (b, n, *input, g, c).
      kernel: the kernels (b, *taps, g, c, f).
      window: any window.

    Returns:
      y (b, n, *output, g, f).
    """
    axes = AxisPhases.of_window(window)
    for i, axis in enumerate(axes):
        x, kernel = _sort_by_phase(x, kernel, axis, i)
    window = dense_window(x.shape[2:-2], kernel.shape[1:-3])
    y = convolve(x, kernel, window)
    for i, axis in reversed(list(enumerate(axes))):
        y = _interleave_phases(y, axis, i)
    return y


def _sort_by_phase(x, kernel, axis: AxisPhases, i: int):
    """Sort spatial axis `i` of input and kernel by phase."""
    rows = axis.phase_pairs
    offsets = [offset for row in rows for _, offset in row]
    low, high = min(offsets), max(offsets)
    last = low + (axis.dense_input - 1) * axis.input_step + high - low
    x = pad_axis(x, 2 + i, -low, last + 1 - axis.input)
    if axis.is_dense:
        return x, kernel
    kernel = pad_axis(kernel, 1 + i, 0, axis.dense_taps * axis.tap_phases - axis.taps)
    no_taps = jnp.zeros_like(strided_slice(kernel, 1 + i, 0, axis.tap_phases, axis.dense_taps))

    def input_phases(row):
        """Return the pixels of one output phase; their phases become channels."""
        phases = [
            strided_slice(x, 2 + i, offset - low, axis.input_step, axis.dense_input)
            for _, offset in row
        ]
        return flatten_axes(jnp.stack(phases, -2), x.ndim - 1)

    def kernel_phases(row):
        """Return the taps of one output phase; their phases become input channels."""
        phases = [
            no_taps if phase == NO_PHASE
            else strided_slice(kernel, 1 + i, phase, axis.tap_phases, axis.dense_taps)
            for phase, _ in row
        ]  # fmt: skip
        return flatten_axes(jnp.stack(phases, -3), kernel.ndim - 2)

    match axis.folds_into:
        case "images":
            images = jnp.stack([input_phases(row) for row in rows], 1)
            return flatten_axes(images, 1), kernel_phases(rows[0])
        case "outputs":
            input = input_phases(rows[0])
            outputs = jnp.stack([kernel_phases(row) for row in rows], -2)
            return input, flatten_axes(outputs, kernel.ndim - 1)
        case _:
            return (
                flatten_axes(jnp.stack([input_phases(row) for row in rows], 0), 0),
                flatten_axes(jnp.stack([kernel_phases(row) for row in rows], 0), 0),
            )


def _interleave_phases(y, axis: AxisPhases, i: int):
    """Put the outputs of spatial axis `i` back in order."""
    count = axis.output_phases
    if count > 1:
        folded = {"images": 1, "outputs": y.ndim - 1, "pairs": 0}[axis.folds_into]
        y = y.reshape(*y.shape[:folded], count, y.shape[folded] // count, *y.shape[folded + 1 :])
        y = flatten_axes(jnp.moveaxis(y, folded, 3 + i), 2 + i)
    return lax.slice_in_dim(y, 0, axis.output, axis=2 + i)


class DenseAlgorithm(Algorithm):
    """Base class of algorithms for dense windows; other windows are sorted by phase first."""

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        def convolve(x, kernel, window):
            return self.solve_dense(x, kernel, window, precision, dtype)

        return convolve_by_phase(convolve, x, kernel, window)

    @abc.abstractmethod
    def solve_dense(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype):
        """Compute the convolution as `solve` does, for a window without gaps and padding."""

    def supports(self, problem: Problem) -> str | None:
        if problem.is_empty:
            return None
        return self.supports_dense(problem if problem.window.is_dense else dense_problem(problem))

    def cost(self, problem: Problem) -> Cost:
        dense = dense_problem(problem)
        inner = self.dense_cost(dense)
        sorting = 0 if dense == problem else 2 * dense.bytes
        return Cost(inner.flops, inner.bytes + sorting, inner.workspace + sorting)

    def supports_dense(self, problem: Problem) -> str | None:
        """Return the reason why a dense problem cannot be solved, or None if it can."""
        return None

    @abc.abstractmethod
    def dense_cost(self, problem: Problem) -> Cost:
        """Return the cost of solving a dense problem."""
