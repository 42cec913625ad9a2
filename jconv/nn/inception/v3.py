"""Inception modules of the second and third generation: 5x5 as two 3x3, 7x7 as 1x7 and 7x1.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015),
figures 5 to 7 and 10, with the widths of the authors' network, in which module A keeps one 5x5.
"""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.linear import default_kernel_init

from jconv.algorithms import Algorithm
from jconv.nn.branches import Parallel
from jconv.nn.conv_norm import Activation, ConvNorm, chain
from jconv.nn.inception.branch_block import fork, pool_branch
from jconv.nn.pool import MaxPool
from jconv.selection.plan import Plan


class InceptionA(Parallel):
    """1x1, 5x5, two 3x3 and an average in parallel.

    An input `(n, h, w, in)` becomes `(n, h, w, 224 + pooled)`.

    Args:
      in_features: channels of the input.
      pooled: output channels of the pooling branch.
      count_include_pad: whether averages at the border count the padding, as in PyTorch's
        weights; not so in TensorFlow's.
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
        pooled: int,
        *,
        count_include_pad: bool = True,
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
                chain(unit, in_features, (64, 1)),
                chain(unit, in_features, (48, 1), (64, 5)),
                chain(unit, in_features, (64, 1), (96, 3), (96, 3)),
                pool_branch(unit, in_features, pooled, count_include_pad=count_include_pad),
            ]
        )


class InceptionB(Parallel):
    """3x3, two 3x3 and maxima in parallel, which halve rows and columns.

    An input of `in` channels becomes one of `480 + in`.

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
        in_features: int,
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
                chain(unit, in_features, (384, 3, 2)),
                chain(unit, in_features, (64, 1), (96, 3), (96, 3, 2)),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionC(Parallel):
    """1x7 and 7x1 convolutions in parallel branches: `(n, h, w, in)` to `(n, h, w, 768)`.

    Args:
      in_features: channels of the input.
      width: channels between the long kernels.
      count_include_pad: whether averages at the border count the padding, as in PyTorch's
        weights; not so in TensorFlow's.
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
        width: int,
        *,
        count_include_pad: bool = True,
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
        row, column, last = (width, (1, 7)), (width, (7, 1)), 192
        super().__init__(
            [
                chain(unit, in_features, (last, 1)),
                chain(unit, in_features, (width, 1), row, (last, (7, 1))),
                chain(unit, in_features, (width, 1), column, row, column, (last, (1, 7))),
                pool_branch(unit, in_features, last, count_include_pad=count_include_pad),
            ]
        )


class InceptionD(Parallel):
    """3x3, 7x7 and maxima in parallel, which halve rows and columns.

    An input of `in` channels becomes one of `512 + in`.

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
        in_features: int,
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
        seven = ((192, 1), (192, (1, 7)), (192, (7, 1)))
        super().__init__(
            [
                chain(unit, in_features, (192, 1), (320, 3, 2)),
                chain(unit, in_features, *seven, (192, 3, 2)),
                MaxPool((3, 3), 2),
            ]
        )


class InceptionE(Parallel):
    """1x3 and 3x1 convolutions in parallel: `(n, h, w, in)` to `(n, h, w, 2048)`.

    Args:
      in_features: channels of the input.
      count_include_pad: whether averages at the border count the padding, as in PyTorch's
        weights; not so in TensorFlow's.
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
        *,
        count_include_pad: bool = True,
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
                chain(unit, in_features, (320, 1)),
                fork(unit, in_features, [(384, 1)], 384),
                fork(unit, in_features, [(448, 1), (384, 3)], 384),
                pool_branch(unit, in_features, 192, count_include_pad=count_include_pad),
            ]
        )
