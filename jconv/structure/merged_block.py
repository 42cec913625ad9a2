"""Results of merging: each merged block with its cost and error bound, and the whole network."""

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
from jconv._core.rich_repr import RichRepr
from jconv.nn.pool import AvgPool
from jconv.selection.choice import milliseconds
from jconv.structure.affine import Affine, apply_to_constant
from jconv.transforms.inspect import Inspection, inspect

SINGLE_LAYERS = (nnx.Conv, nnx.BatchNorm, nnx.Dropout, AvgPool)


@dataclass(frozen=True)
class MergedBlock:
    """A part of a network that equals one convolution.

    Attributes:
      path: path of the part in the model; for consecutive layers, that of the first one.
      layer_type: class name of the part.
      kernel_shape: shape of the merged kernel.
      input_shape: shape of the part's input; None if it is not known.
      merged: False if the part was left as it is because one convolution would be slower.
      affine: the convolution with its bias in float64.
      before: the part.
      after: the convolution as a layer.
    """

    path: str
    layer_type: str
    kernel_shape: tuple[int, ...]
    input_shape: tuple[int, ...] | None
    merged: bool
    affine: Affine = field(repr=False)
    before: nnx.Module = field(repr=False)
    after: nnx.Module = field(repr=False)

    @cached_property
    def multiply_adds(self) -> tuple[float, float]:
        """Multiply-adds of a forward pass before and after merging.

        If the input shape is not known, they are those for each pixel of the input, and strides
        inside the part are not taken into account.
        """
        if self._forward is None:
            return _multiply_adds_per_pixel(self.before), self.affine.multiply_adds_per_pixel
        before, after = self._forward
        return before.multiply_adds, after.multiply_adds

    @property
    def multiply_adds_ratio(self) -> float:
        """Multiply-adds after merging divided by those before."""
        before, after = self.multiply_adds
        return after / before if before else math.inf

    @cached_property
    def seconds(self) -> tuple[float, float] | None:
        """Predicted time of the convolutions of a forward pass, before and after merging.

        None if the input shape is not known, or if there is no cost model of this device.
        """
        return _seconds(self._forward)

    @cached_property
    def seconds_with_gradients(self) -> tuple[float, float] | None:
        """Predicted time including the gradients of the input and the parameters; see `seconds`."""
        return _seconds(self._inspect(_with_gradients))

    @property
    def is_no_slower(self) -> bool:
        """True if the forward pass is predicted to take no more time after merging.

        Without predicted times, True if it has no more multiply-adds.
        """
        before, after = self.seconds or self.multiply_adds
        return after <= before

    def error_bound(self, x) -> np.ndarray:
        """Return how much the outputs before and after merging can differ by rounding.

        Every rounding of both is counted, as in `Algorithm.error_bound`, relative to the sum of
        absolute products for the largest absolute value of each input channel. It is an estimate
        that no input of the tests exceeds.

        Args:
          x: input of shape `(n, *spatial, in_channels)`.

        Returns:
          The bound for each output channel, before the activation, of shape `(out_channels,)`.
        """
        x = jnp.asarray(x)
        relative = sum(_relative_error(layer, x) for layer in (self.before, self.after))
        largest = np.abs(np.asarray(x, np.float64)).max(tuple(range(x.ndim - 1)))
        sums = apply_to_constant(self.affine.kernel_magnitude, largest, self.affine.groups)
        return relative * (sums + self.affine.bias_magnitude)

    @cached_property
    def _forward(self) -> tuple[Inspection, Inspection] | None:
        return self._inspect(lambda module: module)

    def _inspect(
        self, to_function: Callable[[nnx.Module], Any]
    ) -> tuple[Inspection, Inspection] | None:
        """Return the convolutions of a function of the part, before and after merging."""
        if self.input_shape is None:
            return None
        x = jax.ShapeDtypeStruct(self.input_shape, jnp.float32)
        return inspect(to_function(self.before))(x), inspect(to_function(self.after))(x)


@dataclass(frozen=True, repr=False)
class Merging(RichRepr):
    """A merged network. It is called like the original one and prints as a table of its blocks.

    Attributes:
      model: the merged network.
      blocks: the parts that equal one convolution.
      reasons: why other modules could not be merged, by path.
      original: the network before merging, in evaluation mode.
    """

    model: nnx.Module
    blocks: Sequence[MergedBlock]
    reasons: dict[str, str]
    original: nnx.Module

    def __call__(self, *args, **kwargs):
        """Call the merged network."""
        return self.model(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def __rich__(self) -> Any:
        """Return a table of the blocks and a table of the modules that could not be merged."""
        from rich import box
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        style: Any = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
        blocks = Table(**style)
        blocks.add_column("block", no_wrap=True)
        for name in ("kernel", "multiply-adds", "forward", "with gradients", ""):
            blocks.add_column(name, overflow="fold")
        for block in self.blocks:
            blocks.add_row(
                f"{escape(block.path)}\n  [dim]{escape(block.layer_type)}[/]",
                "x".join(map(str, block.kernel_shape)),
                f"{block.multiply_adds_ratio:.2f} times",
                _format_times(block.seconds),
                _format_times(block.seconds_with_gradients),
                "merged" if block.merged else "not merged: slower",
            )
        reasons = Table("not mergeable", "reason", **style)
        for path, reason in self.reasons.items():
            reasons.add_row(escape(path), escape(reason))
        return Group(*[table for table in (blocks, reasons) if table.row_count])


def _format_times(seconds: tuple[float, float] | None) -> str:
    return " to ".join(map(milliseconds, seconds)) if seconds else ""


def _with_gradients(module: nnx.Module) -> Callable[..., Any]:
    """Return a function that computes the output and all gradients of a module."""
    graph, params, other_state = nnx.split(module, nnx.Param, ...)

    def forward_and_gradients(x):
        forward = lambda params, x: nnx.merge(graph, params, other_state)(x)
        y, vjp = jax.vjp(forward, params, x)
        return y, vjp(y)

    return forward_and_gradients


def _seconds(inspections: Sequence[Inspection] | None) -> tuple[float, float] | None:
    if inspections is None:
        return None
    before, after = (inspection.seconds for inspection in inspections)
    return None if before is None or after is None else (before, after)


def _relative_error(module: nnx.Module, x: jax.Array) -> float:
    """Return a bound of the rounding errors of a module, relative to sums of absolute products."""
    inspection = inspect(module)(jax.ShapeDtypeStruct(x.shape, x.dtype))
    convs = sum(conv.value.error_bound(conv.problem) for conv in inspection.convolutions)
    layers = [layer for _, layer in nnx.iter_modules(module) if isinstance(layer, SINGLE_LAYERS)]
    pools = [layer for layer in layers if isinstance(layer, AvgPool)]
    conv_dtypes = {conv.problem.dtype for conv in inspection.convolutions}
    dtypes = {jax.eval_shape(module, x).dtype, *conv_dtypes}
    if pools:
        dtypes.add(x.dtype)  # Pooling keeps the dtype of its input.
    # A bias, a scale, a shift, a mean, a variance and a sum of branches each round a few times.
    others = sum(math.prod(pool.window_shape) for pool in pools) + 12 * len(layers)
    return convs + others * max(map(unit_roundoff, dtypes))


def _multiply_adds_per_pixel(module: nnx.Module) -> float:
    return sum(
        math.prod(layer.kernel.shape) / math.prod(np.atleast_1d(layer.strides or 1))
        for _, layer in nnx.iter_modules(module)
        if isinstance(layer, nnx.Conv)
    )
