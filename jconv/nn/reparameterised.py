"""Blocks that train as a sum of branches, and are one convolution afterwards.

`jconv.structure.merge` makes that convolution.
"""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.layer_arguments import AnyArray, flax_names
from jconv.nn.norm_pad import NormPad
from jconv.nn.pool import AvgPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class RepVGGBlock(nnx.Module):
    """`activation(3x3(x) + 1x1(x) + x)`, with each term normalised.

    An input `(n, h, w, in)` becomes `(n, h / strides, w / strides, out)`. The input itself is added
    only where the output has its shape.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      strides: pixels between neighbouring outputs.
      feature_group_count: number of groups into which the channels are split.
      activation: function applied to the sum; None for none.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions; see `jconv.ALGORITHMS`.
      rngs: random streams for the initial parameters.

    Reference: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again" (2021).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        strides: int = 1,
        *,
        feature_group_count: int = 1,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        convolution: dict[str, Any] = dict(
            feature_group_count=feature_group_count,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        unit = functools.partial(
            ConvNorm, activation=None, epsilon=epsilon, momentum=momentum, **convolution
        )
        norm: dict[str, Any] = dict(
            epsilon=epsilon, momentum=momentum, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        branches: list[nnx.Module] = [
            unit(in_features, out_features, size, strides, padding="HALF") for size in (3, 1)
        ]
        if strides == 1 and in_features == out_features:
            branches.append(nnx.BatchNorm(in_features, **norm))
        self.branches = Parallel(branches, join="add")
        self.activation = activation

    def __call__(self, x: Num[AnyArray, "n h w ci"]) -> Num[AnyArray, "n ho wo co"]:
        """Return the activated sum of the branches for `x`."""
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)


class DiverseBranchBlock(nnx.Module):
    """Activated sum of `k x k`, 1x1, 1x1 before `k x k`, and 1x1 before an average.

    Each term is normalised. An input `(n, h, w, in)` becomes
    `(n, h / strides, w / strides, out)`.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: pixels along a side, an odd number.
      strides: pixels between neighbouring outputs.
      feature_group_count: number of groups into which the channels are split.
      activation: function applied to the sum; None for none.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions; see `jconv.ALGORITHMS`.
      rngs: random streams for the initial parameters.

    Raises:
      ValueError: if `kernel_size` is even, so that the kernel has no centre for the 1x1 branches.

    Reference: Ding et al., "Diverse Branch Block: Building a Convolution as an Inception-like Unit"
    (2021).
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int = 3,
        strides: int = 1,
        *,
        feature_group_count: int = 1,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        if kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd. Received: kernel_size={kernel_size}. "
                f"Use {kernel_size + 1}."
            )
        pad = kernel_size // 2
        convolution: dict[str, Any] = dict(
            feature_group_count=feature_group_count,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        unit = functools.partial(
            ConvNorm, activation=None, epsilon=epsilon, momentum=momentum, **convolution
        )
        norm: dict[str, Any] = dict(
            epsilon=epsilon, momentum=momentum, dtype=dtype, param_dtype=param_dtype, rngs=rngs
        )
        pointwise = lambda width: Conv(in_features, width, (1, 1), use_bias=False, **convolution)
        self.branches = Parallel(
            [
                unit(in_features, out_features, kernel_size, strides, padding="HALF"),
                unit(in_features, out_features, 1, strides),
                Sequential(
                    [
                        pointwise(in_features),
                        NormPad(in_features, pad, **norm),
                        unit(in_features, out_features, kernel_size, strides, padding="VALID"),
                    ]
                ),
                Sequential(
                    [
                        pointwise(out_features),
                        NormPad(out_features, pad, **norm),
                        AvgPool((kernel_size, kernel_size), strides),
                        nnx.BatchNorm(out_features, **norm),
                    ]
                ),
            ],
            join="add",
        )
        self.activation = activation

    def __call__(self, x: Num[AnyArray, "n h w ci"]) -> Num[AnyArray, "n ho wo co"]:
        """Return the activated sum of the branches for `x`."""
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)
