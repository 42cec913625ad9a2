"""The unit that published networks are made of: convolution, normalisation, activation."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Num

from jconv._core.validation import per_axis
from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv, axis_sizes
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan

Activation = Callable[[jax.Array], jax.Array]


class ConvNorm(nnx.Module):
    """Convolves, normalises over the batch, and applies an activation: `(n, *space, in)` to
    `(n, *space, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the kernel, one for each spatial axis; an int is a square one.
      strides: pixels between neighbouring outputs.
      padding: as in `Conv`; `"HALF"` adds half of the kernel on every side, which is what PyTorch's
        networks do. It differs from `"SAME"` where strides are above 1.
      dilation: pixels between neighbouring taps.
      groups: groups of channels.
      norm: whether to normalise; without, the convolution has a bias.
      activation: applied last; None for none.
      epsilon: added to the variance.
      momentum: of the running mean and variance; 0.9 is what PyTorch calls 0.1.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernel.

    Reference: Ioffe & Szegedy, "Batch Normalization" (2015).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        *,
        padding="SAME",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        norm: bool = True,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        size = square("kernel_size", kernel_size)
        self.conv = Conv(
            in_features,
            out_features,
            size,
            per_axis("strides", strides, len(size)),
            padding=[(n // 2, n // 2) for n in size] if padding == "HALF" else padding,
            kernel_dilation=dilation,
            feature_group_count=groups,
            use_bias=not norm,
            algorithm=algorithm,
            rngs=rngs,
        )
        self.norm = (
            nnx.BatchNorm(out_features, epsilon=epsilon, momentum=momentum, rngs=rngs)
            if norm
            else None
        )
        self.activation = activation

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        y = self.conv(x)
        if self.norm is not None:
            y = self.norm(y)
        return y if self.activation is None else self.activation(y)


def square(name: str, size: int | Sequence[int]) -> tuple[int, ...]:
    """Pixels along each axis, of which an int stands for two."""
    sizes = axis_sizes(name, size)
    return 2 * sizes if isinstance(size, int) else sizes


def chain(in_features: int, *steps: tuple, **options) -> nnx.Module:
    """`ConvNorm`s one after the other.

    Args:
      in_features: channels of the input of the first.
      *steps: of each its output channels, its kernel's size and, where not 1, its strides; what
        strides takes no padding, as in Inception networks.
      **options: as in `ConvNorm`.
    """
    layers = []
    for width, size, *strides in steps:
        own: dict[str, Any] = {"padding": "VALID"} if strides else {}
        layers.append(ConvNorm(in_features, width, size, *strides, **(options | own)))
        in_features = width
    return layers[0] if len(layers) == 1 else Sequential(layers)
