"""A convolution layer whose every output position has a kernel of its own."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv._core.geometry import Window, dilated_size, resolve_padding, resolve_padding_mode
from jconv._core.validation import check_int, per_axis
from jconv.functional.conv import output_shape
from jconv.functional.conv_local import conv_local
from jconv.nn.border import apply_padding
from jconv.nn.conv import axis_sizes

ALGORITHMS = ("auto", "direct")


class LocalConv(nnx.Module):
    """Convolves without sharing, by `jconv.conv_local`: `(n, *input_size, in)` to
    `(n, *output, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of each kernel, one for each spatial axis; an int is one axis.
      input_size: pixels of the input, one for each spatial axis.
      strides: pixels between neighbouring outputs.
      padding: as in `jconv.conv_local`.
      dilation: pixels between neighbouring taps.
      groups: groups of channels.
      padding_mode: what lies beyond the border; see `jconv.conv`.
      use_bias: whether to add a bias, one for each position and channel.
      algorithm: `"auto"` or `"direct"`, which are the same: no other one computes kernels that are
        not shared.
      param_dtype: dtype of kernels and bias.
      rngs: draws the initial kernels.

    Raises:
      ValueError: for an argument that no input could go with; when called, as `jconv.conv_local`.

    Reference: Taigman et al., "DeepFace" (2014), section 3.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        input_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: Any = "VALID",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        use_bias: bool = True,
        algorithm: str = "auto",
        param_dtype=jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_int("in_features", in_features, min=1)
        check_int("out_features", out_features, min=1)
        resolve_padding_mode(padding_mode)
        if algorithm not in ALGORITHMS:
            raise ValueError(
                f"`algorithm` must be one of {list(ALGORITHMS)}: kernels are not shared. "
                f"Received: algorithm={algorithm!r}. Leave it out."
            )
        size = axis_sizes("kernel_size", kernel_size)
        self.kernel_size, rank = size, len(size)
        self.input_size = per_axis("input_size", input_size, rank)
        self.strides = per_axis("strides", strides, rank)
        self.dilation = per_axis("dilation", dilation, rank)
        self.padding, self.padding_mode, self.groups = padding, padding_mode, groups
        output = output_shape(
            (1, *self.input_size, in_features),
            (*size, in_features // groups, out_features),
            stride=self.strides,
            padding=padding,
            dilation=self.dilation,
            groups=groups,
        )[1:-1]
        init = nnx.initializers.lecun_normal(batch_axis=tuple(range(rank)))
        shape = (*output, *size, in_features // groups, out_features)
        self.kernel = nnx.Param(init(rngs.params(), shape, param_dtype))
        self.bias = nnx.Param(jnp.zeros((*output, out_features), param_dtype)) if use_bias else None

    @property
    def geometry(self) -> Window:
        """How the kernels slide: for `jconv.analysis`, as a gather of pixels does not tell."""
        span = tuple(map(dilated_size, self.kernel_size, self.dilation))
        return Window(
            input=self.input_size,
            taps=self.kernel_size,
            stride=self.strides,
            padding=resolve_padding(self.padding, self.input_size, span, self.strides),
            dilation=self.dilation,
            input_dilation=(1,) * len(self.kernel_size),
        )

    def __call__(self, x: Num[Array, "n *space ci"]) -> Num[Array, "n *output co"]:
        if x.shape[1:-1] != self.input_size:
            raise ValueError(
                f"`x` must have {self.input_size} pixels, as `input_size` says: there is a kernel "
                f"for each. Received: x.shape={x.shape}."
            )
        x, padding = apply_padding(
            x, self.padding, self.padding_mode, self.kernel_size, self.strides, self.dilation
        )
        y = conv_local(
            x,
            self.kernel[...],
            stride=self.strides,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
        )
        return y if self.bias is None else y + self.bias[...]
