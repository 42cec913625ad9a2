"""Parallel convolution: one image seen through kernels of several sizes, side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Num

from jconv.algorithms import Algorithm
from jconv.nn.branches import Concatenate
from jconv.nn.conv import Conv, DepthwiseConv
from jconv.nn.conv_norm import ConvNorm, square
from jconv.nn.pool import AvgPool, MaxPool
from jconv.nn.sequential import Sequential
from jconv.selection.plan import Plan

# The block of the text that jconv grew from: 64 kernels of each size.
WIDTHS = {1: 64, 3: 64, 5: 64}

POOLS = {"max": MaxPool, "average": AvgPool}


@dataclass(frozen=True, kw_only=True)
class Branch:
    """What one branch of a `ParallelConv` does, in this order: pool, reduce, convolve.

    Args:
      width: output channels.
      kernel: pixels of the kernel; an int is a square one.
      dilation: pixels between neighbouring taps.
      reduce: channels that a 1x1 convolution, a bottleneck, leaves first; None for none.
      factorised: convolve along rows, then along columns: `1 x n`, then `n x 1`.
      depthwise: convolve each channel by itself, then mix them by a 1x1 convolution.
      pool: `"max"` or `"average"` of 3x3 pixels first; None for neither.

    Raises:
      ValueError: for sizes that are no positive ints, or another pool.
    """

    width: int
    kernel: int | Sequence[int] = 3
    dilation: int = 1
    reduce: int | None = None
    factorised: bool = False
    depthwise: bool = False
    pool: str | None = None

    def __post_init__(self):
        for name in ("width", "dilation", "reduce"):
            value = getattr(self, name)
            if not _is_size(value) and not (name == "reduce" and value is None):
                raise ValueError(f"`{name}` must be a positive int. Received: {name}={value!r}.")
        object.__setattr__(self, "kernel", square("kernel", self.kernel))
        if self.pool is not None and self.pool not in POOLS:
            raise ValueError(
                f"`pool` must be None or one of {list(POOLS)}. Received: pool={self.pool!r}."
            )

    def layers(self, in_features: int, **options) -> list[nnx.Module]:
        """The branch's layers, the last without an activation; `options` are of `ConvNorm`."""
        layers: list[nnx.Module] = []
        if self.pool is not None:
            layers.append(POOLS[self.pool]((3, 3), 1, "SAME"))
        if self.reduce is not None:
            layers.append(ConvNorm(in_features, self.reduce, 1, **options))
            in_features = self.reduce
        kernel = square("kernel", self.kernel)
        sizes = [kernel]
        if self.factorised:
            ones = (1,) * len(kernel)
            sizes = [(*ones[:i], n, *ones[i + 1 :]) for i, n in enumerate(kernel)][::-1]
        for i, size in enumerate(sizes):
            own: dict[str, Any] = options | ({"activation": None} if i == len(sizes) - 1 else {})
            if self.depthwise:
                layers.append(
                    DepthwiseConv(
                        in_features,
                        size,
                        use_bias=False,
                        kernel_dilation=self.dilation,
                        algorithm=options.get("algorithm", "auto"),
                        rngs=options["rngs"],
                    )
                )
                size = (1,) * len(size)
                layers.append(ConvNorm(in_features, self.width, size, **own))
            else:
                layers.append(
                    ConvNorm(in_features, self.width, size, dilation=self.dilation, **own)
                )
            in_features = self.width
        return layers


class ParallelConv(nnx.Module):
    """The Inception module, in its plain form or with any branches: `(n, h, w, in)` to
    `(n, h, w, sum of widths)`.

    Each branch sees the whole input and keeps its rows and columns; the activation is applied to
    each, and they are concatenated along channels, in the order of `widths`.

    Args:
      in_features: channels of the input.
      widths: output channels for each kernel size, such as `{1: 16, 3: 32, 5: 8}`, or a list of
        `Branch`es.
      norm: whether convolutions are followed by batch normalisation; needs `Branch`es.
      activation: applied to each branch, and between its layers; None for none.
      algorithm: how every branch convolves; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels.

    Raises:
      ValueError: for widths that are empty, not positive ints, or no branches.

    >>> import jax.numpy as jnp
    >>> block = ParallelConv(3, {1: 64, 3: 64, 5: 64}, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 224, 224, 3))).shape
    (1, 224, 224, 192)
    >>> block = ParallelConv(
    ...     3,
    ...     [
    ...         Branch(width=8, kernel=1),
    ...         Branch(width=8, kernel=3, dilation=2),
    ...         Branch(width=8, kernel=7, reduce=4, factorised=True),
    ...         Branch(width=8, kernel=5, depthwise=True),
    ...         Branch(width=8, kernel=1, pool="max"),
    ...     ],
    ...     rngs=nnx.Rngs(0),
    ... )
    >>> block(jnp.ones((1, 32, 32, 3))).shape
    (1, 32, 32, 40)

    Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), figure 2.
    """

    def __init__(
        self,
        in_features: int,
        widths: Mapping[int, int] | Sequence[Branch] = WIDTHS,
        *,
        norm: bool = False,
        activation: Callable[[jax.Array], jax.Array] | None = nnx.relu,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        _check_widths(widths)
        if isinstance(widths, Mapping):
            if norm:
                raise ValueError(
                    "`norm` must be False where `widths` maps sizes to channels. "
                    "Received: norm=True. Give a list of `Branch`es."
                )
            branches = [
                Conv(in_features, width, (size, size), algorithm=algorithm, rngs=rngs)
                for size, width in widths.items()
            ]
        else:
            options: dict[str, Any] = dict(
                norm=norm, activation=activation, algorithm=algorithm, rngs=rngs
            )
            branches = [Sequential(branch.layers(in_features, **options)) for branch in widths]
        self.branches = nnx.List(branches)
        self.activation = activation
        self.concatenate = Concatenate()

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n h w co"]:
        y = [branch(x) for branch in self.branches]
        if self.activation is not None:
            y = [self.activation(branch) for branch in y]
        return self.concatenate(y)


def _is_size(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_widths(widths) -> None:
    if isinstance(widths, Mapping):
        fine = all(map(_is_size, (*widths, *widths.values())))
    else:
        fine = isinstance(widths, Sequence) and all(isinstance(b, Branch) for b in widths)
    if not fine or not widths:
        raise ValueError(
            f"`widths` must map each kernel size to its output channels, all positive ints, such "
            f"as {{1: 16, 3: 32, 5: 8}}, or be a list of `Branch`es. Received: widths={widths!r}."
        )
