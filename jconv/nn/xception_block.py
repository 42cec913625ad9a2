"""The block of Xception: separable convolutions, and a shortcut around them."""

from collections.abc import Sequence

from flax import nnx
from jaxtyping import Array, Num

from jconv.nn.conv import SeparableConv
from jconv.nn.conv_norm import ConvNorm
from jconv.nn.pool import MaxPool
from jconv.nn.sequential import Sequential


class XceptionBlock(nnx.Module):
    """`(n, h, w, in)` to `(n, h / strides, w / strides, widths[-1])`.

    Args:
      in_features: input channels.
      widths: output channels of each 3x3 separable convolution.
      strides: of the pooling after them, and of the 1x1 shortcut, which is none where nothing
        changes.
      leading_activation: whether the first convolution sees the input through ReLU.
      padding: of the pooling, `"SAME"` as in TensorFlow, or one pixel on every side.
      epsilon: added to variances.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017),
    figure 5.
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        strides: int = 1,
        *,
        leading_activation: bool = True,
        padding="SAME",
        epsilon: float = 1e-3,
        algorithm="auto",
        rngs: nnx.Rngs,
    ):
        ins = (in_features, *widths)
        separable = lambda a, b: SeparableConv(
            a, b, (3, 3), use_bias=False, algorithm=algorithm, rngs=rngs
        )
        norm = lambda n: nnx.BatchNorm(n, epsilon=epsilon, momentum=0.9, rngs=rngs)
        self.convs = nnx.List(
            Sequential([separable(a, b), norm(b)]) for a, b in zip(ins, widths, strict=False)
        )
        self.leading_activation = leading_activation
        self.pool = MaxPool((3, 3), strides, padding) if strides > 1 else None
        self.shortcut = (
            ConvNorm(
                in_features,
                widths[-1],
                1,
                strides,
                activation=None,
                epsilon=epsilon,
                algorithm=algorithm,
                rngs=rngs,
            )
            if strides > 1 or in_features != widths[-1]
            else None
        )

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = x
        for i, conv in enumerate(self.convs):
            if i or self.leading_activation:
                y = nnx.relu(y)
            y = conv(y)
        if self.pool is not None:
            y = self.pool(y)
        return y + (x if self.shortcut is None else self.shortcut(x))
