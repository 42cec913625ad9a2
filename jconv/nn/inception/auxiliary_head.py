"""Auxiliary heads: classifiers in the middle of a network, which bring gradients there in training.

References: Szegedy et al., "Going Deeper with Convolutions" (2015), section 5; "Rethinking the
Inception Architecture for Computer Vision" (2015), section 4.
"""

from flax import nnx
from jaxtyping import Array, Float

from jconv.nn.adaptive_pool import AdaptiveAvgPool
from jconv.nn.conv_norm import ConvNorm
from jconv.nn.pool import AvgPool, Flatten, GlobalAveragePool
from jconv.nn.sequential import Sequential

LEAST = 17  # pixels along a side: of them 5x5 averages, 3 apart, leave 5


class AuxiliaryHead(Sequential):
    """The head of Inception v1: `(n, h, w, in)` to `(n, classes)` logits.

    Args:
      in_features: input channels.
      num_classes: logits to give.
      dropout: share of the features dropped while training.
      rngs: draws the initial kernels, and what is dropped.
      **options: as in `ConvNorm`, of the convolution.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        dropout: float = 0.7,
        rngs: nnx.Rngs,
        **options,
    ):
        super().__init__(
            [
                AdaptiveAvgPool(4),
                ConvNorm(in_features, 128, 1, rngs=rngs, **options),
                Flatten(),
                nnx.Linear(4 * 4 * 128, 1024, rngs=rngs),
                nnx.relu,
                nnx.Dropout(dropout, rngs=rngs),
                nnx.Linear(1024, num_classes, rngs=rngs),
            ]
        )


class AuxiliaryHeadV3(Sequential):
    """The head of Inception v3: `(n, h, w, in)` of at least 17x17 to `(n, classes)` logits.

    Args:
      in_features: input channels.
      num_classes: logits to give.
      rngs: draws the initial kernels.
      **options: as in `ConvNorm`, of the convolutions.

    Raises:
      ValueError: when called with fewer pixels than its average and its 5x5 convolution take.
    """

    def __init__(self, in_features: int, num_classes: int, *, rngs: nnx.Rngs, **options):
        super().__init__(
            [
                AvgPool((5, 5), 3),
                ConvNorm(in_features, 128, 1, rngs=rngs, **options),
                ConvNorm(128, 768, 5, padding="VALID", rngs=rngs, **options),
                GlobalAveragePool(),
                nnx.Linear(768, num_classes, rngs=rngs),
            ]
        )

    def __call__(self, x: Float[Array, "n h w ci"]) -> Float[Array, "n classes"]:
        if min(x.shape[1:3]) < LEAST:
            raise ValueError(
                f"`x` must have at least {LEAST}x{LEAST} pixels for the auxiliary head. "
                f"Received: x.shape={x.shape}. Give the network images of at least 299x299, or "
                f"make it with auxiliary=False."
            )
        return super().__call__(x)
