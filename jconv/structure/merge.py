"""Merging: the parts of a network that are one convolution, made one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich import box
from rich.console import Group
from rich.table import Table

from jconv.algorithms import ALGORITHMS
from jconv.algorithms.algorithm import unit_roundoff
from jconv.inspection import inspect
from jconv.nn import Conv, SeparableConv, Sequential
from jconv.nn.calls import calls_through, in_evaluation
from jconv.nn.pool import AvgPool
from jconv.selection import milliseconds
from jconv.structure.affine import Affine, Border, Refused, dilation_of, of_constant
from jconv.structure.parts import RULES, Part, in_turn, part_of, rank_of

SINGLE = (nnx.Conv, nnx.BatchNorm, nnx.Dropout, AvgPool)  # one layer already


@dataclass(frozen=True)
class Step:
    """A part of a network that is one convolution.

    Attributes:
      path: where it is in the model.
      kind: what it was.
      kernel: the merged kernel's shape.
      products: multiply-adds before and after; for each pixel of the input where its size is not
        known.
      seconds: predicted for the convolutions before and after; None where the input's size is not
        known, or nothing about this device.
      merged: whether it was made one; else it would not have been faster.
    """

    path: str
    kind: str
    kernel: tuple[int, ...]
    products: tuple[float, float]
    seconds: tuple[float, float] | None
    merged: bool
    affine: Affine = field(repr=False)
    before: nnx.Module = field(repr=False)
    after: nnx.Module = field(repr=False)

    def bound(self, x) -> np.ndarray:
        """By how much the two may differ on `x`, for each output channel, before the activation.

        Every rounding of the layers before and of the merged one is counted, as in
        `Algorithm.error_bound`, relative to the sum of absolute products over the largest pixels of
        `x` (rows and columns may be anywhere): no input that the tests draw exceeds it.
        """
        x = np.asarray(x)
        relative = sum(_relative_errors(layer, x.shape) for layer in (self.before, self.after))
        largest = np.abs(x).max(tuple(range(x.ndim - 1))).astype(np.float64)
        sums = of_constant(self.affine.magnitude, largest, self.affine.groups)
        return relative * (sums + self.affine.offset)

    @property
    def saves(self) -> bool:
        """Whether one convolution is predicted to take less time, or else has fewer products."""
        before, after = self.seconds or self.products
        return after <= before


@dataclass(frozen=True)
class Merging:
    """A merged network, which is called like the one before, in evaluation; printed, what was done.

    Attributes:
      model: the merged network.
      steps: the parts that are one convolution.
      refusals: why others are not, by path.
      original: the network before, in evaluation.
    """

    model: nnx.Module
    steps: Sequence[Step]
    refusals: dict[str, str]
    original: nnx.Module = field(repr=False)

    def __call__(self, *args, **kwargs):
        return self.model(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def __rich__(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("part", "one kernel", "multiply-adds", "predicted", ""):
            table.add_column(name, overflow="fold")
        for step in self.steps:
            before, after = step.products
            times = " to ".join(map(milliseconds, step.seconds)) if step.seconds else ""
            table.add_row(
                f"{step.path}\n  [dim]{step.kind}[/]",
                "x".join(map(str, step.kernel)),
                f"{after / before:.2f} times" if before else "",
                times,
                "merged" if step.merged else "left: slower",
            )
        refused = Table("not one convolution", "because", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for path, reason in self.refusals.items():
            refused.add_row(path, reason)
        return Group(*[t for t in (table, refused) if t.row_count])


def merge(
    model: nnx.Module,
    input_shape: Sequence[int] | None = None,
    *,
    only_faster: bool | None = None,
) -> Merging:
    """Makes one convolution of every part of a network that is one in evaluation.

    Batch norms are folded into their convolutions; branches that add (RepVGG, Diverse Branch,
    identities, averages, 1xn and nx1) and that are concatenated (Inception) become one kernel over
    the largest of their windows; convolutions one after another, such as 1x1 and k x k, become
    one. The result is equal in real numbers; `Step.bound` bounds the rounding.

    Args:
      model: a network or a layer, such as `jconv.nn.RepVGGBlock`; it is left as it is.
      input_shape: `(rows, columns, channels)` of its input, by which time is predicted and padding
        that depends on it is known.
      only_faster: merge only where that is predicted to save time, or multiply-adds where nothing
        is known of time: one kernel over branches of 1x1, 3x3 and 5x5 has more of them, and so has
        a depthwise kernel with the 1x1 after it. None holds the parts of a network to that, but not
        a layer that is one convolution as a whole.

    Returns:
      The merged network, what was merged, and what was refused and why.

    Raises:
      Refused: where nothing at all could be merged, with all the reasons.

    >>> from jconv.nn import RepVGGBlock
    >>> block = RepVGGBlock(4, 4, rngs=nnx.Rngs(0))
    >>> merged = merge(block)
    >>> merged.steps[0].kernel
    (3, 3, 4, 4)
    """
    original = in_evaluation(nnx.clone(model))
    shapes = {} if input_shape is None else _input_shapes(original, input_shape)
    walk = _Walk(shapes, only_faster)
    merged = walk.visit(nnx.clone(original), "")
    if not walk.steps:
        told = "; ".join(f"{path or 'model'}: {reason}" for path, reason in walk.refusals.items())
        raise Refused(
            f"`model` must have parts that are one convolution. Received: "
            f"{type(model).__name__}, in which there are none. "
            f"{told or 'One layer alone needs no merging.'}"
        )
    return Merging(merged, walk.steps, walk.refusals, original)


class _Walk:
    """Goes through a network from the outside inwards, replacing what is one convolution."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], only_faster: bool | None):
        self.shapes, self.only_faster = shapes, only_faster
        self.steps: list[Step] = []
        self.refusals: dict[str, str] = {}

    def visit(self, module, path: str):
        """The module, or what takes its place."""
        if isinstance(module, SINGLE) or not isinstance(module, nnx.Module | nnx.List):
            return module
        try:
            part = part_of(module, rank_of(module))
        except Refused as reason:
            if isinstance(module, tuple(RULES)):
                self.refusals[path or "model"] = str(reason)
        else:
            one = self.one(part, module, path)
            if one is not None:
                return one
        for name, child in _children(module):
            here = f"{path}.{name}".lstrip(".")
            there = self.visit(child, here)
            if there is not child:
                _replace(module, name, there)
        if isinstance(module, nnx.Sequential):
            self.runs(module, path)
        return module

    def runs(self, module: nnx.Sequential, path: str) -> None:
        """Neighbours in a row that are one convolution together."""
        layers, kept = list(_spread(module.layers)), []
        count_before = len(layers)
        while layers:
            for count in range(len(layers), 1, -1):
                try:
                    part = in_turn(layers[:count], rank_of(module))
                except Refused:
                    continue
                row = Sequential(layers[:count])
                one = self.one(part, row, f"{path}.layers.{len(kept)}".lstrip("."))
                if one is not None:
                    kept.append(one)
                    del layers[:count]
                    break
            else:
                kept.append(layers.pop(0))
        if len(kept) < count_before:
            module.layers = nnx.List(kept)

    def one(self, part: Part, module: nnx.Module, path: str) -> nnx.Module | None:
        """The convolution that a part is, where it is wanted; None for what is one already."""
        convs = [m for _, m in nnx.iter_modules(module) if isinstance(m, SINGLE)]
        if len(convs) < 2 or part.like is None:
            return None
        layer = emitted(part)
        shape = self.shapes.get(path)
        products = seconds = None
        if shape is not None:
            before, after = (_measures(f, shape) for f in (module, layer))
            products = (before[0], after[0])
            if before[1] is not None and after[1] is not None:
                seconds = (before[1], after[1])
        if products is None:
            products = (_products(module), part.affine.products)
        kernel: Any = layer.layers[0] if isinstance(layer, Sequential) else layer
        step = Step(
            path or "model",
            type(module).__name__,
            kernel.kernel.shape,
            products,
            seconds,
            True,
            part.affine,
            module,
            layer,
        )
        wanted = self.only_faster is False or (self.only_faster is None and not path)
        if not wanted and not step.saves:
            step = replace(step, merged=False)
        self.steps.append(step)
        return layer if step.merged else None


