"""One merged part of a network: what it was, what it became, and what that costs and rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv._core.problem import unit_roundoff
from jconv.nn.pool import AvgPool
from jconv.structure.affine import Affine, of_constant
from jconv.transforms.inspect import Inspection, inspect

SINGLE = (nnx.Conv, nnx.BatchNorm, nnx.Dropout, AvgPool)  # one layer already


@dataclass(frozen=True)
class MergedBlock:
    """A part of a network that is one convolution.

    Attributes:
      path: where it is in the model; where several layers in a row became one, of the first.
      kind: what it was.
      kernel: the merged kernel's shape.
      shape: of its input; None where it is not known.
      merged: whether it was made one; else it would not have been faster.
    """

    path: str
    kind: str
    kernel: tuple[int, ...]
    shape: tuple[int, ...] | None
    merged: bool
    affine: Affine = field(repr=False)
    before: nnx.Module = field(repr=False)
    after: nnx.Module = field(repr=False)

    @cached_property
    def products(self) -> tuple[float, float]:
        """Multiply-adds of a forward pass before and after; for each pixel of the input, strides
        within a branch left out of account, where its size is not known."""
        if self._forward is None:
            return _products(self.before), self.affine.products
        before, after = self._forward
        return before.multiply_adds, after.multiply_adds

    @property
    def ratio(self) -> float:
        """How many times the multiply-adds become."""
        before, after = self.products
        return after / before if before else math.inf

    @cached_property
    def seconds(self) -> tuple[float, float] | None:
        """Predicted for the convolutions of a forward pass before and after; None where the input's
        size is not known, or nothing about this device."""
        return _seconds(self._forward)

    @cached_property
    def seconds_with_gradients(self) -> tuple[float, float] | None:
        """The same of a forward pass with the gradients in the input and in the parameters."""
        return _seconds(self._inspected(_with_gradients))

    @property
    def saves(self) -> bool:
        """Whether one convolution is predicted to take less time forward, or else has fewer
        multiply-adds."""
        before, after = self.seconds or self.products
        return after <= before

    def bound(self, x) -> np.ndarray:
        """By how much the two may differ on `x`, for each output channel, before the activation.

        Every rounding of the layers before and of the merged one is counted, as in
        `Algorithm.error_bound`, relative to the sum of absolute products over the largest pixels of
        `x` (rows and columns may be anywhere): no input that the tests draw exceeds it.
        """
        x = jnp.asarray(x)
        relative = sum(_relative_errors(layer, x) for layer in (self.before, self.after))
        pixels = np.abs(np.asarray(x, np.float64))
        largest = pixels.max(tuple(range(x.ndim - 1)))
        sums = of_constant(self.affine.magnitude, largest, self.affine.groups)
        return relative * (sums + self.affine.offset)

    @cached_property
    def _forward(self) -> tuple[Inspection, Inspection] | None:
        return self._inspected(lambda module: module)

    def _inspected(
        self, passes: Callable[[nnx.Module], Any]
    ) -> tuple[Inspection, Inspection] | None:
        """What a pass convolves before and after."""
        if self.shape is None:
            return None
        x = jax.ShapeDtypeStruct(self.shape, jnp.float32)
        return inspect(passes(self.before))(x), inspect(passes(self.after))(x)


def _with_gradients(module: nnx.Module) -> Callable[..., Any]:
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def passes(x):
        forward = lambda params, x: nnx.merge(graph, params, rest)(x)
        y, pull = jax.vjp(forward, params, x)
        return y, pull(y)

    return passes


def _seconds(inspections: Sequence[Inspection] | None) -> tuple[float, float] | None:
    if inspections is None:
        return None
    before, after = (found.seconds for found in inspections)
    return None if before is None or after is None else (before, after)


def _relative_errors(module: nnx.Module, x: jax.Array) -> float:
    """Of all roundings of a part's layers together, relative to the sums of absolute products."""
    found = inspect(module)(jax.ShapeDtypeStruct(x.shape, x.dtype))
    convs = sum(c.value.error_bound(c.problem) for c in found.convolutions)
    layers = [layer for _, layer in nnx.iter_modules(module) if isinstance(layer, SINGLE)]
    pools = [layer for layer in layers if isinstance(layer, AvgPool)]
    dtypes = {jax.eval_shape(module, x).dtype, *(c.problem.dtype for c in found.convolutions)}
    if pools:
        dtypes.add(x.dtype)  # which they keep
    # A bias, a scale or a shift, a mean and a variance round a few times; so do sums of branches.
    few = sum(math.prod(pool.window) for pool in pools) + 12 * len(layers)
    return convs + few * max(map(unit_roundoff, dtypes))


def _products(module: nnx.Module) -> float:
    return sum(
        math.prod(layer.kernel.shape) / math.prod(np.atleast_1d(layer.strides or 1))
        for _, layer in nnx.iter_modules(module)
        if isinstance(layer, nnx.Conv)
    )
