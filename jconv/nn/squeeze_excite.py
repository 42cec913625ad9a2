"""Squeeze and excitation: each channel scaled by a function of all channels' averages."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.selection.plan import Plan


class SqueezeExcite(nnx.Module):
    """Scale of each channel computed from the channels' averages: `(n, h, w, c)` to the same shape.

    Args:
      in_features: channels of input and output.
      se_features: channels between the two 1x1 convolutions; a sixteenth of `in_features` if None.
      activation: activation between them.
      gate: function that maps the second convolution's output to scales between 0 and 1.
      use_bias: whether the convolutions have biases.
      dtype: dtype of the computation; see `Conv`, also for what follows.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      bias_init: initializer of the biases.
      algorithm: algorithm of the convolutions.
      rngs: random streams for the initial parameters.

    Reference: Hu, Shen & Sun, "Squeeze-and-Excitation Networks" (2018).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        se_features: int | None = None,
        *,
        activation: Activation = nnx.relu,
        gate: Activation = nnx.sigmoid,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        se_features = max(1, in_features // 16) if se_features is None else se_features
        options: dict[str, Any] = dict(
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        self.reduce = Conv(in_features, se_features, (1, 1), **options)
        self.expand = Conv(se_features, in_features, (1, 1), **options)
        self.activation, self.gate = activation, gate

    def __call__(self, x: Num[AnyArray, "n h w c"]) -> Num[AnyArray, "n h w c"]:
        """Return `x` with scaled channels."""
        average = x.mean((1, 2), keepdims=True)
        return x * self.gate(self.expand(self.activation(self.reduce(average))))
