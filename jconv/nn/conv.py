"""Convolution layers: Flax's, with the algorithm and the border to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Num

from jconv.algorithms import Algorithm, resolve_algorithm
from jconv.convolution import conv_general_dilated
from jconv.window import resolve_padding_mode


class Conv(nnx.Conv):
    """`nnx.Conv` by jconv's algorithms: `(n, *space, in)` to `(n, *space, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the kernel, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs.
      padding: as in `nnx.Conv`, and any other name that `jconv.conv` takes.
      padding_mode: what lies beyond the border; see `jconv.conv`.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernel.
      **options: whatever else `nnx.Conv` takes.

    Raises:
      ValueError: for an unknown algorithm or padding mode; when called, as `jconv.conv`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        padding_mode: str = "zeros",
        algorithm: str | Algorithm = "auto",
        rngs: nnx.Rngs,
        **options,
    ):
        if "conv_general_dilated" in options:
            raise ValueError(
                "`conv_general_dilated` must not be given: the layer's convolution is jconv's. "
                "Choose with `algorithm`, or use `nnx.Conv`."
            )
        if padding_mode != "zeros" and str(padding).upper() in ("CIRCULAR", "REFLECT"):
            raise ValueError(
                f"`padding` must be a size where `padding_mode` says what lies there. Received: "
                f"padding={padding!r} with padding_mode={padding_mode!r}. Use padding='SAME'."
            )
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            strides,
            padding=padding,
            rngs=rngs,
            conv_general_dilated=_Convolution(algorithm, padding_mode),
            **options,
        )


@dataclass(frozen=True)
class _Convolution:
    """What `nnx.Conv` calls in place of `lax.conv_general_dilated`; equal where its fields are."""

    algorithm: str | Algorithm
    padding_mode: str

    def __post_init__(self):
        resolve_algorithm(self.algorithm)
        resolve_padding_mode(self.padding_mode)

    def __call__(self, x, kernel, strides, padding, **options) -> jax.Array:
        return conv_general_dilated(
            x,
            kernel,
            strides,
            padding,
            **options,
            algorithm=self.algorithm,
            padding_mode=self.padding_mode,
        )


class DepthwiseConv(Conv):
    """Gives every channel `multiplier` kernels of its own: `(n, *space, c)` to `c * multiplier`.

    Args:
      in_features: channels.
      kernel_size: pixels of the kernels, one for each spatial axis.
      strides: pixels between neighbouring outputs.
      multiplier: kernels a channel.
      rngs: draws the initial kernels.
      **options: as in `Conv`.
    """

    def __init__(
        self,
        in_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        multiplier: int = 1,
        rngs: nnx.Rngs,
        **options,
    ):
        super().__init__(
            in_features,
            in_features * multiplier,
            kernel_size,
            strides,
            feature_group_count=in_features,
            rngs=rngs,
            **options,
        )


OF_BOTH_PASSES = (
    "dtype",
    "param_dtype",
    "precision",
    "preferred_element_type",
    "promote_dtype",
    "kernel_init",
    "kernel_metadata",
)


class SeparableConv(nnx.Module):
    """Filters each channel by itself, then mixes the channels pixel by pixel.

    With a multiplier of 1 it has `1/out + 1/k^2` of the kernel and of the multiply-adds of a
    dense `k x k` convolution. One bias, after the mixing.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the depthwise kernels, one for each spatial axis.
      strides: pixels between neighbouring outputs.
      multiplier: kernels a channel before mixing.
      use_bias: whether to add a bias to the output.
      algorithm: how both passes convolve.
      rngs: draws the initial kernels.
      **options: as in `Conv`; dtypes, precision and the kernels' initialisation are those of
        both passes, the bias's of the second, and all others of the first.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        multiplier: int = 1,
        use_bias: bool = True,
        algorithm: str | Algorithm = "auto",
        rngs: nnx.Rngs,
        **options,
    ):
        both = {name: options[name] for name in OF_BOTH_PASSES if name in options}
        bias = {n: options.pop(n) for n in ("bias_init", "bias_metadata") if n in options}
        self.depthwise = DepthwiseConv(
            in_features,
            kernel_size,
            strides,
            multiplier=multiplier,
            use_bias=False,
            algorithm=algorithm,
            rngs=rngs,
            **options,
        )
        self.pointwise = Conv(
            in_features * multiplier,
            out_features,
            (1,) * len(self.depthwise.kernel_size),
            use_bias=use_bias,
            algorithm=algorithm,
            rngs=rngs,
            **both,
            **bias,
        )

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return self.pointwise(self.depthwise(x))
