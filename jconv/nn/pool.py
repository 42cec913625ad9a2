"""Layers without parameters that bring space down: pooling and flattening."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv._core.validation import as_array, hashable, per_axis, rename_arguments
from jconv.functional.pooling import avg_pool, lp_pool, max_pool
from jconv.nn.conv import axis_sizes


class _Pool(nnx.Module):
    """What all poolings share: `(n, *space, c)` to `(n, *output, c)`; any batch axes, or none.

    Args:
      window: pixels of the window, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; those of the window if None.
      padding: `"VALID"`, `"SAME"`, pairs, or what else `jconv.conv` takes.
      dilation: pixels between neighbouring pixels of a window.
      ceil: let the last window reach beyond the padding; see `jconv.avg_pool`.

    Raises:
      ValueError: for a window or strides that are no positive ints; when called, as
        `jconv.avg_pool`.
    """

    def __init__(
        self,
        window: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        dilation: int | Sequence[int] = 1,
        ceil: bool = False,
    ):
        self.window = axis_sizes("window", window)
        self.strides = per_axis(
            "strides", self.window if strides is None else hashable(strides), len(self.window)
        )
        self.padding = hashable(padding)
        self.dilation = hashable(dilation)
        self.ceil = ceil

    def _pooled(self, pool: Callable, x, **options):
        x, rank = as_array("x", x), len(self.window)
        if x.ndim <= rank:
            raise ValueError(
                f"`x` must end in {rank} axes of space and one of channels, as `window` says. "
                f"Received: x.shape={x.shape}. Add axes, or make another layer."
            )
        batch, image = x.shape[: -rank - 1], x.shape[-rank - 1 :]
        try:
            y = pool(
                x.reshape(math.prod(batch), *image),
                self.window,
                stride=self.strides,
                padding=self.padding,
                dilation=self.dilation,
                ceil_mode=self.ceil,
                **options,
            )
        except ValueError as error:
            error.args = (rename_arguments(error, {"window_shape": "window", "stride": "strides"}),)
            raise
        return y.reshape(*batch, *y.shape[1:])


class MaxPool(_Pool):
    """Keeps the largest value of each window: `(n, *space, c)` to `(n, *space / strides, c)`.

    Args:
      window: pixels of the window, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; those of the window if None.
      padding: `"VALID"`, `"SAME"`, pairs, or what else `jconv.conv` takes.
      dilation: pixels between neighbouring pixels of a window.
      ceil: let the last window reach beyond the padding; see `jconv.max_pool`.
    """

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return self._pooled(max_pool, x)


class AvgPool(_Pool):
    """Averages each window: `(n, *space, c)` to `(n, *space / strides, c)`.

    Args:
      window: pixels of the window, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; those of the window if None.
      padding: as in `MaxPool`.
      dilation: pixels between neighbouring pixels of a window.
      ceil: let the last window reach beyond the padding; see `jconv.avg_pool`.
      count_include_pad: divide by the pixels of the window and its padding, not by its pixels
        alone. Unlike Flax and torch this starts as False.
    """

    def __init__(
        self,
        window: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        dilation: int | Sequence[int] = 1,
        ceil: bool = False,
        count_include_pad: bool = False,
    ):
        super().__init__(window, strides, padding, dilation=dilation, ceil=ceil)
        self.count_include_pad = count_include_pad

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return self._pooled(avg_pool, x, count_include_pad=self.count_include_pad)


class LpPool(_Pool):
    """Takes the p-norm of each window: `(n, *space, c)` to `(n, *space / strides, c)`.

    Args:
      window: pixels of the window, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; those of the window if None.
      padding: as in `MaxPool`.
      p: at least 1.
      dilation: pixels between neighbouring pixels of a window.
      ceil: let the last window reach beyond the padding; see `jconv.lp_pool`.
    """

    def __init__(
        self,
        window: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        p: float = 2,
        dilation: int | Sequence[int] = 1,
        ceil: bool = False,
    ):
        super().__init__(window, strides, padding, dilation=dilation, ceil=ceil)
        self.p = p

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return self._pooled(lp_pool, x, p=self.p)


class GlobalAveragePool(nnx.Module):
    """Averages over all of space: `(n, *space, c)` to `(n, c)`."""

    def __call__(self, x: Num[Array, "n *space c"]) -> Num[Array, "n c"]:
        return jnp.mean(x, axis=range(1, x.ndim - 1))


class Flatten(nnx.Module):
    """Lays everything but the batch out in one axis: `(n, *space, c)` to `(n, space * c)`."""

    def __call__(self, x: Num[Array, "n *rest"]) -> Num[Array, "n features"]:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
