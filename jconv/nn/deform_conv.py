"""A convolution layer that learns the positions of its taps."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jaxtyping import Float

from jconv._core.geometry import resolve_padding_mode
from jconv._core.validation import as_array, check_int, hashable
from jconv.algorithms import Algorithm
from jconv.functional.deform_conv import deform_conv
from jconv.nn.border import apply_padding
from jconv.nn.conv import Conv
from jconv.nn.layer_arguments import (
    AnyArray,
    axis_sizes,
    check_features,
    check_parameters,
    errors_in_flax_names,
    flax_names,
    is_channels_first,
    over_batch_axes,
    per_axis_or_one,
)
from jconv.selection.plan import Plan


class DeformConv(nnx.Module):
    """Convolution whose taps are moved by another convolution, by `jconv.deform_conv`.

    An input `(*batch, *space, in)` becomes `(*batch, *output, out)`. The other convolution, which
    computes the offsets, is initialized with zeros, so at first no tap moves, and with `modulated`
    every tap is weighted by one half.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of the kernel in pixels along each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs; None is 1.
      padding: as in `jconv.conv`.
      kernel_dilation: pixels between neighbouring taps before they move; None is 1.
      feature_group_count: number of groups into which the channels are split.
      offset_groups: number of parts of the channels that have separate offsets.
      modulated: whether each tap is also weighted, by a sigmoid, as in version 2.
      use_bias: whether to add a bias to the output.
      dtype: dtype of the computation; None to infer it from inputs and parameters.
      param_dtype: dtype of the parameters.
      precision: as in `jconv.deform_conv`, of both convolutions.
      preferred_element_type: dtype of the result, before the bias is added.
      kernel_init: initializer of the kernel, `(*kernel_size, in / groups, out)`.
      bias_init: initializer of the bias.
      padding_mode: values beyond the border; see `jconv.conv`.
      layout: None for channels last, or a name such as `"NCHW"`, of input and output.
      algorithm: algorithm of the convolution that computes the offsets.
      tolerance: as in `jconv.conv`, of the convolution that computes the offsets.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of the kernel's variable.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: for arguments that fit no input; when called, as `jconv.deform_conv`.

    References: Dai et al., "Deformable Convolutional Networks" (2017); Zhu et al., "Deformable
    ConvNets v2" (2019).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        offset_groups: int = 1,
        modulated: bool = True,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        preferred_element_type: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        padding_mode: str = "zeros",
        layout: str | None = None,
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.in_features, self.out_features, groups = check_features(
            in_features, out_features, feature_group_count
        )
        self.kernel_size = axis_sizes("kernel_size", kernel_size)
        rank = len(self.kernel_size)
        check_parameters(
            rngs,
            use_bias=use_bias,
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            dtype=dtype,
            precision=precision,
            preferred_element_type=preferred_element_type,
        )
        is_channels_first(layout, rank)
        self.strides = per_axis_or_one("strides", strides, rank)
        self.kernel_dilation = per_axis_or_one("kernel_dilation", kernel_dilation, rank)
        self.padding, self.padding_mode = hashable(padding), resolve_padding_mode(padding_mode)
        self.feature_group_count, self.layout, self.dtype = groups, layout, dtype
        self.precision, self.preferred_element_type = precision, preferred_element_type
        self.offset_groups = check_int("offset_groups", offset_groups, min=1)
        self.modulated = modulated
        numbers_per_tap = rank + 1 if modulated else rank
        self.offset = Conv(
            in_features,
            offset_groups * math.prod(self.kernel_size) * numbers_per_tap,
            self.kernel_size,
            self.strides,
            padding=padding,
            padding_mode=padding_mode,
            kernel_dilation=self.kernel_dilation,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=nnx.initializers.zeros_init(),
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
        )
        shape = (*self.kernel_size, in_features // groups, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, param_dtype), **kernel_metadata)
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype), **bias_metadata)
            if use_bias
            else None
        )

    def __call__(self, x: Any) -> Float[AnyArray, "..."]:
        """Return the convolution of `x` with moved taps."""
        x = as_array("x", x)
        rank = len(self.kernel_size)
        return over_batch_axes("x", self._convolve, x, rank, self.in_features, self.layout)

    def _convolve(self, x):
        """Return the output of the layer for an input `(n, *space, in)`."""
        rank, moves = len(self.kernel_size), self.offset(x)
        moves = moves.reshape(*moves.shape[:-1], self.offset_groups, *self.kernel_size, -1)
        offset, mask = moves[..., :rank], moves[..., rank:]
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = promote_dtype((x, self.kernel[...], bias), dtype=self.dtype)
        x, padding = apply_padding(
            x, self.padding, self.padding_mode, self.kernel_size, self.strides, self.kernel_dilation
        )
        with errors_in_flax_names():
            y = deform_conv(
                x,
                kernel,
                offset,
                nnx.sigmoid(mask[..., 0]) if self.modulated else None,
                stride=self.strides,
                padding=padding,
                dilation=self.kernel_dilation,
                groups=self.feature_group_count,
                offset_groups=self.offset_groups,
                precision=self.precision,
                preferred_element_type=self.preferred_element_type,
            )
        return y if bias is None else y + bias
