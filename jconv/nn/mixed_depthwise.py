"""Depthwise convolutions with several kernel sizes, each on a part of the channels."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.conv_norm import square
from jconv.nn.depthwise_conv import DepthwiseConv
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.selection.plan import Plan


class MixConv(nnx.Module):
    """Depthwise convolution of each part of the channels with another kernel size.

    An input `(n, h, w, c)` becomes `(n, h / strides, w / strides, c)`.

    Args:
      in_features: channels of input and output.
      kernel_sizes: kernel size of each part; the remainder of the channels goes to the first part.
      strides: pixels between neighbouring outputs; None is 1.
      padding: as in `Conv`, also for what follows.
      kernel_dilation: pixels between neighbouring taps.
      use_bias: whether to add a bias to the output.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      bias_init: initializer of the biases.
      padding_mode: values beyond the border.
      algorithm: algorithm of the convolutions.
      tolerance: largest error bound that `algorithm="auto"` accepts.
      rngs: random streams for the initial parameters.

    Raises:
      ValueError: if there are more sizes than channels.

    Reference: Tan & Le, "MixConv: Mixed Depthwise Convolutional Kernels" (2019).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        kernel_sizes: Sequence[int | Sequence[int]] = (3, 5, 7),
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        padding_mode: str = "zeros",
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
    ):
        count = len(kernel_sizes)
        if not 0 < count <= in_features:
            raise ValueError(
                f"`kernel_sizes` must have at least one size and at most one for each of the "
                f"{in_features} channels. Received: kernel_sizes={kernel_sizes!r}."
            )
        options: dict[str, Any] = dict(
            padding=padding,
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            padding_mode=padding_mode,
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
        )
        width = in_features // count
        self.widths = (in_features - width * (count - 1), *(width,) * (count - 1))
        self.parts = nnx.List(
            DepthwiseConv(
                width,
                square("kernel_sizes", size),
                strides,
                kernel_dilation=kernel_dilation,
                **options,
            )
            for width, size in zip(self.widths, kernel_sizes, strict=True)
        )

    def __call__(self, x: Num[AnyArray, "n h w c"]) -> Num[AnyArray, "n ho wo c"]:
        """Return the convolutions of the parts of `x`, concatenated."""
        return _split_and_concatenate(x, self.widths, self.parts)


class InceptionDepthwise(nnx.Module):
    """Depthwise convolution of some channels with a square, a row and a column.

    The other channels are unchanged, and the shape `(n, h, w, c)` stays.

    Args:
      in_features: channels of input and output.
      square_size: pixels along a side of the square.
      band_size: pixels of the row and of the column.
      ratio: share of the channels for each of the three kernels.
      use_bias: whether to add a bias to the output.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      bias_init: initializer of the biases.
      padding_mode: values beyond the border.
      algorithm: algorithm of the convolutions.
      tolerance: largest error bound that `algorithm="auto"` accepts.
      rngs: random streams for the initial parameters.

    Raises:
      ValueError: if the ratio gives a kernel no channel, or all three more than there are.

    Reference: Yu et al., "InceptionNeXt: When Inception Meets ConvNeXt" (2023), section 3.2.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        square_size: int = 3,
        band_size: int = 11,
        *,
        ratio: float = 0.125,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        padding_mode: str = "zeros",
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
    ):
        width = int(in_features * ratio)
        if not 1 <= width <= in_features // 3:
            raise ValueError(
                f"`ratio` must give each of three kernels at least one of the {in_features} "
                f"channels, and a third at most. Received: ratio={ratio!r}, that is {width} "
                f"channels each."
            )
        options: dict[str, Any] = dict(
            use_bias=use_bias,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            padding_mode=padding_mode,
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
        )
        self.widths = (in_features - 3 * width, width, width, width)
        sizes = ((square_size, square_size), (1, band_size), (band_size, 1))
        self.square, self.row, self.column = (
            DepthwiseConv(width, size, **options) for size in sizes
        )

    def __call__(self, x: Num[AnyArray, "n h w c"]) -> Num[AnyArray, "n h w c"]:
        """Return the unchanged and the convolved channels of `x`, concatenated."""
        parts = (lambda x: x, self.square, self.row, self.column)
        return _split_and_concatenate(x, self.widths, parts)


def _split_and_concatenate(x, widths: Sequence[int], parts: Sequence[Callable]):
    """Apply each part to its share of the channels, and concatenate the outputs."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths) - 1)]
    shares = jnp.split(x, ends, axis=-1)
    return jnp.concatenate([part(share) for part, share in zip(parts, shares, strict=True)], -1)
