"""The depthwise convolution layer: a set of kernels for every channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init

from jconv._core.validation import check_int
from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv
from jconv.nn.layer_arguments import flax_names
from jconv.selection.plan import Plan


class DepthwiseConv(Conv):
    """Convolution of each channel separately: `(*batch, *space, c)` to `c * multiplier` channels.

    Args:
      in_features: channels of the input.
      kernel_size: size of the kernels in pixels along each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs; None is 1.
      multiplier: number of kernels for each channel.
      padding: as in `Conv`, like all arguments that follow.
      input_dilation: pixels between neighbouring inputs.
      kernel_dilation: pixels between neighbouring taps.
      use_bias: whether to add a bias to the output.
      mask: array of the kernel's shape that is multiplied with it.
      dtype: dtype of the computation.
      param_dtype: dtype of kernel and bias.
      precision: precision of the products.
      kernel_init: initializer of the kernel, `(*kernel_size, 1, c * multiplier)`.
      bias_init: initializer of the bias.
      promote_dtype: function that promotes `(inputs, kernel, bias)` to a `dtype`.
      preferred_element_type: dtype of the convolution's result.
      padding_mode: values beyond the border.
      flip: whether to reverse the kernel along every spatial axis.
      layout: layout of input and output.
      algorithm: algorithm of the convolution.
      tolerance: largest error bound that `algorithm="auto"` accepts.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of the kernel's variable.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: as `Conv`.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        multiplier: int = 1,
        padding: Any = "SAME",
        input_dilation: int | Sequence[int] | None = 1,
        kernel_dilation: int | Sequence[int] | None = 1,
        use_bias: bool = True,
        mask: Any = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        promote_dtype: Any = default_promote_dtype,
        preferred_element_type: Any = None,
        padding_mode: str = "zeros",
        flip: bool = False,
        layout: str | None = None,
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        in_features = check_int("in_features", in_features, min=1)
        multiplier = check_int("multiplier", multiplier, min=1)
        super().__init__(
            in_features,
            in_features * multiplier,
            kernel_size,
            strides,
            padding=padding,
            input_dilation=input_dilation,
            kernel_dilation=kernel_dilation,
            feature_group_count=in_features,
            use_bias=use_bias,
            mask=mask,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            padding_mode=padding_mode,
            flip=flip,
            layout=layout,
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )
