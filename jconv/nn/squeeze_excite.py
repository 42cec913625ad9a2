"""Squeeze and excitation: each channel scaled by what all of them see in the whole image."""

from flax import nnx
from jaxtyping import Array, Num

from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation


class SqueezeExcite(nnx.Module):
    """Scales channels by a function of their averages over space: the shape stays.

    Args:
      features: channels, in and out.
      reduced: channels between the two 1x1 convolutions; a sixteenth of `features` if None.
      activation: applied between them.
      gate: makes the scale, between 0 and 1, from what comes out.
      **options: as in `Conv`, of both.

    Reference: Hu, Shen & Sun, "Squeeze-and-Excitation Networks" (2018).
    """

    def __init__(
        self,
        features: int,
        reduced: int | None = None,
        *,
        activation: Activation = nnx.relu,
        gate: Activation = nnx.sigmoid,
        **options,
    ):
        reduced = max(1, features // 16) if reduced is None else reduced
        self.reduce = Conv(features, reduced, (1, 1), **options)
        self.expand = Conv(reduced, features, (1, 1), **options)
        self.activation, self.gate = activation, gate

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n h w c"]:
        average = x.mean((1, 2), keepdims=True)
        return x * self.gate(self.expand(self.activation(self.reduce(average))))
