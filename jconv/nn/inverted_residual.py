"""The block of MobileNetV2 and EfficientNet: widen, convolve each channel, narrow, add."""

import functools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv._core.validation import per_axis
from jconv.algorithms import Algorithm
from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.nn.squeeze_excite import SqueezeExcite
from jconv.selection.plan import Plan


class InvertedResidual(nnx.Module):
    """Inverted residual block: `(n, h, w, in)` to `(n, h / strides, w / strides, out)`.

    The input is added to the output where the shapes are equal and strides are 1.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      expansion: factor by which the channels are widened; with 1 there is no first convolution.
      kernel_size: size of the depthwise convolution's kernel; an int is a square.
      strides: strides of the depthwise convolution.
      padding: padding of the depthwise convolution; see `ConvNorm`, also for what follows.
      se_features: channels inside of a `SqueezeExcite` after the depthwise convolution; None for
        no `SqueezeExcite`.
      norm: whether convolutions are followed by batch normalisation.
      activation: activation after the first two convolutions; there is none after the third.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions.
      rngs: random streams for the initial parameters.

    Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        expansion: int = 6,
        kernel_size: int | Sequence[int] = 3,
        strides: int | Sequence[int] = 1,
        padding: Any = "SAME",
        se_features: int | None = None,
        norm: bool = True,
        activation: Activation = nnx.relu6,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        unit = functools.partial(ConvNorm, norm=norm, epsilon=epsilon, momentum=momentum, **shared)
        width = in_features * expansion
        self.expand = unit(in_features, width, 1, activation=activation) if expansion != 1 else None
        self.depthwise = unit(
            width,
            width,
            kernel_size,
            strides,
            padding=padding,
            feature_group_count=width,
            activation=activation,
        )
        self.squeeze_excite = (
            SqueezeExcite(width, se_features, **shared) if se_features is not None else None
        )
        self.project = unit(width, out_features, 1, activation=None)
        unit_strides = set(per_axis("strides", strides, 2)) == {1}
        self.is_residual = unit_strides and in_features == out_features

    def __call__(self, x: Num[AnyArray, "n h w ci"]) -> Num[AnyArray, "n ho wo co"]:
        """Return the output of the block for `x`."""
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project(y)
        return x + y if self.is_residual else y
