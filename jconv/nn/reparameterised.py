"""Blocks that train as a sum of branches, and are one convolution afterwards.

`jconv.structure.merge` makes that convolution.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from flax.nnx.nn.linear import default_kernel_init
from jax import lax
from jaxtyping import Array, Num

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.layer_arguments import flax_names
from jconv.nn.pool import AvgPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class RepVGGBlock(nnx.Module):
    """`activation(3x3(x) + 1x1(x) + x)`, each term normalised: `(n, h, w, in)` to
    `(n, h / strides, w / strides, out)`.

    The input itself is added only where the output has its shape.

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

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)


class NormPad(nnx.BatchNorm):
    """Batch normalisation, then a border of the values to which it maps zeros.

    A `k x k` convolution after it then computes at the border what it would compute if the zeros
    had been padded before, so that the two are one convolution.

    Args:
      num_features: number of channels.
      pad: pixels on every side.
      use_running_average: as in `flax.nnx.BatchNorm`, like all arguments that follow.
      axis: axis of the channels, which must be the last.
      momentum: momentum of the running statistics.
      epsilon: number added to variances.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      use_bias: whether to add a bias.
      use_scale: whether to multiply with a scale.
      bias_init: initializer of the bias.
      scale_init: initializer of the scale.
      axis_name: axis over which the statistics are averaged under `pmap`.
      axis_index_groups: groups of devices along that axis.
      use_fast_variance: whether to compute the variance as a difference of means.
      promote_dtype: function that promotes arrays to a `dtype`.
      rngs: random streams for the initial parameters.
      bias_metadata: metadata of the bias's variable.
      scale_metadata: metadata of the scale's variable.
    """

    def __init__(
        self,
        num_features: int,
        pad: int,
        *,
        use_running_average: bool | None = False,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        use_bias: bool = True,
        use_scale: bool = True,
        bias_init: nnx.Initializer = nnx.initializers.zeros,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        axis_name: str | None = None,
        axis_index_groups: Any = None,
        use_fast_variance: bool = True,
        promote_dtype: Any = default_promote_dtype,
        rngs: nnx.Rngs,
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
        scale_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        super().__init__(
            num_features,
            use_running_average=use_running_average,
            axis=axis,
            momentum=momentum,
            epsilon=epsilon,
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=use_bias,
            use_scale=use_scale,
            bias_init=bias_init,
            scale_init=scale_init,
            axis_name=axis_name,
            axis_index_groups=axis_index_groups,
            use_fast_variance=use_fast_variance,
            promote_dtype=promote_dtype,
            rngs=rngs,
            bias_metadata=bias_metadata,
            scale_metadata=scale_metadata,
        )
        self.pad = pad

    def __call__(self, x: Num[Array, "n h w c"]) -> Num[Array, "n hp wp c"]:
        y = super().__call__(x)
        # Read after the call, so that these are the statistics that evaluation uses.
        border = -self.mean[...] * lax.rsqrt(self.var[...] + self.epsilon)
        if self.scale is not None:
            border = border * self.scale[...]
        if self.bias is not None:
            border = border + self.bias[...]
        p = self.pad
        pads = [(0, 0), (p, p), (p, p), (0, 0)]
        inside = jnp.pad(jnp.ones((1, *y.shape[1:3], 1), bool), pads)
        return jnp.where(inside, jnp.pad(y, pads), border.astype(y.dtype))


class DiverseBranchBlock(nnx.Module):
    """`activation` of a sum of `k x k`, 1x1, 1x1 before `k x k`, and 1x1 before an average, each
    normalised: `(n, h, w, in)` to `(n, h / strides, w / strides, out)`.

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

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n ho wo co"]:
        y = self.branches(x)
        return y if self.activation is None else self.activation(y)
