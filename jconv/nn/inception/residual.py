"""Inception modules whose output is added to their input.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figures 16 to 20 and 7, with the widths of the authors' own network.
"""

from collections.abc import Sequence
from typing import Any

from flax import nnx
from jaxtyping import Array, Num

from jconv.nn.branches import Parallel
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, chain
from jconv.nn.inception.v3 import pool_branch
from jconv.nn.pool import MaxPool


class _Residual(nnx.Module):
    """`activation(x + scale * mix(branches(x)))`: each branch a chain of `(width, size)`."""

    def __init__(
        self,
        in_features: int,
        *branches: Sequence[tuple],
        scale: float,
        activation: Activation | None = nnx.relu,
        **options,
    ):
        self.branches = Parallel([chain(in_features, *steps, **options) for steps in branches])
        width = sum(steps[-1][0] for steps in branches)
        both: dict[str, Any] = {
            name: options[name] for name in ("algorithm", "rngs") if name in options
        }
        self.mix = Conv(width, in_features, (1, 1), **both)
        self.scale = scale
        self.activation = activation

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n h w c"]:
        y = x + self.scale * self.mix(self.branches(x))
        return y if self.activation is None else self.activation(y)


class InceptionResNetStem(Parallel):
    """The module before the residual ones: `(n, h, w, 192)` to `(n, h, w, 320)`.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        super().__init__(
            [
                chain(192, (96, 1), **options),
                chain(192, (48, 1), (64, 5), **options),
                chain(192, (64, 1), (96, 3), (96, 3), **options),
                pool_branch(192, 64, False, options),
            ]
        )


class InceptionResNetA(_Residual):
    """Adds 1x1, 3x3 and two 3x3: `(n, h, w, 320)` to the same shape.

    Args:
      scale: of what is added.
      activation: applied to the sum; None for none.
      **options: as in `ConvNorm`.
    """

    def __init__(self, *, scale: float = 0.17, **options):
        double = ((32, 1), (48, 3), (64, 3))
        super().__init__(320, ((32, 1),), ((32, 1), (32, 3)), double, scale=scale, **options)


class InceptionResNetReductionA(Parallel):
    """Halves rows and columns: `(n, h, w, 320)` to `(n, h / 2, w / 2, 1088)`.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        super().__init__(
            [
                chain(320, (384, 3, 2), **options),
                chain(320, (256, 1), (256, 3), (384, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionResNetB(_Residual):
    """Adds 1x1 and 7x7, one axis at a time: `(n, h, w, 1088)` to the same shape.

    Args:
      scale: of what is added.
      activation: applied to the sum; None for none.
      **options: as in `ConvNorm`.
    """

    def __init__(self, *, scale: float = 0.10, **options):
        seven = ((128, 1), (160, (1, 7)), (192, (7, 1)))
        super().__init__(1088, ((192, 1),), seven, scale=scale, **options)


class InceptionResNetReductionB(Parallel):
    """Halves rows and columns: `(n, h, w, 1088)` to `(n, h / 2, w / 2, 2080)`.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        super().__init__(
            [
                chain(1088, (256, 1), (384, 3, 2), **options),
                chain(1088, (256, 1), (288, 3, 2), **options),
                chain(1088, (256, 1), (288, 3), (320, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionResNetC(_Residual):
    """Adds 1x1 and 3x3, one axis at a time: `(n, h, w, 2080)` to the same shape.

    Args:
      scale: of what is added.
      activation: applied to the sum; None for none, as in the last of the network.
      **options: as in `ConvNorm`.
    """

    def __init__(self, *, scale: float = 0.20, **options):
        three = ((192, 1), (224, (1, 3)), (256, (3, 1)))
        super().__init__(2080, ((192, 1),), three, scale=scale, **options)
