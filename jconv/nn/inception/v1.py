"""The first Inception module: 1x1 reductions before the larger kernels, and a pooling branch."""

from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import chain
from jconv.nn.pool import MaxPool
from jconv.nn.sequential import Sequential


class Inception(Parallel):
    """Sees pixels, 3x3, larger neighbourhoods and maxima, side by side: `(n, h, w, in)` to
    `(n, h, w, ones + threes + fives + pooled)`.

    Args:
      in_features: input channels.
      ones: output channels of the 1x1 branch.
      threes: channels after the 1x1 reduction, and after the 3x3 convolution.
      fives: the same of the branch with the largest kernel.
      pooled: output channels of the pooling branch.
      largest: pixels along a side of the largest kernel, 5 as published.
      **options: as in `ConvNorm`.

    Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), figure 2b.
    """

    def __init__(
        self,
        in_features: int,
        ones: int,
        threes: tuple[int, int],
        fives: tuple[int, int],
        pooled: int,
        *,
        largest: int = 5,
        **options,
    ):
        pool = MaxPool((3, 3), 1, "SAME")
        super().__init__(
            [
                chain(in_features, (ones, 1), **options),
                chain(in_features, (threes[0], 1), (threes[1], 3), **options),
                chain(in_features, (fives[0], 1), (fives[1], largest), **options),
                Sequential([pool, chain(in_features, (pooled, 1), **options)]),
            ]
        )
