"""Depthwise convolutions with several kernel sizes, each on its own share of the channels."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv.nn.conv import DepthwiseConv
from jconv.nn.conv_norm import square


class MixConv(nnx.Module):
    """Convolves each part of the channels with kernels of another size: `(n, h, w, c)` to
    `(n, h / strides, w / strides, c)`.

    Args:
      features: channels, in and out.
      kernel_sizes: of each part; what is left when channels are divided goes to the first.
      strides: pixels between neighbouring outputs.
      rngs: draws the initial kernels.
      **options: as in `Conv`, of every part.

    Raises:
      ValueError: for more sizes than channels.

    Reference: Tan & Le, "MixConv: Mixed Depthwise Convolutional Kernels" (2019).
    """

    def __init__(
        self,
        features: int,
        kernel_sizes: Sequence[int | Sequence[int]] = (3, 5, 7),
        strides: int | Sequence[int] = 1,
        *,
        rngs: nnx.Rngs,
        **options,
    ):
        count = len(kernel_sizes)
        if not 0 < count <= features:
            raise ValueError(
                f"`kernel_sizes` must have at least one size and at most one for each of the "
                f"{features} channels. Received: kernel_sizes={kernel_sizes!r}."
            )
        each = features // count
        self.widths = (features - each * (count - 1), *(each,) * (count - 1))
        self.parts = nnx.List(
            DepthwiseConv(width, square("kernel_sizes", size), strides, rngs=rngs, **options)
            for width, size in zip(self.widths, kernel_sizes, strict=True)
        )

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n ho wo c"]:
        return _each_its_own(x, self.widths, self.parts)


class InceptionDepthwise(nnx.Module):
    """Leaves most channels as they are, and convolves the rest with a square, a row and a column:
    the shape stays.

    Args:
      features: channels, in and out.
      square_size: pixels along a side of the square.
      band_size: pixels of the row and of the column.
      ratio: share of the channels that each of the three gets.
      rngs: draws the initial kernels.
      **options: as in `Conv`, of all three.

    Raises:
      ValueError: for a ratio that leaves a kernel no channel, or takes more than there are.

    Reference: Yu et al., "InceptionNeXt: When Inception Meets ConvNeXt" (2023), section 3.2.
    """

    def __init__(
        self,
        features: int,
        square_size: int = 3,
        band_size: int = 11,
        *,
        ratio: float = 0.125,
        rngs: nnx.Rngs,
        **options,
    ):
        width = int(features * ratio)
        if not 1 <= width <= features // 3:
            raise ValueError(
                f"`ratio` must give each of three kernels at least one of the {features} channels, "
                f"and a third at most. Received: ratio={ratio!r}, that is {width} channels each."
            )
        self.widths = (features - 3 * width, width, width, width)
        sizes = ((square_size, square_size), (1, band_size), (band_size, 1))
        self.square, self.row, self.column = (
            DepthwiseConv(width, size, rngs=rngs, **options) for size in sizes
        )

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n h w c"]:
        return _each_its_own(x, self.widths, (lambda x: x, self.square, self.row, self.column))


def _each_its_own(x, widths: Sequence[int], parts):
    """Concatenates what each part makes of its share of the channels."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    shares = jnp.split(x, ends, axis=-1)
    return jnp.concatenate([part(share) for part, share in zip(parts, shares, strict=True)], -1)
