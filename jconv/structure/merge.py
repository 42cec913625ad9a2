"""Merging: the parts of a network that are one convolution, made one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from rich import box
from rich.console import Group
from rich.table import Table

from jconv.nn import Conv, SeparableConv, Sequential
from jconv.nn.interception import eval_view, intercept_calls
from jconv.selection.choice import milliseconds
from jconv.structure.affine import NotMergeable, dilation_of
from jconv.structure.affine_layer import Part
from jconv.structure.layer_rules import RULES, has_known_call, in_turn, part_of, rank_of
from jconv.structure.merged_block import SINGLE, MergedBlock


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
    steps: Sequence[MergedBlock]
    refusals: dict[str, str]
    original: nnx.Module = field(repr=False)

    def __call__(self, *args, **kwargs):
        return self.model(*args, **kwargs)  # pyright: ignore[reportCallIssue]

    def __rich__(self) -> Group:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        names = ("part", "one kernel", "multiply-adds", "forward", "with gradients", "")
        for name in names:
            table.add_column(name, overflow="fold")
        for step in self.steps:
            table.add_row(
                f"{step.path}\n  [dim]{step.kind}[/]",
                "x".join(map(str, step.kernel)),
                f"{step.ratio:.2f} times",
                _times(step.seconds),
                _times(step.seconds_with_gradients),
                "merged" if step.merged else "left: slower",
            )
        refused = Table("not one convolution", "because", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for path, reason in self.refusals.items():
            refused.add_row(path, reason)
        return Group(*[t for t in (table, refused) if t.row_count])


def _times(seconds: tuple[float, float] | None) -> str:
    return " to ".join(map(milliseconds, seconds)) if seconds else ""


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
    one. The result is equal in real numbers and has the same dtype; `MergedBlock.bound` bounds the
    rounding. What a module with a `__call__` of its own does between its layers is not known: it is
    taken to call them and to read nothing else of theirs, so that each is merged by itself.

    Args:
      model: a network or a layer, such as `jconv.nn.RepVGGBlock`; it is left as it is.
      input_shape: `(rows, columns, channels)` of its input, by which multiply-adds are counted and
        time is predicted, forward and with gradients: see `MergedBlock`.
      only_faster: merge only where that is predicted to save time, or multiply-adds where nothing
        is known of time: one kernel over branches of 1x1, 3x3 and 5x5 has more of them, and so has
        a depthwise kernel with the 1x1 after it. None holds the parts of a network to that, but not
        a layer that is one convolution as a whole.

    Returns:
      The merged network, what was merged, and what was refused and why.

    Raises:
      NotMergeable: where nothing at all could be merged, with all the reasons.

    >>> from jconv.nn import RepVGGBlock
    >>> block = RepVGGBlock(4, 4, rngs=nnx.Rngs(0))
    >>> merged = merge(block)
    >>> merged.steps[0].kernel
    (3, 3, 4, 4)
    """
    original = eval_view(nnx.clone(model))
    shapes = {} if input_shape is None else _input_shapes(original, input_shape)
    walk = _Walk(shapes, only_faster)
    merged = walk.visit(nnx.clone(original), "")
    if not walk.steps:
        told = "; ".join(f"{path or 'model'}: {reason}" for path, reason in walk.refusals.items())
        raise NotMergeable(
            f"`model` must have parts that are one convolution. Received: "
            f"{type(model).__name__}, in which there are none. "
            f"{told or 'One layer alone needs no merging.'}"
        )
    return Merging(merged, walk.steps, walk.refusals, original)


