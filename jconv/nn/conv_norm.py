"""The unit of published networks: convolution, batch normalisation, activation."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv
from jconv.nn.layer_arguments import AnyArray, axis_sizes, flax_names, per_axis_or_one
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan

Activation = Callable[[Any], jax.Array]  # from an array


class ConvNorm(nnx.Module):
    """Convolution, batch normalisation and activation: `(n, *space, in)` to `(n, *space, out)`.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of the kernel in pixels along each spatial axis; an int is a square.
      strides: pixels between neighbouring outputs; None is 1.
      padding: as in `Conv`; `"HALF"` adds half of the kernel on every side, as PyTorch's networks
        do. It differs from `"SAME"` where strides are above 1.
      kernel_dilation: pixels between neighbouring taps; None is 1.
      feature_group_count: number of groups into which the channels are split.
      norm: whether to normalise; without normalisation the convolution has a bias.
      activation: function applied last; None for none.
      epsilon: number added to the variance.
      momentum: momentum of the running mean and variance; 0.9 is what PyTorch calls 0.1.
      dtype: dtype of the computation; None to infer it from inputs and parameters.
      param_dtype: dtype of the parameters.
      precision: as in `jconv.conv`.
      kernel_init: initializer of the kernel.
      padding_mode: values beyond the border; see `jconv.conv`.
      algorithm: algorithm of the convolution; see `jconv.ALGORITHMS`.
      tolerance: as in `jconv.conv`.
      rngs: random streams for the initial parameters.

    Reference: Ioffe & Szegedy, "Batch Normalization" (2015).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        norm: bool = True,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        padding_mode: str = "zeros",
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
    ):
        size = square("kernel_size", kernel_size)
        self.conv = Conv(
            in_features,
            out_features,
            size,
            per_axis_or_one("strides", strides, len(size)),
            padding=[(n // 2, n // 2) for n in size] if padding == "HALF" else padding,
            kernel_dilation=kernel_dilation,
            feature_group_count=feature_group_count,
            use_bias=not norm,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            padding_mode=padding_mode,
            algorithm=algorithm,
            tolerance=tolerance,
            rngs=rngs,
        )
        self.norm = (
            nnx.BatchNorm(
                out_features,
                epsilon=epsilon,
                momentum=momentum,
                dtype=dtype,
                param_dtype=param_dtype,
                rngs=rngs,
            )
            if norm
            else None
        )
        self.activation = activation

    def __call__(self, x: Num[AnyArray, "..."]) -> Num[AnyArray, "..."]:
        """Return the normalised and activated convolution of `x`."""
        y = self.conv(x)
        if self.norm is not None:
            y = self.norm(y)
        return y if self.activation is None else self.activation(y)


def square(name: str, size: int | Sequence[int]) -> tuple[int, ...]:
    """Return the pixels along each axis; an int is the side of a square."""
    sizes = axis_sizes(name, size)
    return 2 * sizes if isinstance(size, int) else sizes


def chain(unit: Callable[..., nnx.Module], in_features: int, *steps: tuple) -> nnx.Module:
    """Return convolutions one after another.

    Args:
      unit: `ConvNorm`, with its options bound.
      in_features: channels of the first convolution's input.
      *steps: output channels and kernel size of each convolution, and its strides where they are
        not 1. A convolution with strides has no padding, as in Inception networks.
    """
    layers = []
    for width, size, *strides in steps:
        options = {"padding": "VALID"} if strides else {}
        layers.append(unit(in_features, width, size, *strides, **options))
        in_features = width
    return layers[0] if len(layers) == 1 else Sequential(layers)
