"""Local response normalisation: each channel divided by the energy of its neighbours."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float

from jconv._core.validation import check_int
from jconv.nn.layer_arguments import AnyArray


class LocalResponseNorm(nnx.Module):
    """Division by `(k + alpha * mean of squares over neighbouring channels) ** beta`.

    Args:
      size: number of channels in the neighbourhood, centred on the channel itself. Beyond the first
        and the last channel there are zeros, which count in the mean.
      alpha: weight of the squares.
      beta: exponent.
      k: number added to the squares.

    Reference: Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional
    Neural Networks" (2012), section 3.3; with a mean in place of the sum, as in Caffe and PyTorch.
    """

    def __init__(self, size: int = 5, *, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        self.size = check_int("size", size, min=1)
        self.alpha, self.beta, self.k = alpha, beta, k

    def __call__(self, x: Float[AnyArray, "*n c"]) -> Float[AnyArray, "*n c"]:
        """Return `x` divided by the energy of its neighbouring channels."""
        channels, before = x.shape[-1], self.size // 2
        pads = [(0, 0)] * (x.ndim - 1) + [(before, self.size - 1 - before)]
        squares = jnp.pad(jnp.square(x), pads)
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x / (self.k + self.alpha / self.size * total) ** self.beta
