"""A convolution layer that learns where its taps look."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jconv._core.geometry import resolve_padding_mode
from jconv._core.validation import check_int, per_axis
from jconv.algorithms import Algorithm
from jconv.functional.deform_conv import deform_conv
from jconv.nn.border import apply_padding
from jconv.nn.conv import Conv, axis_sizes
from jconv.selection.plan import Plan


class DeformConv(nnx.Module):
    """Convolves with taps moved by what another convolution sees, by `jconv.deform_conv`:
    `(n, *space, in)` to `(n, *output, out)`.

    That convolution starts with zeros, so at first nothing moves, and with `modulated` every tap
    weighs one half.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the kernel, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs.
      padding: as in `jconv.conv`.
      dilation: pixels between neighbouring taps before they move.
      groups: groups of channels.
      offset_groups: into how many parts the channels are split, each with its own offsets.
      modulated: whether each tap is weighted too, by a sigmoid: version 2.
      padding_mode: what lies beyond the border; see `jconv.conv`.
      use_bias: whether to add a bias to the output.
      algorithm: how the convolution that gives the offsets convolves.
      rngs: draws the initial kernel.

    Raises:
      ValueError: for an argument that no input could go with; when called, as `jconv.deform_conv`.

    References: Dai et al., "Deformable Convolutional Networks" (2017); Zhu et al., "Deformable
    ConvNets v2" (2019).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: Any = "SAME",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        offset_groups: int = 1,
        modulated: bool = True,
        padding_mode: str = "zeros",
        use_bias: bool = True,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        check_int("in_features", in_features, min=1)
        check_int("out_features", out_features, min=1)
        resolve_padding_mode(padding_mode)
        size = axis_sizes("kernel_size", kernel_size)
        self.kernel_size, rank = size, len(size)
        self.strides = per_axis("strides", strides, rank)
        self.dilation = per_axis("dilation", dilation, rank)
        self.padding, self.padding_mode, self.groups = padding, padding_mode, groups
        self.offset_groups = check_int("offset_groups", offset_groups, min=1)
        self.modulated = modulated
        numbers = rank + 1 if modulated else rank  # of each tap
        taps = math.prod(size)
        self.offset = Conv(
            in_features,
            offset_groups * taps * numbers,
            size,
            self.strides,
            padding=padding,
            padding_mode=padding_mode,
            kernel_dilation=self.dilation,
            kernel_init=nnx.initializers.zeros_init(),
            algorithm=algorithm,
            rngs=rngs,
        )
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (*size, in_features // groups, out_features)))
        self.bias = nnx.Param(jnp.zeros(out_features)) if use_bias else None

    def __call__(self, x: Float[Array, "n *space ci"]) -> Float[Array, "n *output co"]:
        rank, moves = len(self.kernel_size), self.offset(x)
        moves = moves.reshape(*moves.shape[:-1], self.offset_groups, *self.kernel_size, -1)
        offset, mask = moves[..., :rank], moves[..., rank:]
        x, padding = apply_padding(
            x, self.padding, self.padding_mode, self.kernel_size, self.strides, self.dilation
        )
        y = deform_conv(
            x,
            self.kernel[...],
            offset,
            nnx.sigmoid(mask[..., 0]) if self.modulated else None,
            stride=self.strides,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            offset_groups=self.offset_groups,
        )
        return y if self.bias is None else y + self.bias[...]
