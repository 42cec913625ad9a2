"""Batch normalisation that pads its output with the values to which it maps zeros."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from jax import lax
from jaxtyping import Num

from jconv.nn.layer_arguments import AnyArray


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

    def __call__(self, x: Num[AnyArray, "n h w c"]) -> Num[AnyArray, "n hp wp c"]:
        """Return the normalised `x` with its border."""
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
