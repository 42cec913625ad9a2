"""Conversion of single layers to affine maps: convolution, batch norm, average pooling, dropout.

Every function takes a layer in evaluation mode and a number of spatial axes, which is used if the
layer works for any number of them. It raises `NotMergeable` for options that have no affine form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from flax import nnx
from jax import lax

from jconv._core.geometry import Pads, dilated_size, resolve_padding
from jconv.nn import AvgPool, NormPad
from jconv.nn.conv import FLAX_BORDERS, ConvGeneralDilated
from jconv.nn.layer_arguments import is_channels_first
from jconv.structure.affine import Affine, NotMergeable, identity, scale_and_shift
from jconv.structure.affine_layer import AffineLayer, name_of
from jconv.structure.dtypes import LayerDtypes
from jconv.structure.parallel import named_lows


def conv(layer: nnx.Conv, rank: int) -> AffineLayer:
    """Return a convolution as an affine layer."""
    rank = len(layer.kernel_size)
    dtypes = LayerDtypes.from_layer(layer, [layer.kernel, layer.bias])
    call = layer.conv_general_dilated
    if call is not lax.conv_general_dilated and not isinstance(call, ConvGeneralDilated):
        raise NotMergeable(
            f"its `conv_general_dilated` is {name_of(call)}, which is neither lax's nor jconv's"
        )
    if np.iscomplexobj(layer.kernel[...]):
        raise NotMergeable("its kernel is complex")
    if set(_per_axis(layer.input_dilation, rank)) != {1}:
        raise NotMergeable("its input is dilated")
    _check_channels_last(layer, rank)
    kernel = np.asarray(layer.kernel[...], np.float64)
    if layer.mask is not None:
        kernel = kernel * np.asarray(layer.mask)
    if getattr(call, "flip", False):
        kernel = np.flip(kernel, tuple(range(rank)))
    bias = np.zeros(layer.out_features) if layer.bias is None else layer.bias[...]
    stride = _per_axis(layer.strides, rank)
    dilation = _per_axis(layer.kernel_dilation, rank)
    span = tuple(map(dilated_size, layer.kernel_size, dilation))
    mode = getattr(call, "padding_mode", "zeros")
    if isinstance(layer.padding, str) and layer.padding in FLAX_BORDERS:
        # Flax pads these borders before it convolves, by the same number of pixels at any stride.
        padding, mode = tuple(((n - 1) // 2, n // 2) for n in span), layer.padding.lower()
    else:
        padding = _resolve_padding(layer.padding, span, stride)
        # Flax pads zeros for a causal convolution, whatever the padding mode.
        mode = "zeros" if layer.padding == "CAUSAL" else mode
    affine = Affine.from_arrays(
        kernel,
        bias,
        stride,
        padding,
        groups=layer.feature_group_count,
        dilation=dilation,
        padding_mode=mode,
    )
    return AffineLayer(affine, None, layer, dtypes)


def _check_channels_last(layer: nnx.Module, rank: int) -> None:
    """Check that the channels of a layer are last, as those of an affine map are."""
    if is_channels_first(getattr(layer, "layout", None), rank):
        raise NotMergeable("its channels come first")


def _resolve_padding(padding, span: Sequence[int], stride: Sequence[int]) -> Pads | str:
    """Return the pixels before and after each axis, or a name if they depend on the input size."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER"):
        name = padding.upper()
        lows = [set(named_lows(name, n, step)) for n, step in zip(span, stride, strict=True)]
        if any(len(low) > 1 for low in lows):
            return name
        return tuple((low, n - 1 - low) for (low,), n in zip(lows, span, strict=True))
    return resolve_padding(padding, tuple(span), tuple(span), tuple(stride))


def _per_axis(value, rank: int) -> tuple[int, ...]:
    value = 1 if value is None else value
    return (value,) * rank if isinstance(value, int) else tuple(value)


def batch_norm(layer: nnx.BatchNorm, rank: int) -> AffineLayer:
    """Return a batch norm with its running statistics as an affine layer."""
    dtypes = LayerDtypes.from_layer(layer, [layer.mean, layer.var, layer.scale, layer.bias])
    if layer.axis != -1:
        raise NotMergeable(f"it normalizes along axis {layer.axis}, which must be -1")
    mean, var = (np.asarray(v[...], np.float64) for v in (layer.mean, layer.var))
    scale = 1 / np.sqrt(var + layer.epsilon)
    if layer.scale is not None:
        scale = scale * np.asarray(layer.scale[...], np.float64)
    bias = 0 * mean if layer.bias is None else np.asarray(layer.bias[...], np.float64)
    affine = replace(
        scale_and_shift(scale, bias - mean * scale, rank),
        # The layer rounds the bias and the mean separately, even where they cancel.
        bias_magnitude=np.abs(bias) + np.abs(mean * scale),
    )
    return AffineLayer(affine, dtypes=dtypes)


def norm_pad(layer: NormPad, rank: int) -> AffineLayer:
    """Return a batch norm with padding as an affine layer."""
    norm = batch_norm(layer, rank)
    # The layer pads its output with the normalized value of zero, as if it padded its input.
    return replace(norm, affine=replace(norm.affine, padding=((layer.pad, layer.pad),) * rank))


def avg_pool(layer: AvgPool, rank: int) -> AffineLayer:
    """Return an average pooling as an affine layer."""
    rank = len(layer.window_shape)
    dilation = _per_axis(layer.window_dilation, rank)
    span = tuple(map(dilated_size, layer.window_shape, dilation))
    if layer.ceil_mode:
        raise NotMergeable("its last windows reach beyond the padding")
    _check_channels_last(layer, rank)
    padding = _resolve_padding(layer.padding, span, layer.strides)
    if not layer.count_include_pad and (isinstance(padding, str) or any(map(any, padding))):
        raise NotMergeable("its averages at the border are over fewer pixels")
    kernel = np.full((*layer.window_shape, 1, 1), 1 / np.prod(layer.window_shape))
    affine = Affine.from_arrays(
        kernel, np.zeros(1), layer.strides, padding, dilation=dilation, per_channel=True
    )
    return AffineLayer(affine)


def dropout(layer: nnx.Dropout, rank: int) -> AffineLayer:
    """Return a dropout, which is the identity in evaluation mode, as an affine layer."""
    return AffineLayer(identity(rank))
