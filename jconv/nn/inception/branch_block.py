"""Base of the Inception modules whose branches take only the options of their convolutions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import Activation, ConvNorm, chain
from jconv.nn.pool import AvgPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class BranchBlock(Parallel):
    """Branches of `ConvNorm`s on the same input, concatenated along channels.

    A subclass lists its branches in `_branches`.

    Args:
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
        super().__init__(self._branches(unit))

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        """Return the branches, whose convolutions are made by `unit`."""
        raise NotImplementedError


def pool_branch(
    unit: Callable[..., nnx.Module], in_features: int, width: int, *, count_include_pad: bool
) -> nnx.Module:
    """Return the pooling branch: averages of 3x3 pixels, then a 1x1 convolution."""
    pool = AvgPool((3, 3), 1, "SAME", count_include_pad=count_include_pad)
    return Sequential([pool, chain(unit, in_features, (width, 1))])


def fork(
    unit: Callable[..., nnx.Module], in_features: int, steps: list[tuple], width: int
) -> nnx.Module:
    """Return some convolutions, then 1x3 and 3x1 in parallel with `width` channels each."""
    ends = [chain(unit, steps[-1][0], (width, size)) for size in ((1, 3), (3, 1))]
    return Sequential([chain(unit, in_features, *steps), Parallel(ends)])