def emitted(part: Part) -> nnx.Module:
    """A part as a layer."""
    found, like = part.affine, part.like
    dilation = dilation_of(found.seen)
    kernel = found.kernel[tuple(slice(None, None, d) for d in dilation)]
    border = found.pads
    names = ("dtype", "param_dtype", "precision", "preferred_element_type")
    own: dict[str, Any] = {name: getattr(like, name) for name in names}
    if isinstance(like, Conv):
        own["algorithm"] = getattr(like.conv_general_dilated, "algorithm", "auto")
    layer = Conv(
        found.inputs,
        kernel.shape[-1],
        kernel.shape[:-2],
        found.stride,
        padding=border.padding if isinstance(border, Border) else border,
        padding_mode=border.mode if isinstance(border, Border) else "zeros",
        kernel_dilation=dilation,
        feature_group_count=found.groups,
        use_bias=bool(np.any(found.bias)),
        kernel_init=nnx.initializers.zeros,
        rngs=nnx.Rngs(0),
        **own,
    )
    layer.kernel.set_value(jnp.asarray(kernel, layer.param_dtype))
    if layer.bias is not None:
        layer.bias.set_value(jnp.asarray(found.bias, layer.param_dtype))
    return layer if part.activation is None else Sequential([layer, part.activation])


