"""Replacement of the parts of a network that equal one convolution by that convolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jconv.nn import SeparableConv, Sequential
from jconv.nn.interception import eval_view, intercept_calls
from jconv.structure.affine import NotMergeable
from jconv.structure.affine_layer import AffineLayer, to_layer
from jconv.structure.layer_rules import (
    RULES,
    compose_layers,
    has_known_call,
    spatial_rank,
    to_affine_layer,
)
from jconv.structure.merged_block import SINGLE_LAYERS, MergedBlock, Merging


def merge(
    model: nnx.Module,
    input_shape: Sequence[int] | None = None,
    *,
    only_faster: bool | None = None,
) -> Merging:
    """Replace every part of a network that equals one convolution in evaluation mode.

    Batch norms are folded into convolutions. Branches that are added (RepVGG, Diverse Branch Block,
    identities, average pools, 1xn and nx1) or concatenated (Inception) become one kernel over the
    largest of their windows. Consecutive convolutions, such as 1x1 and k x k, become one. The
    result is equal in real arithmetic and has the same dtype; `MergedBlock.error_bound` bounds the
    rounding errors.

    A module with a custom `__call__` is not merged as a whole, because it is not known how it
    combines its layers. Its layers are merged separately; this assumes that it only calls them.

    Args:
      model: a network or a layer, such as `jconv.nn.RepVGGBlock`; it is not changed.
      input_shape: shape of one input, `(rows, columns, channels)`. It is needed to count
        multiply-adds and to predict the time, forward and with gradients: see `MergedBlock`.
      only_faster: if True, merge only where that is predicted to save time, or multiply-adds if no
        prediction is available. One kernel over branches of 1x1, 3x3 and 5x5 has more
        multiply-adds, and so has a depthwise kernel composed with the 1x1 after it. If None, this
        applies to parts of a network, but not to a model that equals one convolution as a whole.

    Returns:
      The merged network, its merged blocks, and the reason for every module that is not mergeable.

    Raises:
      NotMergeable: if no part could be merged, with all reasons.

    >>> from jconv.nn import RepVGGBlock
    >>> block = RepVGGBlock(4, 4, rngs=nnx.Rngs(0))
    >>> merged = merge(block)
    >>> merged.blocks[0].kernel_shape
    (3, 3, 4, 4)
    """
    original = eval_view(nnx.clone(model))
    shapes = {} if input_shape is None else _input_shapes(original, input_shape)
    merger = _Merger(shapes, only_faster)
    merged = merger.visit(nnx.clone(original), "")
    if not merger.blocks:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in merger.reasons.items())
        raise NotMergeable(
            f"`model` must have layers that can be merged into one convolution. Received: "
            f"{type(model).__name__}, which has none. "
            f"{reasons or 'A single layer needs no merging.'}",
            merger.reasons,
        )
    return Merging(merged, merger.blocks, merger.reasons, original)


class _Merger:
    """Traversal of a network from the outermost module inwards, which replaces its parts."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], only_faster: bool | None):
        self.shapes, self.only_faster = shapes, only_faster
        self.blocks: list[MergedBlock] = []
        self.reasons: dict[str, str] = {}

    def visit(self, module, path: str):
        """Return the module with its parts replaced, or the layer that replaces the module."""
        if isinstance(module, SINGLE_LAYERS) or not isinstance(module, nnx.Module):
            return module
        if not isinstance(module, nnx.List | nnx.Dict):
            layer = self.merge_module(module, path)
            if layer is not None:
                return layer
        for name, child in _children(module):
            replacement = self.visit(child, f"{path}.{name}".lstrip("."))
            if replacement is not child:
                _set_child(module, name, replacement)
        if isinstance(module, nnx.Sequential) and has_known_call(module):
            self.merge_runs(module, path)
        return module

    def merge_module(self, module: nnx.Module, path: str) -> nnx.Module | None:
        """Return the layer that replaces a module; None, with a reason recorded, if none does."""
        has_several_layers = _count_layers(module) > 1
        try:
            affine_layer = to_affine_layer(module, spatial_rank(module))
        except NotMergeable as error:
            if has_several_layers or isinstance(module, tuple(RULES)):
                self.reasons[path or "model"] = str(error)
            return None
        if affine_layer.template is None and has_several_layers:
            self.reasons[path or "model"] = "it has no convolution to merge its layers into"
        return self.make_block(affine_layer, module, path, self.shapes.get(path))

    def merge_runs(self, module: nnx.Sequential, path: str) -> None:
        """Merge consecutive layers of a sequence, the longest run first."""
        layers, kept = list(_flatten(module.layers, f"{path}.layers".lstrip("."))), []
        total = len(layers)
        while layers:
            # The run of all layers is the module, which could not be merged as a whole.
            for count in range(min(len(layers), total - 1), 1, -1):
                layer = self.merge_run(layers[:count], spatial_rank(module))
                if layer is not None:
                    kept.append(layer)
                    del layers[:count]
                    break
            else:
                kept.append(layers.pop(0)[1])
        if len(kept) < total:
            module.layers = nnx.List(kept)

    def merge_run(self, run: Sequence[tuple[str, Any]], rank: int) -> nnx.Module | None:
        """Return the layer that replaces consecutive layers, given with their paths, or None."""
        paths, layers = zip(*run, strict=True)
        try:
            affine_layer = compose_layers(layers, rank)
        except NotMergeable:
            return None
        # A function has no recorded shape, and does not change that of its input.
        shape = next((self.shapes[path] for path in paths if path in self.shapes), None)
        return self.make_block(affine_layer, Sequential(layers), paths[0], shape)

    def make_block(
        self,
        affine_layer: AffineLayer,
        module: nnx.Module,
        path: str,
        input_shape: tuple[int, ...] | None,
    ) -> nnx.Module | None:
        """Record a block, and return its convolution if it replaces the module, else None."""
        if _count_layers(module) < 2 or affine_layer.template is None:
            return None
        layer = to_layer(affine_layer, _common_algorithm(module))
        conv: Any = layer.layers[0] if isinstance(layer, Sequential) else layer
        block = MergedBlock(
            path=path or "model",
            layer_type=type(module).__name__,
            kernel_shape=conv.kernel.shape,
            input_shape=input_shape,
            merged=True,
            affine=affine_layer.affine,
            before=module,
            after=layer,
        )
        unconditional = self.only_faster is False or (self.only_faster is None and not path)
        if not unconditional and not block.is_no_slower:
            # The parts of a module that is not replaced are merged in place afterwards.
            block = replace(block, merged=False, before=nnx.clone(module))
        self.blocks.append(block)
        return layer if block.merged else None


