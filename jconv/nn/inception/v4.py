"""Inception modules of the fourth generation.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figures 3 to 9.
"""

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
from jconv.nn.inception.branch_block import BranchBlock, fork, pool_branch
from jconv.nn.pool import MaxPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan


class InceptionV4Stem(Sequential):
    """Convolutions and maxima in parallel branches: `(n, h, w, in)` to `(n, h / 8, w / 8, 384)`.

    Args:
      in_features: channels of the input.
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
        in_features: int = 3,
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
        valid = functools.partial(unit, padding="VALID")
        seven = ((64, 1), (64, (1, 7)), (64, (7, 1)))
        super().__init__(
            [
                chain(valid, in_features, (32, 3, 2)),
                chain(valid, 32, (32, 3)),
                chain(unit, 32, (64, 3)),
                Parallel([MaxPool((3, 3), 2), chain(unit, 64, (96, 3, 2))]),
                Parallel(
                    [
                        Sequential([chain(unit, 160, (64, 1)), chain(valid, 64, (96, 3))]),
                        Sequential([chain(unit, 160, *seven), chain(valid, 64, (96, 3))]),
                    ]
                ),
                Parallel([chain(unit, 192, (192, 3, 2)), MaxPool((3, 3), 2)]),
            ]
        )


class InceptionV4A(BranchBlock):
    """1x1, 3x3, two 3x3 and an average in parallel: `(n, h, w, 384)` to the same shape."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 384, (96, 1)),
            chain(unit, 384, (64, 1), (96, 3)),
            chain(unit, 384, (64, 1), (96, 3), (96, 3)),
            pool_branch(unit, 384, 96, count_include_pad=False),
        ]


class InceptionV4ReductionA(BranchBlock):
    """Halving of rows and columns: `(n, h, w, 384)` to `(n, h / 2, w / 2, 1024)`."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 384, (384, 3, 2)),
            chain(unit, 384, (192, 1), (224, 3), (256, 3, 2)),
            MaxPool((3, 3), 2),
        ]


class InceptionV4B(BranchBlock):
    """1x7 and 7x1 convolutions in parallel branches: `(n, h, w, 1024)` to the same shape."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        double = ((192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)))
        return [
            chain(unit, 1024, (384, 1)),
            chain(unit, 1024, (192, 1), (224, (1, 7)), (256, (7, 1))),
            chain(unit, 1024, (192, 1), *double),
            pool_branch(unit, 1024, 128, count_include_pad=False),
        ]


class InceptionV4ReductionB(BranchBlock):
    """Halving of rows and columns: `(n, h, w, 1024)` to `(n, h / 2, w / 2, 1536)`."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        seven = ((256, 1), (256, (1, 7)), (320, (7, 1)))
        return [
            chain(unit, 1024, (192, 1), (192, 3, 2)),
            chain(unit, 1024, *seven, (320, 3, 2)),
            MaxPool((3, 3), 2),
        ]


class InceptionV4C(BranchBlock):
    """1x3 and 3x1 convolutions in parallel: `(n, h, w, 1536)` to the same shape."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 1536, (256, 1)),
            fork(unit, 1536, [(384, 1)], 256),
            fork(unit, 1536, [(384, 1), (448, (3, 1)), (512, (1, 3))], 256),
            pool_branch(unit, 1536, 256, count_include_pad=False),
        ]
