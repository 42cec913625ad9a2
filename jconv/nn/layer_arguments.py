"""Arguments that many layers share: their names, their checks, and the axes of their inputs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jconv._core.conv_spec import resolve_precision
from jconv._core.layout import resolve_layout
from jconv._core.renamed_keywords import reject_renamed
from jconv._core.validation import (
    as_listed,
    check_int,
    hashable,
    per_axis,
    received,
    rename_arguments,
)

AnyArray = jax.Array | np.ndarray

# The spellings of torch, of jconv's functions and of earlier releases, and the names in Flax.
flax_names = reject_renamed(
    {
        "in_channels": ("in_features",),
        "out_channels": ("out_features",),
        "features": ("in_features", "num_features"),
        "kernel": ("kernel_size",),
        "stride": ("strides",),
        "dilation": ("kernel_dilation", "window_dilation"),
        "groups": ("feature_group_count",),
        "bias": ("use_bias",),
        "window": ("window_shape",),
        "ceil": ("ceil_mode",),
        "squeezed": ("se_features",),
        "reduced": ("se_features",),
        "drop": ("drop_path_rate",),
    }
)


@contextlib.contextmanager
def errors_in_flax_names(**names: str) -> Iterator[None]:
    """Rename the arguments in errors of jconv's functions to those of the layer that calls them.

    Args:
      **names: the layer's name of further arguments, beside the names in Flax.
    """
    layer_names = {
        "stride": "strides",
        "dilation": "kernel_dilation",
        "groups": "feature_group_count",
        **names,
    }
    try:
        yield
    except ValueError as error:
        error.args = (rename_arguments(error, layer_names),)
        raise


def axis_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Return one positive size for each spatial axis; an int is the size of a single axis."""
    listed = as_listed(hashable(sizes))
    hint = ", or one for each spatial axis"
    checked = tuple(
        check_int(name, n, min=1, hint=hint) for n in ((sizes,) if listed is None else listed)
    )
    if not checked:
        raise ValueError(f"`{name}` must have at least one spatial axis. {received(name, sizes)}")
    return checked


def per_axis_or_one(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """Return one positive int for each spatial axis; None is 1, as in Flax."""
    return per_axis(name, 1 if value is None else hashable(value), rank)


def check_features(in_features: Any, out_features: Any, groups: Any = 1) -> tuple[int, int, int]:
    """Return the checked numbers of input features, output features and groups.

    Raises:
      ValueError: if one is not a positive int, or the groups do not divide the features.
    """
    sizes = {"in_features": in_features, "out_features": out_features}
    for name, value in sizes.items():
        sizes[name] = check_int(name, value, min=1)
    groups = check_int("feature_group_count", groups, min=1)
    for name, features in sizes.items():
        if features % groups:
            raise ValueError(
                f"`feature_group_count` must divide `{name}`. Received: "
                f"feature_group_count={groups} with {name}={features}. Change one of them."
            )
    return sizes["in_features"], sizes["out_features"], groups


def check_parameters(
    rngs: Any,
    *,
    use_bias: Any,
    kernel_init: Any,
    bias_init: Any,
    param_dtype: Any,
    dtype: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
    promote_dtype: Any = None,
) -> None:
    """Check the options of a layer's parameters and of their dtypes.

    Raises:
      ValueError: for options that would fail inside of Flax or JAX.
    """
    if not hasattr(rngs, "params"):
        raise ValueError(f"`rngs` must be `nnx.Rngs(seed)`. {received('rngs', rngs)}")
    resolve_precision(hashable(precision))
    _check_dtype("param_dtype", param_dtype, jnp.inexact)
    if dtype is not None:
        _check_dtype("dtype", dtype, jnp.inexact)
    if preferred_element_type is not None:
        _check_dtype("preferred_element_type", preferred_element_type, jnp.number)
    functions = {"kernel_init": kernel_init, "bias_init": bias_init, "promote_dtype": promote_dtype}
    for name, function in functions.items():
        if not callable(function) and not (name == "promote_dtype" and function is None):
            raise ValueError(
                f"`{name}` must be a function, such as those of `jax.nn.initializers`. "
                f"{received(name, function)}"
            )
    if not isinstance(use_bias, bool):
        raise ValueError(f"`use_bias` must be True or False. {received('use_bias', use_bias)}")


def _check_dtype(name: str, dtype: Any, kind: Any) -> None:
    try:
        if dtype is not None and jnp.issubdtype(jnp.dtype(dtype), kind):
            return
    except (TypeError, ValueError):
        pass  # The error below names the argument.
    raise ValueError(
        f"`{name}` must be a dtype of {'floats' if kind is jnp.inexact else 'numbers'}, "
        f"such as jnp.float32. {received(name, dtype)}"
    )


def check_mask(mask: Any, kernel_shape: Sequence[int]) -> None:
    """Check that `mask` is None or an array of the kernel's shape.

    Raises:
      ValueError: if it is neither.
    """
    if mask is not None and getattr(mask, "shape", None) != tuple(kernel_shape):
        raise ValueError(
            f"`mask` must be None or an array of the kernel's shape {tuple(kernel_shape)}. "
            f"Received: {getattr(mask, 'shape', type(mask).__name__)}."
        )


def is_channels_first(layout: Any, rank: int) -> bool:
    """Return whether inputs of a layer have their channels before the spatial axes.

    Raises:
      ValueError: unless `layout` is None or the name of a layout with the batch first.
    """
    spec = resolve_layout(hashable(layout), rank).lhs_spec
    if not (layout is None or isinstance(layout, str)):
        raise ValueError(
            f"`layout` of a layer must be None or a name such as 'NHWC' or 'NCHW': the layout of "
            f"its kernel is fixed. {received('layout', layout)}"
        )
    return spec[1] == 1


def over_batch_axes(
    name: str,
    function: Callable[[jax.Array], Any],
    x: jax.Array,
    rank: int,
    channels: int | None = None,
    layout: Any = None,
) -> Any:
    """Apply a function of `(n, *space, c)` to an input with any number of batch axes, or none.

    Args:
      name: name of the input, for errors.
      function: takes and returns an array `(n, *space, c)`, or returns a tuple of them.
      x: the input, `(*batch, *space, c)`, or `(*batch, c, *space)` where `layout` says so.
      rank: the number of spatial axes.
      channels: the number of channels that the layer takes; None for any.
      layout: None for channels last, or a name such as `"NCHW"`.

    Raises:
      ValueError: if `x` has too few axes, or other channels.
    """
    channel_axis = -rank - 1 if is_channels_first(layout, rank) else -1
    if x.ndim <= rank or channels not in (None, x.shape[channel_axis]):
        count = "" if channels is None else f"{channels} "
        order = f"{rank} axes of space and one of {count}channels"
        if channel_axis != -1:
            order = f"one axis of {count}channels and {rank} of space"
        raise ValueError(
            f"`{name}` must end in {order}, as the layer's sizes say. Received: "
            f"{name}.shape={x.shape}. Move or add axes, or make another layer."
        )
    x = jnp.moveaxis(x, channel_axis, -1)
    batch, image = x.shape[: -rank - 1], x.shape[-rank - 1 :]
    y = function(x.reshape(math.prod(batch), *image))
    restore = lambda y: jnp.moveaxis(y.reshape(*batch, *y.shape[1:]), -1, channel_axis)
    return tuple(map(restore, y)) if isinstance(y, tuple) else restore(y)