def _spread(layers: Sequence) -> Iterator:
    """Layers in a row, a separable convolution as the two that it is."""
    for layer in layers:
        if isinstance(layer, SeparableConv):
            yield from (layer.depthwise, layer.pointwise)
        else:
            yield layer


def _children(module) -> Iterator[tuple[Any, Any]]:
    if isinstance(module, nnx.List):
        yield from enumerate(module)
    else:
        for name, child in vars(module).items():
            if isinstance(child, nnx.Module | nnx.List):
                yield name, child


def _replace(module, name, child) -> None:
    if isinstance(module, nnx.List):
        module[name] = child
    else:
        setattr(module, name, child)


def _input_shapes(model: nnx.Module, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """What goes into each module, by its path."""
    shapes: dict[str, tuple[int, ...]] = {}
    graph, state = nnx.split(model)

    def run(state, x):
        module = nnx.merge(graph, state)

        def around(path, own, call, *args, **kwargs):
            if args and hasattr(args[0], "shape"):
                shapes[".".join(map(str, path))] = args[0].shape
            return call(*args, **kwargs)

        with calls_through(module, around):
            return module(x)

    jax.eval_shape(run, state, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
    return shapes


def _measures(module, shape: Sequence[int]) -> tuple[float, float | None]:
    """Multiply-adds of a module's convolutions, and the time they are predicted to take."""
    found = inspect(module)(jax.ShapeDtypeStruct(tuple(shape), jnp.float32))
    return sum(c.place.runs * c.multiply_adds for c in found.convolutions), found.seconds


def _relative_errors(module, shape: Sequence[int]) -> float:
    """Of all roundings of a part's layers together, relative to the sums of absolute products."""
    found = inspect(module)(jax.ShapeDtypeStruct(tuple(shape), jnp.float32))
    convs = sum(ALGORITHMS[c.algorithm].error_bound(c.problem) for c in found.convolutions)
    layers = [m for _, m in nnx.iter_modules(module) if isinstance(m, SINGLE)]
    pooled = sum(math.prod(m.window) for m in layers if isinstance(m, AvgPool))
    # A bias, a scale or a shift, a mean and a variance round a few times; so do sums of branches.
    return convs + (pooled + 12 * len(layers)) * unit_roundoff(jnp.dtype(jnp.float32))


def _products(module) -> float:
    """Multiply-adds for each pixel of the input, strides within a branch left out of account."""
    return sum(
        math.prod(m.kernel.shape) / math.prod(np.atleast_1d(m.strides or 1))
        for _, m in nnx.iter_modules(module)
        if isinstance(m, nnx.Conv)
    )
