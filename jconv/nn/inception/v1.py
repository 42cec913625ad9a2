"""The first Inception module: 1x1 reductions before the larger kernels, and a pooling branch."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import Activation, ConvNorm, chain
from jconv.nn.pool import MaxPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class Inception(Parallel):
    """1x1, 3x3 and larger convolutions and maxima in parallel.

    An input `(n, h, w, in)` becomes `(n, h, w, ones + threes[1] + fives[1] + pooled)`.

    Args:
      in_features: channels of the input.
      ones: output channels of the 1x1 branch.
      threes: channels after the 1x1 reduction and after the convolution of the 3x3 branch.
      fives: the same pair for the branch with the largest kernel.
      pooled: output channels of the pooling branch.
      largest: pixels along a side of the largest kernel, 5 as published.
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

    Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), figure 2b.
    """

    def __init__(
        self,
        in_features: int,
        ones: int,
        threes: tuple[int, int],
        fives: tuple[int, int],
        pooled: int,
        *,
        largest: int = 5,
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
                chain(unit, in_features, (ones, 1)),
                chain(unit, in_features, (threes[0], 1), (threes[1], 3)),
                chain(unit, in_features, (fives[0], 1), (fives[1], largest)),
                Sequential([MaxPool((3, 3), 1, "SAME"), chain(unit, in_features, (pooled, 1))]),
            ]
        )
