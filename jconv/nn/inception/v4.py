"""Inception modules of the fourth generation.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figures 3 to 9.
"""

from typing import Any

from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import chain
from jconv.nn.inception.v3 import fork, pool_branch
from jconv.nn.pool import MaxPool
from jconv.nn.sequential import Sequential


class InceptionV4Stem(Sequential):
    """Brings `(n, h, w, in)` to `(n, h / 8, w / 8, 384)`, convolving and pooling side by side.

    Args:
      in_features: input channels.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int = 3, **options):
        valid: dict[str, Any] = options | {"padding": "VALID"}
        seven = ((64, 1), (64, (1, 7)), (64, (7, 1)))
        super().__init__(
            [
                chain(in_features, (32, 3, 2), **valid),
                chain(32, (32, 3), **valid),
                chain(32, (64, 3), **options),
                Parallel([MaxPool((3, 3), 2), chain(64, (96, 3, 2), **options)]),
                Parallel(
                    [
                        Sequential([chain(160, (64, 1), **options), chain(64, (96, 3), **valid)]),
                        Sequential([chain(160, *seven, **options), chain(64, (96, 3), **valid)]),
                    ]
                ),
                Parallel([chain(192, (192, 3, 2), **options), MaxPool((3, 3), 2)]),
            ]
        )


class InceptionV4A(Parallel):
    """1x1, 3x3, two 3x3 and an average: `(n, h, w, 384)` to the same shape.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        super().__init__(
            [
                chain(384, (96, 1), **options),
                chain(384, (64, 1), (96, 3), **options),
                chain(384, (64, 1), (96, 3), (96, 3), **options),
                pool_branch(384, 96, False, options),
            ]
        )


class InceptionV4ReductionA(Parallel):
    """Halves rows and columns: `(n, h, w, 384)` to `(n, h / 2, w / 2, 1024)`.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        super().__init__(
            [
                chain(384, (384, 3, 2), **options),
                chain(384, (192, 1), (224, 3), (256, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionV4B(Parallel):
    """Kernels of 7 pixels, one axis at a time: `(n, h, w, 1024)` to the same shape.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        double = ((192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)))
        super().__init__(
            [
                chain(1024, (384, 1), **options),
                chain(1024, (192, 1), (224, (1, 7)), (256, (7, 1)), **options),
                chain(1024, (192, 1), *double, **options),
                pool_branch(1024, 128, False, options),
            ]
        )


class InceptionV4ReductionB(Parallel):
    """Halves rows and columns: `(n, h, w, 1024)` to `(n, h / 2, w / 2, 1536)`.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        seven = ((256, 1), (256, (1, 7)), (320, (7, 1)))
        super().__init__(
            [
                chain(1024, (192, 1), (192, 3, 2), **options),
                chain(1024, *seven, (320, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionV4C(Parallel):
    """Rows and columns of 3 pixels side by side: `(n, h, w, 1536)` to the same shape.

    Args:
      **options: as in `ConvNorm`.
    """

    def __init__(self, **options):
        double = [(384, 1), (448, (3, 1)), (512, (1, 3))]
        super().__init__(
            [
                chain(1536, (256, 1), **options),
                fork(1536, [(384, 1)], 256, **options),
                fork(1536, double, 256, **options),
                pool_branch(1536, 256, False, options),
            ]
        )
