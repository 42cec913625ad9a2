"""Layers without parameters that bring space down: pooling and flattening."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num


class MaxPool(nnx.Module):
    """Keeps the largest value of each window: `(n, *space, c)` to `(n, *space / strides, c)`.

    Args:
      window: pixels of the window, one for each spatial axis.
      strides: pixels between neighbouring windows; those of the window if None.
      padding: `"VALID"`, `"SAME"` or pairs.
    """

    def __init__(
        self,
        window: Sequence[int],
        strides: Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] = "VALID",
    ):
        self.window = tuple(window)
        self.strides = self.window if strides is None else tuple(strides)
        self.padding = padding

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return nnx.max_pool(x, self.window, self.strides, self.padding)  # pyright: ignore[reportArgumentType]


class GlobalAveragePool(nnx.Module):
    """Averages over all of space: `(n, *space, c)` to `(n, c)`."""

    def __call__(self, x: Num[Array, "n *space c"]) -> Num[Array, "n c"]:
        return jnp.mean(x, axis=range(1, x.ndim - 1))


class Flatten(nnx.Module):
    """Lays everything but the batch out in one axis: `(n, *space, c)` to `(n, space * c)`."""

    def __call__(self, x: Num[Array, "n *rest"]) -> Num[Array, "n features"]:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