def _common_algorithm(module: nnx.Module):
    """Return the algorithm of all convolutions of a module; `"auto"` if they differ."""
    convs = [layer for _, layer in nnx.iter_modules(module) if isinstance(layer, nnx.Conv)]
    algorithms = {getattr(conv.conv_general_dilated, "algorithm", "auto") for conv in convs}
    return algorithms.pop() if len(algorithms) == 1 else "auto"


def _count_layers(module: nnx.Module) -> int:
    return sum(isinstance(layer, SINGLE_LAYERS) for _, layer in nnx.iter_modules(module))


def _flatten(layers: Sequence, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers of a sequence with their paths, a separable convolution as two layers."""
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


def _set_child(module, name, child) -> None:
    if isinstance(module, nnx.List):
        module[name] = child
    else:
        setattr(module, name, child)


def _input_shapes(model: nnx.Module, input_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the input shape of each module, by its path."""
    shapes: dict[str, tuple[int, ...]] = {}
    graph, state = nnx.split(model)

    def run(state, x):
        module = nnx.merge(graph, state)

        def record_shape(path, module, call, *args, **kwargs):
            if args and hasattr(args[0], "shape"):
                shapes[".".join(map(str, path))] = args[0].shape
            return call(*args, **kwargs)

        with intercept_calls(module, record_shape):
            return module(x)

    jax.eval_shape(run, state, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
    return shapes