class _Walk:
    """Goes through a network from the outside inwards, replacing what is one convolution."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], only_faster: bool | None):
        self.shapes, self.only_faster = shapes, only_faster
        self.steps: list[MergedBlock] = []
        self.refusals: dict[str, str] = {}

    def visit(self, module, path: str):
        """The module, or what takes its place."""
        if isinstance(module, SINGLE) or not isinstance(module, nnx.Module):
            return module
        if not isinstance(module, nnx.List | nnx.Dict):
            one = self.whole(module, path)
            if one is not None:
                return one
        for name, child in _children(module):
            here = f"{path}.{name}".lstrip(".")
            there = self.visit(child, here)
            if there is not child:
                _replace(module, name, there)
        if isinstance(module, nnx.Sequential) and has_known_call(module):
            self.runs(module, path)
        return module

    def whole(self, module: nnx.Module, path: str) -> nnx.Module | None:
        """The convolution that a module is; None, and the reason, where it is none."""
        several = _count(module) > 1
        try:
            part = part_of(module, rank_of(module))
        except NotMergeable as reason:
            if several or isinstance(module, tuple(RULES)):
                self.refusals[path or "model"] = str(reason)
            return None
        if part.like is None and several:
            reason = "it has no convolution, of which its layers could become part"
            self.refusals[path or "model"] = reason
        return self.one(part, module, path, self.shapes.get(path))

    def runs(self, module: nnx.Sequential, path: str) -> None:
        """Neighbours in a row that are one convolution together."""
        layers, kept = list(_spread(module.layers, f"{path}.layers".lstrip("."))), []
        total = len(layers)
        while layers:
            # All of them were tried before, as a whole.
            for count in range(min(len(layers), total - 1), 1, -1):
                paths, row = zip(*layers[:count], strict=True)
                try:
                    part = in_turn(row, rank_of(module))
                except NotMergeable:
                    continue
                # What has no shape is a function, which keeps that of its input.
                shape = next((self.shapes[own] for own in paths if own in self.shapes), None)
                one = self.one(part, Sequential(row), paths[0], shape)
                if one is not None:
                    kept.append(one)
                    del layers[:count]
                    break
            else:
                kept.append(layers.pop(0)[1])
        if len(kept) < total:
            module.layers = nnx.List(kept)

    def one(
        self, part: Part, module: nnx.Module, path: str, shape: tuple[int, ...] | None
    ) -> nnx.Module | None:
        """The convolution that a part is, where it is wanted; None for what is one already."""
        if _count(module) < 2 or part.like is None:
            return None
        layer = emitted(part, _algorithm_of(module))
        conv: Any = layer.layers[0] if isinstance(layer, Sequential) else layer
        step = MergedBlock(
            path=path or "model",
            kind=type(module).__name__,
            kernel=conv.kernel.shape,
            shape=shape,
            merged=True,
            affine=part.affine,
            before=module,
            after=layer,
        )
        wanted = self.only_faster is False or (self.only_faster is None and not path)
        if not wanted and not step.saves:
            # What stays is merged further inside.
            step = replace(step, merged=False, before=nnx.clone(module))
        self.steps.append(step)
        return layer if step.merged else None


def emitted(part: Part, algorithm) -> nnx.Module:
    """A part as a layer, by an algorithm where it can do that kernel; else by `"auto"`."""
    found, like, numerics = part.affine, part.like, part.numerics
    assert like is not None and numerics is not None
    dilation = dilation_of(found.seen)
    kernel = found.kernel[tuple(slice(None, None, d) for d in dilation)]
    layer = Conv(
        found.inputs,
        kernel.shape[-1],
        kernel.shape[:-2],
        found.stride,
        padding=found.pads,
        padding_mode=found.mode,
        kernel_dilation=dilation,
        feature_group_count=found.groups,
        use_bias=bool(found.bias.any()),
        dtype=numerics.dtype,
        param_dtype=numerics.param_dtype,
        precision=like.precision,
        preferred_element_type=like.preferred_element_type,
        algorithm=algorithm,
        kernel_init=nnx.initializers.zeros,
        rngs=nnx.Rngs(0),
    )
    layer.kernel.set_value(jnp.asarray(kernel, layer.param_dtype))
    if layer.bias is not None:
        layer.bias.set_value(jnp.asarray(found.bias, layer.param_dtype))
    if algorithm != "auto" and not _runs(layer):
        return emitted(part, "auto")
    return layer if part.activation is None else Sequential([layer, part.activation])


def _runs(layer: Conv) -> bool:
    sizes = [taps + 32 for taps in layer.kernel_size]
    x = jax.ShapeDtypeStruct((1, *sizes, layer.in_features), jnp.float32)
    try:
        jax.eval_shape(lambda x: layer(x), x)
    except ValueError:  # of an algorithm for other kernels
        return False
    return True


def _algorithm_of(module: nnx.Module):
    """That of all convolutions, `"auto"` where they differ."""
    convs = [layer for _, layer in nnx.iter_modules(module) if isinstance(layer, nnx.Conv)]
    found = {getattr(conv.conv_general_dilated, "algorithm", "auto") for conv in convs}
    return found.pop() if len(found) == 1 else "auto"


def _count(module: nnx.Module) -> int:
    return sum(isinstance(layer, SINGLE) for _, layer in nnx.iter_modules(module))


def _spread(layers: Sequence, path: str) -> Iterator[tuple[str, Any]]:
    """Layers in a row with their paths, a separable convolution as the two that it is."""
    for i, layer in enumerate(layers):
        if isinstance(layer, SeparableConv) and has_known_call(layer):
            yield f"{path}.{i}.depthwise", layer.depthwise
            yield f"{path}.{i}.pointwise", layer.pointwise
        else:
            yield f"{path}.{i}", layer


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

        with intercept_calls(module, around):
            return module(x)

    jax.eval_shape(run, state, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
    return shapes
