"""Inception modules whose output is added to their input.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figures 16 to 20 and 7, with the widths of the authors' network.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init
from jaxtyping import Num

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv import Conv
from jconv.nn.conv_norm import Activation, ConvNorm, chain
from jconv.nn.inception.branch_block import BranchBlock, pool_branch
from jconv.nn.layer_arguments import AnyArray
from jconv.nn.pool import MaxPool
from jconv.selection.plan import Plan


class _Residual(nnx.Module):
    """Base of the residual modules: `activation(x + scale * mix(branches(x)))`.

    A subclass defines its channels, its branches as chains of `(width, size)`, and its scale.

    Args:
      scale: factor of the branches' output before it is added; None for the published one.
      activation: activation of the sum; None for none, as in the last module of the network.
      norm: whether convolutions of the branches are followed by batch normalisation; see
        `ConvNorm`, also for what follows.
      epsilon: number added to variances.
      momentum: momentum of the running statistics.
      dtype: dtype of the computation.
      param_dtype: dtype of the parameters.
      precision: precision of the products.
      kernel_init: initializer of the kernels.
      algorithm: algorithm of the convolutions.
      rngs: random streams for the initial parameters.
    """

    in_features: ClassVar[int]
    chains: ClassVar[tuple[tuple[tuple, ...], ...]]
    published_scale: ClassVar[float]

    def __init__(
        self,
        *,
        scale: float | None = None,
        activation: Activation | None = nnx.relu,
        norm: bool = True,
        epsilon: float = 1e-3,
        momentum: float = 0.9,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        shared: dict[str, Any] = dict(
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            algorithm=algorithm,
            rngs=rngs,
        )
        unit = functools.partial(ConvNorm, norm=norm, epsilon=epsilon, momentum=momentum, **shared)
        self.branches = Parallel([chain(unit, self.in_features, *steps) for steps in self.chains])
        width = sum(steps[-1][0] for steps in self.chains)
        self.mix = Conv(width, self.in_features, (1, 1), **shared)
        self.scale = self.published_scale if scale is None else scale
        self.activation = activation

    def __call__(self, x: Num[AnyArray, "n h w c"]) -> Num[AnyArray, "n h w c"]:
        """Return `x` plus the scaled output of the branches."""
        y = x + self.scale * self.mix(self.branches(x))
        return y if self.activation is None else self.activation(y)


class InceptionResNetStem(BranchBlock):
    """Module before the residual ones: `(n, h, w, 192)` to `(n, h, w, 320)`."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 192, (96, 1)),
            chain(unit, 192, (48, 1), (64, 5)),
            chain(unit, 192, (64, 1), (96, 3), (96, 3)),
            pool_branch(unit, 192, 64, count_include_pad=False),
        ]


class InceptionResNetA(_Residual):
    """Residual module of 1x1, 3x3 and two 3x3: `(n, h, w, 320)` to the same shape."""

    in_features = 320
    chains = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
    published_scale = 0.17


class InceptionResNetReductionA(BranchBlock):
    """Halving of rows and columns: `(n, h, w, 320)` to `(n, h / 2, w / 2, 1088)`."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 320, (384, 3, 2)),
            chain(unit, 320, (256, 1), (256, 3), (384, 3, 2)),
            MaxPool((3, 3), 2),
        ]


class InceptionResNetB(_Residual):
    """Residual module of 1x1, and 1x7 with 7x1: `(n, h, w, 1088)` to the same shape."""

    in_features = 1088
    chains = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
    published_scale = 0.10


class InceptionResNetReductionB(BranchBlock):
    """Halving of rows and columns: `(n, h, w, 1088)` to `(n, h / 2, w / 2, 2080)`."""

    def _branches(self, unit: Callable[..., nnx.Module]) -> list[nnx.Module]:
        return [
            chain(unit, 1088, (256, 1), (384, 3, 2)),
            chain(unit, 1088, (256, 1), (288, 3, 2)),
            chain(unit, 1088, (256, 1), (288, 3), (320, 3, 2)),
            MaxPool((3, 3), 2),
        ]


class InceptionResNetC(_Residual):
    """Residual module of 1x1, and 1x3 with 3x1: `(n, h, w, 2080)` to the same shape."""

    in_features = 2080
    chains = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))
    published_scale = 0.20
