"""Conversion of layers, in evaluation mode, to an affine map followed by an activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx

from jconv._core.jaxpr import is_elementwise, is_identity
from jconv.nn import (
    Add,
    AvgPool,
    Concatenate,
    Conv,
    ConvNorm,
    DiverseBranchBlock,
    InceptionDepthwise,
    MixConv,
    NormPad,
    Parallel,
    ParallelConv,
    RepVGGBlock,
    SeparableConv,
)
from jconv.structure import leaf_rules
from jconv.structure.affine import NotMergeable, identity
from jconv.structure.affine_layer import (
    AffineLayer,
    add,
    compose,
    concatenate,
    name_of,
    split,
)


def to_affine_layer(layer, rank: int = 2) -> AffineLayer:
    """Return a layer as an affine map followed by an activation.

    Args:
      layer: a module or a function.
      rank: number of spatial axes, used for layers that work for any number of them.

    Raises:
      NotMergeable: if the layer has another form, or its class has no rule.
    """
    if isinstance(layer, nnx.Module):
        return _rule_for(layer)(layer, rank)
    if is_identity(layer):
        return AffineLayer(identity(rank))
    if not is_elementwise(layer):
        raise NotMergeable(f"the function {name_of(layer)} is not known to be elementwise")
    return AffineLayer(identity(rank), layer)


def _rule_for(layer: nnx.Module) -> Callable[[nnx.Module, int], AffineLayer]:
    """Return the rule of the layer's class, or of the base class whose `__call__` it inherits.

    Raises:
      NotMergeable: if there is no such rule.
    """
    name = type(layer).__name__
    base = next((base for base in type(layer).__mro__ if base in RULES), None)
    if base is not None and has_known_call(layer):
        return RULES[base]
    if base is None and not any(isinstance(value, nnx.Module) for value in vars(layer).values()):
        raise NotMergeable(f"{name} is not known to be affine")
    raise NotMergeable(
        f"{name} has a custom `__call__`, so how it combines its layers is not known"
    )


def has_known_call(layer: nnx.Module) -> bool:
    """Return whether each class of a layer that defines `__call__` has a rule."""
    return all(base in RULES for base in type(layer).__mro__ if "__call__" in vars(base))


def compose_layers(layers: Sequence, rank: int) -> AffineLayer:
    """Return consecutive layers as one.

    Args:
      layers: modules and functions, in the order in which they are applied.
      rank: number of spatial axes.

    Raises:
      NotMergeable: if a layer has no affine form or cannot be composed with those before it.
    """
    if not layers:
        raise NotMergeable("it has no layers")
    result: AffineLayer | None = None
    for i, layer in enumerate(layers):
        try:
            following = to_affine_layer(layer, rank)
            result = following if result is None else compose(result, following)
        except NotMergeable as error:
            raise NotMergeable(f"layer {i} ({name_of(layer)}): {error}") from None
    assert result is not None
    return result


def spatial_rank(module: nnx.Module) -> int:
    """Return the number of spatial axes of the first layer with a window; 2 if there is none."""
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, nnx.Conv):
            return len(layer.kernel_size)
        if isinstance(layer, AvgPool):
            return len(layer.window_shape)
    return 2


def _separable_conv(layer: SeparableConv, rank: int) -> AffineLayer:
    return compose_layers([layer.depthwise, layer.pointwise], rank)


def _conv_norm(layer: ConvNorm, rank: int) -> AffineLayer:
    layers = [layer.conv, layer.norm, layer.activation]
    return compose_layers([part for part in layers if part is not None], rank)


def _sequential(layer: nnx.Sequential, rank: int) -> AffineLayer:
    return compose_layers(list(layer.layers), rank)


def _reparameterized(layer: RepVGGBlock | DiverseBranchBlock, rank: int) -> AffineLayer:
    return _activate(to_affine_layer(layer.branches, rank), layer.activation, rank)


def _parallel(layer: Parallel, rank: int) -> AffineLayer:
    joins = {Add: add, Concatenate: concatenate}
    if type(layer.join) not in joins:
        raise NotMergeable(
            f"its branches are joined by {name_of(layer.join)}, which is neither Add nor "
            f"Concatenate"
        )
    return joins[type(layer.join)](_branches(layer.branches, rank))


def _parallel_conv(layer: ParallelConv, rank: int) -> AffineLayer:
    merged = concatenate(_branches(layer.branches, rank))
    if layer.activation is not None and not is_elementwise(layer.activation):
        raise NotMergeable(
            f"the function {name_of(layer.activation)} is applied to each branch separately and is "
            f"not known to be elementwise"
        )
    return _activate(merged, layer.activation, rank)


def _activate(layer: AffineLayer, activation: Callable | None, rank: int) -> AffineLayer:
    return layer if activation is None else compose(layer, to_affine_layer(activation, rank))


def _branches(branches: Sequence, rank: int) -> list[AffineLayer]:
    layers = []
    for i, branch in enumerate(branches):
        try:
            layers.append(to_affine_layer(branch, rank))
        except NotMergeable as error:
            raise NotMergeable(f"branch {i}: {error}") from None
    return layers


def _mix_conv(layer: MixConv, rank: int) -> AffineLayer:
    return split([to_affine_layer(part, rank) for part in layer.parts])


def _inception_depthwise(layer: InceptionDepthwise, rank: int) -> AffineLayer:
    convs = [to_affine_layer(conv, rank) for conv in (layer.square, layer.row, layer.column)]
    unchanged = layer.widths[0]
    return split([AffineLayer(identity(rank, unchanged)), *convs] if unchanged else convs)


# A rule takes a layer of the class and the number of spatial axes. A layer of a subclass is
# converted by the same rule, unless the subclass defines another `__call__`.
RULES: dict[type, Callable[..., AffineLayer]] = {
    nnx.Conv: leaf_rules.conv,
    Conv: leaf_rules.conv,
    nnx.BatchNorm: leaf_rules.batch_norm,
    NormPad: leaf_rules.norm_pad,
    nnx.Dropout: leaf_rules.dropout,
    AvgPool: leaf_rules.avg_pool,
    ConvNorm: _conv_norm,
    SeparableConv: _separable_conv,
    RepVGGBlock: _reparameterized,
    DiverseBranchBlock: _reparameterized,
    Parallel: _parallel,
    ParallelConv: _parallel_conv,
    MixConv: _mix_conv,
    InceptionDepthwise: _inception_depthwise,
    nnx.Sequential: _sequential,
}


def register_merge_rule(
    layer_class: type[nnx.Module], to_known_layer: Callable[[Any], nnx.Module]
) -> None:
    """Register how layers of a class with a custom `__call__` are merged.

    Args:
      layer_class: a class of layers. It also stands for subclasses that inherit its `__call__`.
      to_known_layer: a function that takes such a layer, in evaluation mode, and returns an equal
        one that consists of layers with rules, such as `jconv.nn.Sequential([layer.conv,
        layer.norm])`. A later rule for the same class replaces an earlier one.

    Raises:
      ValueError: if `layer_class` is not a class of Flax modules, or has a rule of jconv.
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, nnx.Module)):
        raise ValueError(
            f"`layer_class` must be a subclass of `nnx.Module`. Received: {layer_class!r}."
        )
    if layer_class in _BUILT_IN_CLASSES:
        raise ValueError(
            f"`layer_class` must not be a class that jconv merges already. "
            f"Received: {layer_class.__name__}. Register a rule for a subclass instead."
        )
    RULES[layer_class] = lambda layer, rank: to_affine_layer(to_known_layer(layer), rank)


_BUILT_IN_CLASSES = frozenset(RULES)
