"""The block of MobileNetV2 and EfficientNet: widen, convolve each channel, narrow, add."""

from flax import nnx
from jaxtyping import Array, Num

from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.squeeze_excite import SqueezeExcite


class InvertedResidual(nnx.Module):
    """`(n, h, w, in)` to `(n, h / strides, w / strides, out)`; the input is added where it fits.

    Args:
      in_features: input channels.
      out_features: output channels.
      expansion: by how much the channels are widened; at 1 they are not.
      kernel_size: of the depthwise convolution.
      strides: of the depthwise convolution.
      squeezed: channels of a `SqueezeExcite` after it; None for none.
      activation: after the first two convolutions; there is none after the third.
      rngs: draws the initial kernels.
      **options: as in `ConvNorm`, of all three; `algorithm` is that of the `SqueezeExcite` too.

    Reference: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        expansion: int = 6,
        kernel_size: int = 3,
        strides: int = 1,
        squeezed: int | None = None,
        activation: Activation = nnx.relu6,
        rngs: nnx.Rngs,
        **options,
    ):
        options |= {"rngs": rngs}
        width = in_features * expansion
        self.expand = (
            ConvNorm(in_features, width, 1, activation=activation, **options)
            if expansion != 1
            else None
        )
        self.depthwise = ConvNorm(
            width, width, kernel_size, strides, groups=width, activation=activation, **options
        )
        algorithm = options.get("algorithm", "auto")
        self.squeeze_excite = (
            SqueezeExcite(width, squeezed, algorithm=algorithm, rngs=rngs)
            if squeezed is not None
            else None
        )
        self.project = ConvNorm(width, out_features, 1, activation=None, **options)
        self.is_residual = strides == 1 and in_features == out_features

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project(y)
        return x + y if self.is_residual else y
