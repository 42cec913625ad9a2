"""Blocks that train as branches which add, and are one convolution afterwards.

`jconv.structure.merge` makes that convolution.
"""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Num

from jconv.nn.branches import Parallel
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.pool import AvgPool
from jconv.nn.sequential import Sequential


class RepVGGBlock(nnx.Module):
    """`activation(3x3(x) + 1x1(x) + x)`, each normalised: `(n, h, w, in)` to
    `(n, h / strides, w / strides, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      strides: pixels between neighbouring outputs; the input itself is added where the shape stays.
      activation: applied to the sum; None for none.
      **options: as in `ConvNorm`.

    Reference: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again" (2021).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        strides: int = 1,
        *,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-5,
        rngs: nnx.Rngs,
        **options,
    ):
        options |= dict(epsilon=epsilon, rngs=rngs, activation=None, padding="HALF")
        branches: list[nnx.Module] = [
            ConvNorm(in_features, out_features, n, strides, **options) for n in (3, 1)
        ]
        if strides == 1 and in_features == out_features:
            branches.append(nnx.BatchNorm(in_features, epsilon=epsilon, momentum=0.9, rngs=rngs))
        self.branches = Parallel(branches, join="add")
        self.activation = activation

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)


class NormPad(nnx.BatchNorm):
    """Batch normalisation, then a border of what it makes of zeros.

    A `k x k` convolution after it then sees at the border what it would see if the zeros had been
    padded before, so that the two are one convolution.

    Args:
      features: channels.
      pad: pixels on every side.
      **options: as in `nnx.BatchNorm`.
    """

    def __init__(self, features: int, pad: int, **options):
        super().__init__(features, **options)
        self.pad = pad

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n hp wp c"]:
        y = super().__call__(x)
        # After the call, so that these are the statistics that are kept for evaluation.
        border = -self.mean[...] * lax.rsqrt(self.var[...] + self.epsilon)
        if self.scale is not None:
            border = border * self.scale[...]
        if self.bias is not None:
            border = border + self.bias[...]
        p = self.pad
        pads = [(0, 0), (p, p), (p, p), (0, 0)]
        inside = jnp.pad(jnp.ones((1, *y.shape[1:3], 1), bool), pads)
        return jnp.where(inside, jnp.pad(y, pads), border)


class DiverseBranchBlock(nnx.Module):
    """`activation` of a sum of `k x k`, 1x1, 1x1 before `k x k`, and 1x1 before an average, each
    normalised: `(n, h, w, in)` to `(n, h / strides, w / strides, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels along a side, an odd number.
      strides: pixels between neighbouring outputs.
      groups: groups of channels.
      activation: applied to the sum; None for none.
      epsilon: added to variances.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels.

    Raises:
      ValueError: for an even kernel, which has no middle for the 1x1 to be in.

    Reference: Ding et al., "Diverse Branch Block: Building a Convolution as an Inception-like Unit"
    (2021).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        strides: int = 1,
        *,
        groups: int = 1,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-5,
        algorithm="auto",
        rngs: nnx.Rngs,
    ):
        if kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd. Received: kernel_size={kernel_size}. "
                f"Use {kernel_size + 1}."
            )
        pad = kernel_size // 2
        plain: dict[str, Any] = dict(
            groups=groups, activation=None, epsilon=epsilon, algorithm=algorithm, rngs=rngs
        )
        pointwise = lambda width: Conv(
            in_features,
            width,
            (1, 1),
            use_bias=False,
            feature_group_count=groups,
            algorithm=algorithm,
            rngs=rngs,
        )
        norms: dict[str, Any] = dict(epsilon=epsilon, momentum=0.9, rngs=rngs)
        self.branches = Parallel(
            [
                ConvNorm(in_features, out_features, kernel_size, strides, padding="HALF", **plain),
                ConvNorm(in_features, out_features, 1, strides, **plain),
                Sequential(
                    [
                        pointwise(in_features),
                        NormPad(in_features, pad, **norms),
                        ConvNorm(
                            in_features,
                            out_features,
                            kernel_size,
                            strides,
                            padding="VALID",
                            **plain,
                        ),
                    ]
                ),
                Sequential(
                    [
                        pointwise(out_features),
                        NormPad(out_features, pad, **norms),
                        AvgPool((kernel_size, kernel_size), strides),
                        nnx.BatchNorm(out_features, **norms),
                    ]
                ),
            ],
            join="add",
        )
        self.activation = activation

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)
