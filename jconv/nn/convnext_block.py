"""The block of ConvNeXt and InceptionNeXt: mix space, normalise, mix channels twice, add."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class MetaNeXtBlock(nnx.Module):
    """`x + scale * narrow(activation(widen(norm(mix(x)))))`: the shape `(n, h, w, c)` stays.

    Args:
      features: channels, in and out.
      mixer: the layer that mixes space.
      norm: the normalisation.
      expansion: by how much the channels are widened between the two 1x1 products.
      layer_scale: what the learned scale of each channel starts with.
      drop: share of images for which nothing is added, while training.
      rngs: draws the initial kernels.

    Reference: Liu et al., "A ConvNet for the 2020s" (2022); Yu et al., "InceptionNeXt" (2023).
    """

    def __init__(
        self,
        features: int,
        mixer: Callable,
        norm: nnx.Module,
        *,
        expansion: int = 4,
        layer_scale: float = 1e-6,
        drop: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.mixer = mixer
        self.norm = norm
        self.widen = nnx.Linear(features, expansion * features, rngs=rngs)
        self.narrow = nnx.Linear(expansion * features, features, rngs=rngs)
        self.scale = nnx.Param(jnp.full(features, layer_scale))
        self.drop = nnx.Dropout(drop, broadcast_dims=(1, 2, 3), rngs=rngs if drop else None)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        y = self.norm(self.mixer(x))
        y = self.narrow(nnx.gelu(self.widen(y), approximate=False))
        return x + self.drop(self.scale * y)
