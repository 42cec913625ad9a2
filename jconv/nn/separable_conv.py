"""The separable convolution layer: a depthwise convolution, then a 1x1 convolution."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jaxtyping import Num

from jconv._core.validation import check_int
from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv
from jconv.nn.depthwise_conv import DepthwiseConv
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.selection.plan import Plan


class SeparableConv(nnx.Module):
    """Depthwise convolution, then a 1x1 convolution that mixes the channels of each pixel.

    With a multiplier of 1 the layer has `1/out + 1/k^2` of the kernel weights and of the
    multiply-adds of a dense `k x k` convolution. It has one bias, after the mixing.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of the depthwise kernels in pixels along each spatial axis; an int is one
        axis.
      strides: pixels between neighbouring outputs of the depthwise convolution.
      multiplier: number of depthwise kernels for each channel.
      padding: padding of the depthwise convolution; see `Conv`, also for what follows.
      input_dilation: pixels between neighbouring inputs of the depthwise convolution.
      kernel_dilation: pixels between neighbouring taps of the depthwise kernels.
      use_bias: whether to add a bias to the output.
      mask: array of the depthwise kernel's shape that is multiplied with it.
      dtype: dtype of the computation.
      param_dtype: dtype of kernels and bias.
      precision: precision of the products of both convolutions.
      kernel_init: initializer of both kernels.
      bias_init: initializer of the bias.
      promote_dtype: function that promotes `(inputs, kernel, bias)` to a `dtype`.
      preferred_element_type: dtype of the result of both convolutions.
      padding_mode: values beyond the border.
      flip: whether to reverse the depthwise kernels along every spatial axis.
      layout: layout of input and output.
      algorithm: algorithm of both convolutions.
      tolerance: largest error bound that `algorithm="auto"` accepts, of each convolution.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of both kernels' variables.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: as `Conv`.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
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
        check_int("out_features", out_features, min=1)
        shared: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            layout=layout,
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
        )
        self.depthwise = DepthwiseConv(
            in_features,
            kernel_size,
            strides,
            multiplier=multiplier,
            padding=padding,
            input_dilation=input_dilation,
            kernel_dilation=kernel_dilation,
            use_bias=False,
            mask=mask,
            padding_mode=padding_mode,
            flip=flip,
            **shared,
        )
        self.pointwise = Conv(
            self.depthwise.out_features,
            out_features,
            (1,) * len(self.depthwise.kernel_size),
            use_bias=use_bias,
            bias_init=bias_init,
            bias_metadata=bias_metadata,
            **shared,
        )

    def __call__(self, x: Num[AnyArray, "..."]) -> Num[AnyArray, "..."]:
        """Return the separable convolution of `x`."""
        return self.pointwise(self.depthwise(x))
