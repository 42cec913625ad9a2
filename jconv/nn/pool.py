"""Layers without parameters that reduce the spatial axes: pooling and flattening."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Num

from jconv._core.validation import as_array, hashable, per_axis
from jconv.functional.pooling import avg_pool, lp_pool, max_pool
from jconv.nn.layer_arguments import (
    AnyArray,
    axis_sizes,
    errors_in_flax_names,
    flax_names,
    is_channels_first,
    over_batch_axes,
)


class _Pool(nnx.Module):
    """Base of the pooling layers: `(*batch, *space, c)` to `(*batch, *output, c)`.

    Args:
      window_shape: pixels of the window along each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; the window's shape if None.
      padding: `"VALID"`, `"SAME"`, pairs, or whatever else `jconv.conv` takes.
      window_dilation: pixels between neighbouring pixels of a window.
      ceil_mode: whether the last window may extend beyond the padding; see `jconv.avg_pool`.
      layout: None for channels last, or a name such as `"NCHW"`.

    Raises:
      ValueError: if the window or the strides are not positive ints; when called, as
        `jconv.avg_pool`.
    """

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None,
        padding: Any,
        window_dilation: int | Sequence[int],
        ceil_mode: bool,
        layout: str | None,
    ):
        self.window_shape = axis_sizes("window_shape", window_shape)
        rank = len(self.window_shape)
        self.strides = per_axis(
            "strides", self.window_shape if strides is None else hashable(strides), rank
        )
        self.window_dilation = per_axis("window_dilation", hashable(window_dilation), rank)
        self.padding = hashable(padding)
        self.ceil_mode = ceil_mode
        is_channels_first(layout, rank)
        self.layout = layout

    def _pool(self, function: Callable, x, **options):
        """Apply a pooling function to every window of `x`."""

        def pool(x):
            with errors_in_flax_names(dilation="window_dilation"):
                return function(
                    x,
                    self.window_shape,
                    stride=self.strides,
                    padding=self.padding,
                    dilation=self.window_dilation,
                    ceil_mode=self.ceil_mode,
                    **options,
                )

        return over_batch_axes(
            "x", pool, as_array("x", x), len(self.window_shape), layout=self.layout
        )


class MaxPool(_Pool):
    """Maximum of each window: `(*batch, *space, c)` to `(*batch, *output, c)`.

    Args:
      window_shape: pixels of the window along each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; the window's shape if None.
      padding: `"VALID"`, `"SAME"`, pairs, or whatever else `jconv.conv` takes.
      window_dilation: pixels between neighbouring pixels of a window.
      ceil_mode: whether the last window may extend beyond the padding; see `jconv.max_pool`.
      return_indices: whether to return the pair (maxima, indices); see `jconv.max_pool`.
      layout: None for channels last, or a name such as `"NCHW"`.
    """

    @flax_names
    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        window_dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        layout: str | None = None,
    ):
        super().__init__(window_shape, strides, padding, window_dilation, ceil_mode, layout)
        self.return_indices = return_indices

    def __call__(self, x: Any) -> Any:
        """Return the maxima of `x`, or the pair (maxima, indices) with `return_indices`."""
        return self._pool(max_pool, x, return_indices=self.return_indices)


class AvgPool(_Pool):
    """Mean of each window: `(*batch, *space, c)` to `(*batch, *output, c)`.

    Args:
      window_shape: pixels of the window along each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; the window's shape if None.
      padding: as in `MaxPool`.
      window_dilation: pixels between neighbouring pixels of a window.
      ceil_mode: whether the last window may extend beyond the padding; see `jconv.avg_pool`.
      count_include_pad: whether to divide by the size of the window including its padding, or
        else by the number of pixels of the input in it.
      layout: None for channels last, or a name such as `"NCHW"`.
    """

    @flax_names
    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        window_dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        layout: str | None = None,
    ):
        super().__init__(window_shape, strides, padding, window_dilation, ceil_mode, layout)
        self.count_include_pad = count_include_pad

    def __call__(self, x: Any) -> Num[AnyArray, "..."]:
        """Return the means of `x`."""
        return self._pool(avg_pool, x, count_include_pad=self.count_include_pad)


class LpPool(_Pool):
    """p-norm of each window: `(*batch, *space, c)` to `(*batch, *output, c)`.

    Args:
      window_shape: pixels of the window along each spatial axis; an int is one axis.
      strides: pixels between neighbouring windows; the window's shape if None.
      padding: as in `MaxPool`.
      p: exponent of the norm, at least 1.
      window_dilation: pixels between neighbouring pixels of a window.
      ceil_mode: whether the last window may extend beyond the padding; see `jconv.lp_pool`.
      layout: None for channels last, or a name such as `"NCHW"`.
    """

    @flax_names
    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        padding: Any = "VALID",
        *,
        p: float = 2,
        window_dilation: int | Sequence[int] = 1,
        ceil_mode: bool = False,
        layout: str | None = None,
    ):
        super().__init__(window_shape, strides, padding, window_dilation, ceil_mode, layout)
        self.p = p

    def __call__(self, x: Any) -> Num[AnyArray, "..."]:
        """Return the norms of `x`."""
        return self._pool(lp_pool, x, p=self.p)


class GlobalAveragePool(nnx.Module):
    """Mean over all spatial axes: `(n, *space, c)` to `(n, c)`."""

    def __call__(self, x: Num[AnyArray, "n *space c"]) -> Num[AnyArray, "n c"]:
        """Return the mean of each channel of each image in `x`."""
        return jnp.mean(x, axis=range(1, x.ndim - 1))


class Flatten(nnx.Module):
    """Flattening of all axes but the batch: `(n, *space, c)` to `(n, space * c)`."""

    def __call__(self, x: Num[AnyArray, "n *rest"]) -> Num[AnyArray, "n features"]:
        """Return `x` with one axis of features."""
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
