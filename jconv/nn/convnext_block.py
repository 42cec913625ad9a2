"""The block of ConvNeXt and InceptionNeXt: mix space, normalise, mix channels twice, add."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jaxtyping import Float

from jconv.nn.layer_arguments import AnyArray, flax_names


class MetaNeXtBlock(nnx.Module):
    """`x + scale * narrow(gelu(widen(norm(mixer(x)))))`: `(n, h, w, c)` to the same shape.

    Args:
      in_features: channels of input and output.
      mixer: layer that mixes space.
      norm: normalisation.
      expansion: factor by which the channels are widened between the two 1x1 products.
      layer_scale: initial value of the learned scale of each channel.
      drop_path_rate: share of the images for which nothing is added, while training.
      dtype: dtype of the 1x1 products; None to infer it from inputs and parameters.
      param_dtype: dtype of the parameters.
      precision: precision of the 1x1 products.
      kernel_init: initializer of their kernels.
      bias_init: initializer of their biases.
      rngs: random streams for the initial parameters and for dropping.

    Reference: Liu et al., "A ConvNet for the 2020s" (2022); Yu et al., "InceptionNeXt" (2023).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        mixer: Callable,
        norm: nnx.Module,
        *,
        expansion: int = 4,
        layer_scale: float = 1e-6,
        drop_path_rate: float = 0.0,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        options: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            rngs=rngs,
        )
        self.mixer = mixer
        self.norm = norm
        self.widen = nnx.Linear(in_features, expansion * in_features, **options)
        self.narrow = nnx.Linear(expansion * in_features, in_features, **options)
        self.scale = nnx.Param(jnp.full(in_features, layer_scale, param_dtype))
        self.drop = nnx.Dropout(
            drop_path_rate, broadcast_dims=(1, 2, 3), rngs=rngs if drop_path_rate else None
        )

    def __call__(self, x: Float[AnyArray, "n h w c"]) -> Float[AnyArray, "n h w c"]:
        """Return the output of the block for `x`."""
        y = self.norm(self.mixer(x))
        y = self.narrow(nnx.gelu(self.widen(y), approximate=False))
        return x + self.drop(self.scale * y)
