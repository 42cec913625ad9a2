"""Inception modules of the second and third generation: 5x5 as two 3x3, 7x7 as 1x7 and 7x1.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015),
figures 5 to 7 and 10, with the widths of the authors' own network, in which module A keeps one 5x5.
"""

from flax import nnx

from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import chain
from jconv.nn.pool import AvgPool, MaxPool
from jconv.nn.sequential import Sequential


class InceptionA(Parallel):
    """1x1, 5x5, two 3x3 and an average: `(n, h, w, in)` to `(n, h, w, 224 + pooled)`.

    Args:
      in_features: input channels.
      pooled: output channels of the pooling branch.
      count_include_pad: whether averages at the border count the padding, as in PyTorch's
        weights; without, as in TensorFlow's.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int, pooled: int, *, count_include_pad: bool = True, **options):
        super().__init__(
            [
                chain(in_features, (64, 1), **options),
                chain(in_features, (48, 1), (64, 5), **options),
                chain(in_features, (64, 1), (96, 3), (96, 3), **options),
                pool_branch(in_features, pooled, count_include_pad, options),
            ]
        )


class InceptionB(Parallel):
    """Halves rows and columns by 3x3, two 3x3 and maxima: `in` to `480 + in` channels.

    Args:
      in_features: input channels.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int, **options):
        super().__init__(
            [
                chain(in_features, (384, 3, 2), **options),
                chain(in_features, (64, 1), (96, 3), (96, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionC(Parallel):
    """Kernels of 7 pixels, one axis at a time: `(n, h, w, in)` to `(n, h, w, 768)`.

    Args:
      in_features: input channels.
      width: channels between the long kernels.
      count_include_pad: as in `InceptionA`.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int, width: int, *, count_include_pad: bool = True, **options):
        row, column, last = (width, (1, 7)), (width, (7, 1)), 192
        super().__init__(
            [
                chain(in_features, (last, 1), **options),
                chain(in_features, (width, 1), row, (last, (7, 1)), **options),
                chain(in_features, (width, 1), column, row, column, (last, (1, 7)), **options),
                pool_branch(in_features, last, count_include_pad, options),
            ]
        )


class InceptionD(Parallel):
    """Halves rows and columns by 3x3, 7x7 and maxima: `in` to `512 + in` channels.

    Args:
      in_features: input channels.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int, **options):
        seven = ((192, 1), (192, (1, 7)), (192, (7, 1)))
        super().__init__(
            [
                chain(in_features, (192, 1), (320, 3, 2), **options),
                chain(in_features, *seven, (192, 3, 2), **options),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionE(Parallel):
    """Rows and columns of 3 pixels side by side: `(n, h, w, in)` to `(n, h, w, 2048)`.

    Args:
      in_features: input channels.
      count_include_pad: as in `InceptionA`.
      **options: as in `ConvNorm`.
    """

    def __init__(self, in_features: int, *, count_include_pad: bool = True, **options):
        super().__init__(
            [
                chain(in_features, (320, 1), **options),
                fork(in_features, [(384, 1)], 384, **options),
                fork(in_features, [(448, 1), (384, 3)], 384, **options),
                pool_branch(in_features, 192, count_include_pad, options),
            ]
        )


def pool_branch(in_features: int, width: int, count_include_pad: bool, options) -> nnx.Module:
    """The pooling branch: averages of 3x3 pixels, then a 1x1 convolution."""
    pool = AvgPool((3, 3), 1, "SAME", count_include_pad=count_include_pad)
    return Sequential([pool, chain(in_features, (width, 1), **options)])


def fork(in_features: int, steps: list[tuple], width: int, **options) -> nnx.Module:
    """Some convolutions, then 1x3 and 3x1 side by side, `width` channels each."""
    ends = [chain(steps[-1][0], (width, size), **options) for size in ((1, 3), (3, 1))]
    return Sequential([chain(in_features, *steps, **options), Parallel(ends)])
