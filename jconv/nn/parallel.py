"""Parallel convolution: one image seen through kernels of several sizes, side by side."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv.algorithms import Algorithm
from jconv.nn.conv import Conv
from jconv.plan import Plan

# The block of the text that jconv grew from: 64 kernels of each size.
WIDTHS = {1: 64, 3: 64, 5: 64}


class ParallelConv(nnx.Module):
    """The Inception module in its plain form: `(n, h, w, in)` to `(n, h, w, sum of widths)`.

    Each branch convolves the whole input with kernels of one size, padded to keep its size, and
    applies the activation; the branches are concatenated along channels, in the order of `widths`.

    Args:
      in_features: channels of the input.
      widths: output channels for each kernel size, such as `{1: 16, 3: 32, 5: 8}`.
      activation: applied to each branch; None for none.
      algorithm: how every branch convolves; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels.

    Raises:
      ValueError: for widths that are empty or not positive ints.

    >>> block = ParallelConv(3, {1: 64, 3: 64, 5: 64}, rngs=nnx.Rngs(0))
    >>> block(jnp.ones((1, 224, 224, 3))).shape
    (1, 224, 224, 192)

    Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), figure 2a.
    """

    def __init__(
        self,
        in_features: int,
        widths: Mapping[int, int] = WIDTHS,
        *,
        activation: Callable[[jax.Array], jax.Array] | None = nnx.relu,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
    ):
        _check_widths(widths)
        self.branches = nnx.List(
            Conv(in_features, width, (size, size), algorithm=algorithm, rngs=rngs)
            for size, width in widths.items()
        )
        self.activation = activation
        self.concatenate = Concatenate()

    def __call__(self, x: Num[Array, "n h w ci"]) -> Num[Array, "n h w co"]:
        y = [branch(x) for branch in self.branches]
        if self.activation is not None:
            y = [self.activation(branch) for branch in y]
        return self.concatenate(y)


class Concatenate(nnx.Module):
    """Joins a list of arrays along their channels, the last axis."""

    def __call__(self, xs: list[Num[Array, "..."]]) -> Num[Array, "..."]:
        if hasattr(xs, "shape"):
            raise ValueError(
                "`xs` must be a list of arrays. Received: one array. "
                "Put the arrays into a list: concatenate([a, b])."
            )
        return jnp.concatenate(xs, axis=-1)


def _check_widths(widths) -> None:
    is_size = lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0
    if (
        not isinstance(widths, Mapping)
        or not widths
        or not all(map(is_size, (*widths, *widths.values())))
    ):
        raise ValueError(
            f"`widths` must map each kernel size to its output channels, all positive ints, such "
            f"as {{1: 16, 3: 32, 5: 8}}. Received: widths={widths!r}."
        )
