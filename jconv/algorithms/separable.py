"""Separable kernels: a column pass, then a row pass, instead of a sum over the whole kernel.

A k x k kernel that is the product of a column and a row costs 2 k multiply-adds a pixel instead
of k^2. Between several channels, the matrix that counts has a row for each row of taps and input
channel, and a column for each other tap and output channel; its rank is the number of channels
between the passes. For one channel, and for depthwise kernels, that is the rank of the kernel.

Exact for kernels of the rank asked for; one of a higher rank is replaced by the nearest of that
rank, and the error bound does not count the difference. Wins on smoothing and edge kernels from
about 7x7 on. The rank of a kernel's gradient is full: `"auto"` takes that.

Reference: Jaderberg, Vedaldi & Zisserman, "Speeding up Convolutional Neural Networks with Low
Rank Expansions" (2014), scheme 2; Treitel & Shanks (1971) for one channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from jconv._core.geometry import Window
from jconv._core.problem import Cost, Precision, Problem, accumulator, issubdtype
from jconv._core.validation import check_int
from jconv.algorithms.base import Algorithm, check_inner, relative_error, roundings
from jconv.algorithms.direct import Direct
from jconv.algorithms.xla import Xla


@dataclass(frozen=True)
class Separable(Algorithm):
    """One pass along each axis.

    Args:
      rank: channels between two passes, in each group; None for kernels of rank one, which is
        checked and therefore needs a kernel whose values are known: not one that `jit` traces.
      inner: the algorithm of the passes; None for `xla`, and for `direct` between groups.

    Raises:
      ValueError: for a rank that is not a positive int, or an `inner` that is no algorithm.
    """

    rank: int | None = None
    inner: Algorithm | None = None

    def __post_init__(self):
        if self.rank is not None:
            object.__setattr__(self, "rank", check_int("rank", self.rank, min=1, hint=", or None"))
        if self.inner is not None:
            check_inner(self.inner)

    @property
    def takes_any_kernel(self) -> bool:
        return False

    @property
    def reads_kernel(self) -> bool:
        return self.rank is None

    def for_kernel(self, kernel: np.ndarray) -> Algorithm:
        """This algorithm with the rank of a canonical kernel: one.

        Raises:
          ValueError: where it is higher, or where some tap is not finite.
        """
        if not np.isfinite(kernel).all():
            raise ValueError(
                "`algorithm='separable'` must be given a kernel of finite numbers. Received: one "
                "with NaN or infinity. Use another algorithm, all of which carry them on."
            )
        for matrix in _unfoldings(kernel):
            rank = _rank(matrix)
            if rank > 1:
                raise ValueError(
                    f"`algorithm='separable'` must be given a kernel of rank one. Received: one of "
                    f"rank {rank}. Use `jconv.Separable(rank={rank})` for the same result, a "
                    f"smaller rank for the nearest such kernel, or another algorithm."
                )
        return replace(self, rank=1)

    def supports(self, problem: Problem) -> str | None:
        if not issubdtype(problem.dtype, jnp.inexact):
            return f"a kernel's factors are not exact in {problem.dtype}"
        if len(_separated(problem.window)) < 2:
            return f"a kernel of {problem.window.taps} taps has nothing to separate"
        if self.rank is None:
            return (
                "the kernel's rank is not known while it is traced: ask for one, as in "
                "`jconv.Separable(rank=1)`"
            )
        return self._inner(problem.groups).supports(problem)

    def _inner(self, groups: int) -> Algorithm:
        return self.inner or (Xla() if groups == 1 else Direct(unroll=12))

    def solve(self, x, kernel, window: Window, precision: Precision, dtype: jnp.dtype) -> jax.Array:
        acc = accumulator(dtype)
        y, rest = x.astype(acc), kernel.astype(acc)
        inner, passes = self._inner(x.shape[-2]), _passes(window)
        for axis, one in passes[:-1]:
            along, rest = self._split(rest, axis)
            y = inner(y, along, one, precision=precision)
        y = inner(y, rest, passes[-1][1], precision=precision)
        return y.astype(dtype)

    def _split(self, kernel, axis: int):
        """The kernel as one along `axis` to `rank` channels, and one along the other axes."""
        b, *taps, groups, inputs, outputs = kernel.shape
        along, others = taps[axis], [*taps[:axis], 1, *taps[axis + 1 :]]
        matrix = _unfolded(kernel, axis)
        # Of infinities, the decomposition may never end; of NaN, which this makes of them, it does.
        u, s, vh = jnp.linalg.svd(matrix + 0 * matrix, full_matrices=False)
        rank = min(self.rank or 1, s.shape[-1])
        u = u[..., :rank].reshape(b, groups, along, inputs, rank)
        vh = s[..., :rank, None].astype(vh.dtype) * vh[..., :rank, :]
        vh = vh.reshape(b, groups, rank, *others, outputs)
        ones = (1,) * len(taps)
        first = jnp.moveaxis(u, 1, 2).reshape(b, *ones[:axis], along, *ones[axis + 1 :], groups,
                                              inputs, rank)  # fmt: skip
        return first, jnp.moveaxis(vh, (1, 2), (-3, -2))

    def cost(self, problem: Problem) -> Cost:
        costs, inputs = [], problem.inputs
        passes = _passes(problem.window)
        for i, (_, window) in enumerate(passes):
            last = i == len(passes) - 1
            outputs = problem.outputs if last else min(self.rank or 1, problem.terms)
            step = replace(problem, window=window, inputs=inputs, outputs=outputs,
                           dtype=problem.accumulator)  # fmt: skip
            costs.append((self._inner(problem.groups).cost(step), step.bytes))
            inputs = outputs
        kernel = problem.pairs * problem.groups * problem.terms * problem.outputs
        factors = 8 * kernel * problem.accumulator.itemsize
        return Cost(
            flops=sum(cost.flops for cost, _ in costs) + 20 * kernel * problem.inputs,
            bytes=sum(cost.bytes for cost, _ in costs) + factors,
            workspace=sum(cost.workspace + size for cost, size in costs) + factors,
        )

    def error_bound(self, problem: Problem) -> float:
        """See `Algorithm.error_bound`, for kernels of the rank asked for.

        Factors err by some roundings of the whole kernel, and passes by those of their sums.
        """
        rank, axes = self.rank or 1, _separated(problem.window)
        channels = [problem.inputs, *(rank for _ in axes[1:])]
        passes = [problem.window.taps[axis] * c for axis, c in zip(axes, channels, strict=True)]
        factors = 4 * math.sqrt(rank * problem.terms)
        return relative_error(problem, factors + sum(map(roundings, passes)))


def _separated(window: Window) -> list[int]:
    """The axes that get a pass each."""
    return [axis for axis, taps in enumerate(window.taps) if taps > 1]


def _passes(window: Window) -> list[tuple[int, Window]]:
    """The axis and the window of each pass; the last one sees to the axes of one tap too."""
    axes = _separated(window)
    sizes, passes = window.input, []
    for axis in axes:
        moved = range(window.rank) if axis == axes[-1] else (axis,)
        moved = [a for a in moved if a == axis or a not in axes]
        keep = lambda of, still, moved=moved: tuple(
            value if a in moved else still for a, value in enumerate(of)
        )
        one = Window(
            input=sizes,
            taps=keep(window.taps, 1),
            stride=keep(window.stride, 1),
            padding=keep(window.padding, (0, 0)),
            dilation=keep(window.dilation, 1),
            input_dilation=keep(window.input_dilation, 1),
        )
        passes.append((axis, one))
        sizes = one.output
    return passes


def _unfolded(kernel, axis: int):
    """(b, *taps, g, c, f) to (b, g, taps of axis * c, other taps * f)."""
    rank = kernel.ndim - 4
    groups, inputs, outputs = range(rank + 1, rank + 4)
    others = [1 + a for a in range(rank) if a != axis]
    order = (0, groups, 1 + axis, inputs, *others, outputs)
    shape = [kernel.shape[a] for a in order]
    return kernel.transpose(order).reshape(*shape[:2], math.prod(shape[2:4]), math.prod(shape[4:]))


def _unfoldings(kernel: np.ndarray) -> list[np.ndarray]:
    axes = [axis for axis in range(kernel.ndim - 4) if kernel.shape[1 + axis] > 1]
    return [_unfolded(kernel, axis) for axis in axes[:-1]]


def _rank(matrices: np.ndarray) -> int:
    """The highest rank of some matrices, up to the rounding of their dtype."""
    if 0 in matrices.shape:
        return 0
    wide = matrices.astype(np.result_type(matrices.dtype, np.float32))
    values = np.linalg.svd(wide, compute_uv=False)
    least = max(wide.shape[-2:]) * float(jnp.finfo(matrices.dtype).eps) * values[..., :1]
    return int((values > least).sum(-1).max())
