"""What each kind of layer is, in evaluation, as a convolution with a bias and an activation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from flax import nnx
from jax import lax

from jconv._core.geometry import Pads, dilated_size, resolve_padding
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
from jconv.nn.conv import FLAX_BORDERS, _Convolution
from jconv.structure.affine import Affine, NotMergeable, identity, pointwise
from jconv.structure.affine_layer import Part, like_of, name_of, side_by_side, then
from jconv.structure.dtypes import Numerics, numerics_beside
from jconv.structure.parallel import named_lows, split


def part_of(layer, rank: int = 2) -> Part:
    """A layer as a part.

    Args:
      layer: a module or a function.
      rank: spatial axes, where the layer itself does not say.

    Raises:
      NotMergeable: with the reason, where it is none.
    """
    if isinstance(layer, nnx.Module):
        return rule_of(layer)(layer, rank)
    if is_identity(layer):
        return Part(identity(rank))
    if not is_elementwise(layer):
        raise NotMergeable(
            f"the function {name_of(layer)} is not known to act on each number by itself"
        )
    return Part(identity(rank), layer)


def rule_of(layer: nnx.Module) -> Callable[[nnx.Module, int], Part]:
    """How a layer becomes a part: by its class, as long as no class of its changes the call.

    Raises:
      NotMergeable: where no rule is known.
    """
    name = type(layer).__name__
    known = next((kind for kind in type(layer).__mro__ if kind in RULES), None)
    if known is not None and has_known_call(layer):
        return RULES[known]
    if known is None and not any(isinstance(own, nnx.Module) for own in vars(layer).values()):
        raise NotMergeable(f"{name} is not linear, or not known to be")
    raise NotMergeable(
        f"{name} has a `__call__` of its own, so what it does is not known, as that of a "
        f"`Sequential` is"
    )


def has_known_call(layer: nnx.Module) -> bool:
    """Whether every class that has a say in how a layer is called has a rule."""
    return all(kind in RULES for kind in type(layer).__mro__ if "__call__" in vars(kind))


def in_turn(layers: Sequence, rank: int) -> Part:
    """Layers one after another.

    Raises:
      NotMergeable: where one of them is no part, or does not follow on those before it.
    """
    if not layers:
        raise NotMergeable("it has no layers")
    found: Part | None = None
    for i, layer in enumerate(layers):
        try:
            part = part_of(layer, rank)
            found = part if found is None else then(found, part)
        except NotMergeable as reason:
            raise NotMergeable(f"layer {i} ({name_of(layer)}): {reason}") from None
    assert found is not None
    return found


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
    numerics = Numerics.of(layer, [layer.kernel, layer.bias])
    call = layer.conv_general_dilated
    if call is not lax.conv_general_dilated and not isinstance(call, _Convolution):
        raise NotMergeable(f"its `conv_general_dilated` is {name_of(call)}, which is not known")
    if np.iscomplexobj(layer.kernel[...]):
        raise NotMergeable("its numbers are complex")
    if set(_axes(layer.input_dilation, rank)) != {1}:
        raise NotMergeable("its input is dilated")
    kernel = np.asarray(layer.kernel[...], np.float64)
    if layer.mask is not None:
        kernel = kernel * np.asarray(layer.mask)
    bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias[...]
    stride, dilation = _axes(layer.strides, rank), _axes(layer.kernel_dilation, rank)
    span = tuple(map(dilated_size, layer.kernel_size, dilation))
    mode = getattr(call, "padding_mode", "zeros")
    if isinstance(layer.padding, str) and layer.padding in FLAX_BORDERS:
        # Flax pads these itself, the same for every stride.
        pads, mode = tuple(((n - 1) // 2, n // 2) for n in span), layer.padding.lower()
    else:
        pads = _pads(layer.padding, span, stride)
        mode = "zeros" if layer.padding == "CAUSAL" else mode  # of Flax's own too
    groups = layer.feature_group_count
    found = Affine.of(kernel, bias, stride, pads, groups=groups, dilation=dilation, mode=mode)
    return Part(found, None, layer, numerics)


def _pads(padding, span: Sequence[int], stride: Sequence[int]) -> Pads | str:
    """Pixels before and after each axis; a name where they depend on the input's size."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER"):
        name = padding.upper()
        lows = [set(named_lows(name, n, step)) for n, step in zip(span, stride, strict=True)]
        if any(len(low) > 1 for low in lows):
            return name
        return tuple((low, n - 1 - low) for (low,), n in zip(lows, span, strict=True))
    return resolve_padding(padding, tuple(span), tuple(span), tuple(stride))


