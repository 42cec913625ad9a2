"""Auxiliary heads: classifiers inside a network, which bring gradients to its middle in training.

References: Szegedy et al., "Going Deeper with Convolutions" (2015), section 5; "Rethinking the
Inception Architecture for Computer Vision" (2015), section 4.
"""

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Float

from jconv.algorithms import Algorithm
from jconv.nn.adaptive_pool import AdaptiveAvgPool
from jconv.nn.conv_norm import Activation, ConvNorm
from jconv.nn.layer_arguments import AnyArray
from jconv.nn.pool import AvgPool, Flatten, GlobalAveragePool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan

MIN_SIZE = 17  # pixels along a side; average pooling of 5x5 with strides of 3 reduces them to 5


class AuxiliaryHead(Sequential):
    """Auxiliary head of Inception v1: `(n, h, w, in)` to `(n, classes)` logits.

    Args:
      in_features: channels of the input.
      num_classes: number of logits.
      dropout: share of the features dropped while training.
      norm: whether convolutions are followed by batch normalisation; see `ConvNorm`, also for what
        follows.
      activation: activation after each convolution; None for none.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions.
      rngs: random streams for the initial parameters.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        dropout: float = 0.7,
        norm: bool = True,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        unit = functools.partial(
            ConvNorm,
            norm=norm,
            activation=activation,
            epsilon=epsilon,
            momentum=momentum,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        linear = functools.partial(
            nnx.Linear, dtype=dtype, param_dtype=param_dtype, precision=precision, rngs=rngs
        )
        super().__init__(
            [
                AdaptiveAvgPool(4),
                unit(in_features, 128, 1),
                Flatten(),
                linear(4 * 4 * 128, 1024),
                nnx.relu,
                nnx.Dropout(dropout, rngs=rngs),
                linear(1024, num_classes),
            ]
        )


class AuxiliaryHeadV3(Sequential):
    """Auxiliary head of Inception v3: `(n, h, w, in)` of at least 17x17 to `(n, classes)` logits.

    Args:
      in_features: channels of the input.
      num_classes: number of logits.
      norm: whether convolutions are followed by batch normalisation; see `ConvNorm`, also for what
        follows.
      activation: activation after each convolution; None for none.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions.
      rngs: random streams for the initial parameters.

    Raises:
      ValueError: when called with fewer pixels than its pooling and its 5x5 convolution need.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        norm: bool = True,
        activation: Activation | None = nnx.relu,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        unit = functools.partial(
            ConvNorm,
            norm=norm,
            activation=activation,
            epsilon=epsilon,
            momentum=momentum,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        super().__init__(
            [
                AvgPool((5, 5), 3),
                unit(in_features, 128, 1),
                unit(128, 768, 5, padding="VALID"),
                GlobalAveragePool(),
                nnx.Linear(
                    768,
                    num_classes,
                    dtype=dtype,
                    param_dtype=param_dtype,
                    precision=precision,
                    rngs=rngs,
                ),
            ]
        )

    def __call__(self, x: Float[AnyArray, "n h w ci"]) -> Float[AnyArray, "n classes"]:
        """Return the logits for the features `x`."""
        if min(x.shape[1:3]) < MIN_SIZE:
            raise ValueError(
                f"`x` must have at least {MIN_SIZE}x{MIN_SIZE} pixels for the auxiliary head. "
                f"Received: x.shape={x.shape}. Give the network images of at least 299x299, or "
                f"make it with auxiliary=False."
            )
        return super().__call__(x)
