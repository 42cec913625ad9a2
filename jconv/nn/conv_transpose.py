"""The transposed convolution as a layer."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv._core.geometry import resolve_padding_mode
from jconv._core.validation import check_int, per_axis, rename_arguments
from jconv.algorithms import Algorithm
from jconv.functional.conv_transpose import conv_transpose
from jconv.nn.conv import axis_sizes
from jconv.selection.plan import Plan

NAMES = {"x": "inputs", "stride": "strides"}


class ConvTranspose(nnx.Module):
    """Spreads each pixel over the output, by `jconv.conv_transpose`: `(n, *space, in)` to
    `(n, *space * strides, out)`.

    The kernel is that of the convolution whose adjoint this is, `(*kernel_size, out / groups, in)`,
    as in Keras. (Flax's `ConvTranspose` has the same with `transpose_kernel=True`, and pads by
    another rule: see `jconv.conv_transpose`.)

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the kernel, one for each spatial axis; an int is one axis.
      strides: pixels of the output between neighbouring inputs.
      padding: as in `jconv.conv_transpose`.
      output_padding: pixels added after the output.
      dilation: pixels between neighbouring taps.
      groups: groups of channels.
      padding_mode: as in `jconv.conv_transpose`.
      use_bias: whether to add a bias to the output.
      algorithm: how to convolve; see `jconv.ALGORITHMS` and `jconv.Plan`.
      kernel_init: draws the kernel, by default with the variance of one over the inputs of an
        output.
      bias_init: draws the bias.
      param_dtype: dtype of kernel and bias.
      precision: as in `jconv.conv_transpose`.
      rngs: draws the initial kernel.

    Raises:
      ValueError: for an argument that no input could go with; when called, as
        `jconv.conv_transpose`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding: Any = "SAME",
        output_padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        use_bias: bool = True,
        algorithm: str | Algorithm | Plan = "auto",
        kernel_init: nnx.Initializer | None = None,
        bias_init: nnx.Initializer = nnx.initializers.zeros,
        param_dtype=jnp.float32,
        precision=None,
        rngs: nnx.Rngs,
    ):
        self.in_features = check_int("in_features", in_features, min=1)
        self.out_features = check_int("out_features", out_features, min=1)
        self.kernel_size = axis_sizes("kernel_size", kernel_size)
        groups = check_int("groups", groups, min=1)
        for name, channels in (("in_features", in_features), ("out_features", out_features)):
            if channels % groups:
                raise ValueError(
                    f"`groups` must divide `{name}`. Received: groups={groups} with "
                    f"{name}={channels}. Change one of them."
                )
        resolve_padding_mode(padding_mode)
        rank = len(self.kernel_size)
        self.options = nnx.static(
            dict(
                stride=per_axis("strides", strides, rank),
                padding=padding,
                output_padding=output_padding,
                dilation=per_axis("dilation", dilation, rank),
                groups=groups,
                padding_mode=padding_mode,
                algorithm=algorithm,
                precision=precision,
            )
        )
        init = kernel_init or nnx.initializers.lecun_normal(in_axis=-1, out_axis=-2)
        shape = (*self.kernel_size, out_features // groups, in_features)
        self.kernel = nnx.Param(init(rngs.params(), shape, param_dtype))
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype)) if use_bias else None
        )

    def __call__(self, inputs: Num[Array, "..."]) -> Num[Array, "..."]:
        try:
            y = conv_transpose(inputs, self.kernel[...], **self.options)
        except ValueError as error:
            error.args = (rename_arguments(error, NAMES),)
            raise
        return y if self.bias is None else y + self.bias[...]
