"""The block of Xception: separable convolutions, and a shortcut around them."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.conv_norm import ConvNorm
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.nn.pool import MaxPool
from jconv.nn.separable_conv import SeparableConv
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class XceptionBlock(nnx.Module):
    """Separable convolutions with a shortcut.

    An input `(n, h, w, in)` becomes `(n, h / strides, w / strides, widths[-1])`.

    Args:
      in_features: channels of the input.
      widths: output channels of each 3x3 separable convolution.
      strides: strides of the pooling after the convolutions, and of the 1x1 shortcut. The shortcut
        is the identity where strides are 1 and the channels stay the same.
      leading_activation: whether ReLU is applied before the first convolution.
      padding: padding of the pooling; `"SAME"` as in TensorFlow, or one pixel on every side.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions; see `jconv.ALGORITHMS`.
      rngs: random streams for the initial parameters.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017),
    figure 5.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        strides: int = 1,
        *,
        leading_activation: bool = True,
        padding: Any = "SAME",
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        convolution: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        norm: dict[str, Any] = dict(epsilon=epsilon, momentum=momentum)
        ins = (in_features, *widths)
        self.convs = nnx.List(
            Sequential(
                [
                    SeparableConv(a, b, (3, 3), use_bias=False, **convolution),
                    nnx.BatchNorm(b, dtype=dtype, param_dtype=param_dtype, rngs=rngs, **norm),
                ]
            )
            for a, b in zip(ins, widths, strict=False)
        )
        self.leading_activation = leading_activation
        self.pool = MaxPool((3, 3), strides, padding) if strides > 1 else None
        self.shortcut = (
            ConvNorm(in_features, widths[-1], 1, strides, activation=None, **norm, **convolution)
            if strides > 1 or in_features != widths[-1]
            else None
        )

    def __call__(self, x: Num[AnyArray, "n h w ci"]) -> Num[AnyArray, "n ho wo co"]:
        """Return the output of the block for `x`."""
        y = x
        for i, conv in enumerate(self.convs):
            if i or self.leading_activation:
                y = nnx.relu(y)
            y = conv(y)
        if self.pool is not None:
            y = self.pool(y)
        return y + (x if self.shortcut is None else self.shortcut(x))