def _axes(value, rank: int) -> tuple[int, ...]:
    value = 1 if value is None else value
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _batch_norm(layer: nnx.BatchNorm, rank: int) -> Part:
    numerics = Numerics.of(layer, [layer.mean, layer.var, layer.scale, layer.bias])
    if layer.axis != -1:
        raise NotMergeable(f"it normalises along axis {layer.axis}, which is known to be that of "
                      f"channels if it is -1")  # fmt: skip
    mean, var = (np.asarray(v[...], np.float64) for v in (layer.mean, layer.var))
    scale = 1 / np.sqrt(var + layer.epsilon)
    if layer.scale is not None:
        scale = scale * np.asarray(layer.scale[...], np.float64)
    bias = 0 * mean if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    # Bias and mean are rounded each by itself, however much they cancel.
    found = replace(
        pointwise(scale, bias - mean * scale, rank), offset=np.abs(bias) + np.abs(mean * scale)
    )
    return Part(found, numerics=numerics)


def _norm_pad(layer: NormPad, rank: int) -> Part:
    found = _batch_norm(layer, rank)
    # Its border is what it makes of zeros: the zeros are padded first.
    return replace(found, affine=replace(found.affine, pads=((layer.pad, layer.pad),) * rank))


def _average(layer: AvgPool, rank: int) -> Part:
    rank = len(layer.window)
    dilation = _axes(layer.dilation, rank)
    span = tuple(map(dilated_size, layer.window, dilation))
    if layer.ceil:
        raise NotMergeable("its last windows reach beyond the padding")
    pads = _pads(layer.padding, span, layer.strides)
    if not layer.count_include_pad and (isinstance(pads, str) or any(map(any, pads))):
        raise NotMergeable("its averages at the border are of fewer pixels")
    weight = np.full((*layer.window, 1, 1), 1 / np.prod(layer.window))
    return Part(Affine.of(weight, np.zeros(1), layer.strides, pads, dilation=dilation, each=True))


def _dropout(layer: nnx.Dropout, rank: int) -> Part:
    return Part(identity(rank))


def _separable(layer: SeparableConv, rank: int) -> Part:
    return in_turn([layer.depthwise, layer.pointwise], rank)


def _conv_norm(layer: ConvNorm, rank: int) -> Part:
    layers = [layer.conv, layer.norm, layer.activation]
    return in_turn([own for own in layers if own is not None], rank)


def _sequential(layer: nnx.Sequential, rank: int) -> Part:
    return in_turn(list(layer.layers), rank)


def _repvgg(layer: RepVGGBlock | DiverseBranchBlock, rank: int) -> Part:
    found = part_of(layer.branches, rank)
    return found if layer.activation is None else then(found, part_of(layer.activation, rank))


def _parallel(layer: Parallel, rank: int) -> Part:
    if type(layer.join) not in (Add, Concatenate):
        raise NotMergeable(f"its branches are joined by {name_of(layer.join)}, which is not known")
    return side_by_side(_branches(layer.branches, rank), isinstance(layer.join, Add))


def _parallel_conv(layer: ParallelConv, rank: int) -> Part:
    found = side_by_side(_branches(layer.branches, rank), False)
    if layer.activation is None:
        return found
    if not is_elementwise(layer.activation):
        name = name_of(layer.activation)
        raise NotMergeable(f"the function {name} is applied to each branch by itself")
    return then(found, part_of(layer.activation, rank))


def _branches(branches: Sequence, rank: int) -> list[Part]:
    parts = []
    for i, branch in enumerate(branches):
        try:
            parts.append(part_of(branch, rank))
        except NotMergeable as reason:
            raise NotMergeable(f"branch {i}: {reason}") from None
    return parts


def _mixed(layer: MixConv, rank: int) -> Part:
    return _shares([part_of(part, rank) for part in layer.parts])


def _inception_depthwise(layer: InceptionDepthwise, rank: int) -> Part:
    convs = [part_of(own, rank) for own in (layer.square, layer.row, layer.column)]
    kept = layer.widths[0]
    return _shares([Part(identity(rank, kept)), *convs] if kept else convs)


def _shares(parts: list[Part]) -> Part:
    """Parts that see a share of the channels each."""
    numerics = numerics_beside([part.numerics for part in parts])
    return Part(split([part.affine for part in parts]), None, like_of(parts), numerics)


RULES: dict[type, Callable[..., Part]] = {
    nnx.Conv: _conv,
    Conv: _conv,
    nnx.BatchNorm: _batch_norm,
    NormPad: _norm_pad,
    nnx.Dropout: _dropout,
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
