"""What each kind of layer is, in evaluation, as a convolution with a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from flax import nnx

from jconv.nn import (
    AvgPool,
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
from jconv.nn.conv import FLAX_BORDERS
from jconv.nn.side_by_side import Add
from jconv.structure import affine
from jconv.structure.affine import Affine, Border, Refused
from jconv.structure.elementwise import is_elementwise, is_identity
from jconv.window import dilated_size, resolve_padding


@dataclass(frozen=True)
class Part:
    """A layer as `activation(convolution(x))`.

    Attributes:
      affine: the convolution and its bias.
      activation: None for none.
      like: a convolution of the layer, whose algorithm and dtypes the merged one gets.
    """

    affine: Affine
    activation: Callable | None = None
    like: nnx.Conv | None = None


def part_of(layer, rank: int = 2) -> Part:
    """A layer as a part.

    Args:
      layer: a module or a function.
      rank: spatial axes, where the layer itself does not say.

    Raises:
      Refused: with the reason, where it is none.
    """
    for kind, rule in RULES.items():
        if isinstance(layer, kind):
            return rule(layer, rank)
    if isinstance(layer, nnx.Module):
        raise Refused(f"{type(layer).__name__} is not linear, or not known to be")
    if is_identity(layer):
        return _identity(layer, rank)
    if not is_elementwise(layer):
        raise Refused(f"the function {_name(layer)} is not known to act on each number by itself")
    return Part(affine.pointwise(np.ones(1), 0.0, rank), layer)


def rank_of(module: nnx.Module) -> int:
    """Spatial axes of a network, by its first layer with a window; 2 where there is none."""
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, nnx.Conv):
            return len(layer.kernel_size)
        if isinstance(layer, AvgPool):
            return len(layer.window)
    return 2


def _conv(layer: nnx.Conv, rank: int) -> Part:
    rank = len(layer.kernel_size)
    if np.iscomplexobj(layer.kernel[...]):
        raise Refused("its numbers are complex")
    if set(_axes(layer.input_dilation, rank)) != {1}:
        raise Refused("its input is dilated")
    kernel = np.asarray(layer.kernel[...], np.float64)
    if layer.mask is not None:
        kernel = kernel * np.asarray(layer.mask)
    bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias[...]
    stride, dilation = _axes(layer.strides, rank), _axes(layer.kernel_dilation, rank)
    span = tuple(map(dilated_size, layer.kernel_size, dilation))
    pads = _pads(layer.padding, getattr(layer.conv_general_dilated, "padding_mode", "zeros"),
                 span, stride)  # fmt: skip
    return Part(
        Affine.of(kernel, bias, stride, pads, layer.feature_group_count, dilation), like=layer
    )


def _pads(padding, mode: str, span: Sequence[int], stride: Sequence[int]):
    ones = (1,) * len(span)
    if isinstance(padding, str) and padding.upper() in FLAX_BORDERS:
        return Border("SAME", padding.lower())
    unknown = isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER")
    if unknown and set(stride) != {1} and set(span) != {1}:
        return Border(padding.upper(), mode)
    # With a stride of one, what is padded does not depend on the size: any that fits will do.
    pads = resolve_padding(padding, tuple(span), tuple(span), ones)
    if mode != "zeros" and any(map(any, pads)):
        return Border(pads, mode)
    return pads


def _axes(value, rank: int) -> tuple[int, ...]:
    value = 1 if value is None else value
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _batch_norm(layer: nnx.BatchNorm, rank: int) -> Part:
    if layer.axis != -1:
        raise Refused(f"it normalises along axis {layer.axis}, not channels")
    mean, var = (np.asarray(v[...], np.float64) for v in (layer.mean, layer.var))
    scale = 1 / np.sqrt(var + layer.epsilon)
    if layer.scale is not None:
        scale = scale * np.asarray(layer.scale[...], np.float64)
    shift = -mean * scale
    if layer.bias is not None:
        shift = shift + np.asarray(layer.bias[...], np.float64)
    found = affine.pointwise(scale, shift, rank)
    if isinstance(layer, NormPad):  # its border is what it makes of zeros
        found = affine.replace(found, pads=((layer.pad, layer.pad),) * rank)
    return Part(found)


def _average(layer: AvgPool, rank: int) -> Part:
    rank = len(layer.window)
    padding, stride = layer.padding, layer.strides
    dilation = _axes(layer.dilation, rank)
    span = tuple(map(dilated_size, layer.window, dilation))
    if layer.ceil:
        raise Refused("its last windows reach beyond the padding")
    pads = _pads(padding, "zeros", span, stride)
    if not layer.count_include_pad and (isinstance(pads, Border) or any(map(any, pads))):
        raise Refused("its averages at the border are of fewer pixels")
    weight = np.full((*layer.window, 1, 1), 1 / np.prod(layer.window))
    return Part(Affine.of(weight, np.zeros(1), stride, pads, 1, dilation))


def _identity(layer, rank: int) -> Part:
    return Part(affine.pointwise(np.ones(1), 0.0, rank))


def _separable(layer: SeparableConv, rank: int) -> Part:
    return in_turn([layer.depthwise, layer.pointwise], rank)


def _conv_norm(layer: ConvNorm, rank: int) -> Part:
    layers = [layer.conv, layer.norm, layer.activation]
    return in_turn([own for own in layers if own is not None], rank)


def in_turn(layers: Sequence, rank: int) -> Part:
    """Layers one after another.

    Raises:
      Refused: where one of them is no part, or a nonlinearity stands before another.
    """
    found: Part | None = None
    for layer in layers:
        part = part_of(layer, rank)
        found = part if found is None else then(found, part)
    if found is None:
        raise Refused("it has no layers")
    return found


def then(first: Part, second: Part) -> Part:
    """One part after another."""
    if second.affine.is_pointwise and _is_identity(second.affine):
        if first.activation is not None and second.activation is not None:
            a, b = first.activation, second.activation
            return Part(first.affine, lambda x: b(a(x)), first.like)
        return Part(first.affine, second.activation or first.activation, first.like)
    if first.activation is not None:
        raise Refused(f"the nonlinearity {_name(first.activation)} stands between")
    a, b = _fitted(first.affine, second.affine)
    return Part(affine.compose(a, b), second.activation, first.like or second.like)


def _is_identity(found: Affine) -> bool:
    return (
        bool(np.all(found.kernel == 1) and not np.any(found.bias)) and found.kernel.shape[-2] == 1
    )


def _fitted(first: Affine, second: Affine) -> tuple[Affine, Affine]:
    """What is the same for any number of channels, with the number that it gets."""
    if second.inputs == 1 and len(first.bias) > 1 and len(second.bias) == 1:
        second = repeated(second, len(first.bias))
    if len(first.bias) == 1 and first.inputs == 1 and second.inputs > 1:
        first = repeated(first, second.inputs)
    return first, second


def repeated(found: Affine, channels: int) -> Affine:
    """A convolution of one channel, for each of many."""
    many = lambda a: np.repeat(a, channels, -1)
    return affine.replace(
        found,
        kernel=many(found.kernel),
        bias=many(found.bias),
        magnitude=many(found.magnitude),
        offset=many(found.offset),
        groups=channels,
    )


def _repvgg(layer: RepVGGBlock | DiverseBranchBlock, rank: int) -> Part:
    found = part_of(layer.branches, rank)
    return Part(found.affine, layer.activation, found.like)


def _parallel(layer: Parallel, rank: int) -> Part:
    return side_by_side(layer.branches, isinstance(layer.join, Add), rank)


def _parallel_conv(layer: ParallelConv, rank: int) -> Part:
    found = side_by_side(layer.branches, False, rank)
    if layer.activation is None:
        return found
    if not is_elementwise(layer.activation):
        raise Refused(f"the function {_name(layer.activation)} is applied to each branch by itself")
    return then(found, part_of(layer.activation, rank))


def side_by_side(branches: Sequence, adds: bool, rank: int) -> Part:
    """Branches that see the same input."""
    parts = []
    for i, branch in enumerate(branches):
        try:
            parts.append(part_of(branch, rank))
        except Refused as reason:
            raise Refused(f"branch {i}: {reason}") from None
    if len(parts) == 1:
        return parts[0]
    activations = {part.activation for part in parts}
    if adds and activations != {None}:
        raise Refused("a nonlinearity stands before the sum")
    if len(activations) > 1:
        raise Refused("branches end in different nonlinearities")
    channels = max(part.affine.inputs for part in parts)
    fitted = [
        repeated(part.affine, channels)
        if part.affine.inputs == 1 < channels and len(part.affine.bias) == 1
        else part.affine
        for part in parts
    ]
    join = affine.add if adds else affine.concatenate
    like = next((part.like for part in parts if part.like is not None), None)
    return Part(join(fitted), parts[0].activation, like)


def _mixed(layer: MixConv, rank: int) -> Part:
    parts = [part_of(part, rank) for part in layer.parts]
    return Part(affine.split([part.affine for part in parts]), None, parts[0].like)


def _inception_depthwise(layer: InceptionDepthwise, rank: int) -> Part:
    convs = [part_of(own, rank) for own in (layer.square, layer.row, layer.column)]
    same = affine.pointwise(np.ones(layer.widths[0]), 0.0, rank)
    return Part(affine.split([same, *(part.affine for part in convs)]), None, convs[0].like)


def _sequential(layer: nnx.Sequential, rank: int) -> Part:
    return in_turn(list(layer.layers), rank)


def _name(function) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


# The first kind that a layer is an instance of counts.
RULES: dict[type, Callable[..., Part]] = {
    nnx.Conv: _conv,
    nnx.BatchNorm: _batch_norm,
    nnx.Dropout: _identity,
    AvgPool: _average,
    ConvNorm: _conv_norm,
    SeparableConv: _separable,
    RepVGGBlock: _repvgg,
    DiverseBranchBlock: _repvgg,
    Parallel: _parallel,
    ParallelConv: _parallel_conv,
    MixConv: _mixed,
    InceptionDepthwise: _inception_depthwise,
    nnx.Sequential: _sequential,
}
