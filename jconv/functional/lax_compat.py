"""`jconv.conv_general_dilated`: the function of `lax`, with jconv's algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import ConvOptions, make_spec
from jconv._core.layout import resolve_layout
from jconv._core.validation import (
    as_array,
    check_divides,
    check_int,
    check_ranks,
    hashable,
    received,
    rename_arguments,
)
from jconv.algorithms import Algorithm
from jconv.functional.conv import apply_spec
from jconv.selection.plan import Plan, make_plan
from jconv.selection.select import make_selector

LAX_NAMES = {
    "x": "lhs",
    "kernel": "rhs",
    "stride": "window_strides",
    "input_dilation": "lhs_dilation",
    "dilation": "rhs_dilation",
    "layout": "dimension_numbers",
    "groups": "feature_group_count",
}


class ArgumentError(ValueError, TypeError):
    """A wrong argument of a function of `lax`, which raises either of the two."""


def conv_general_dilated(
    lhs: Num[ArrayLike, ...],
    rhs: Num[ArrayLike, ...],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    *,
    algorithm: str | Algorithm | Plan = "auto",
    padding_mode: str = "zeros",
) -> Num[Array, ...]:
    """Compute `lax.conv_general_dilated` with the algorithms of jconv.

    Args:
      lhs: the input.
      rhs: the kernel.
      window_strides: as in `lax`, like all that follow up to `out_sharding`.
      padding: a name or pairs; as in `lax`, a kernel that fits nowhere makes an empty output.
      lhs_dilation: `input_dilation` of `jconv.conv`.
      rhs_dilation: `dilation` of `jconv.conv`.
      dimension_numbers: `layout` of `jconv.conv`; None is NCHW with OIHW, as in `lax`.
      feature_group_count: `groups` of `jconv.conv`.
      batch_group_count: the number of parts of the batch, each with its own kernels.
      precision: as in `lax`.
      preferred_element_type: as in `lax`.
      out_sharding: the sharding of the result on a mesh with explicit axes.
      algorithm: as in `jconv.conv`.
      padding_mode: as in `jconv.conv`.

    Raises:
      ValueError: as in `jconv.conv`; it is a `TypeError` too, which `lax` raises for some.
    """
    try:
        lhs, rhs = as_array("x", lhs), as_array("kernel", rhs)
        rank = check_ranks(lhs.shape, rhs.shape)
        if dimension_numbers is None:
            axes = tuple(range(rank + 2))
            dimension_numbers = lax.ConvDimensionNumbers(axes, axes, axes)
        groups = feature_group_count
        if type(batch_group_count) is not int or batch_group_count != 1:
            parts = check_int("batch_group_count", hashable(batch_group_count), min=1)
            groups = check_int("groups", hashable(groups), min=1)
            layout = resolve_layout(hashable(dimension_numbers), rank)
            lhs = _batch_groups_to_channels(lhs, rhs, layout, groups, parts)
            groups *= parts
        options = ConvOptions(
            stride=window_strides,
            padding=padding,
            dilation=1 if rhs_dilation is None else rhs_dilation,
            input_dilation=1 if lhs_dilation is None else lhs_dilation,
            groups=groups,
            padding_mode=padding_mode,
            layout=dimension_numbers,
            precision=precision,
            preferred_element_type=preferred_element_type,
            may_be_empty=True,
        )
        spec, plan = make_spec(lhs, rhs, options), make_plan(algorithm)
    except ValueError as error:
        raise ArgumentError(rename_arguments(error, LAX_NAMES)) from None
    y = apply_spec(lhs, rhs, spec, plan, make_selector(None))
    return y if out_sharding is None else resharded(y, out_sharding)


def resharded(y, out_sharding) -> jax.Array:
    """Return `y` with another sharding.

    Raises:
      ArgumentError: if it is not a sharding of `y` on a mesh with explicit axes.
    """
    try:
        return jax.sharding.reshard(y, out_sharding)
    except (TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"`out_sharding` must be None, or a sharding of the result's {y.ndim} axes on a mesh "
            f"with explicit axes. {received('out_sharding', out_sharding)} JAX says: {error}"
        ) from None


def _batch_groups_to_channels(lhs, rhs, layout, groups: int, parts: int) -> jax.Array:
    """Turn each part of the batch, which has separate kernels, into a group of channels."""
    batch, feature = layout.lhs_spec[:2]
    out, into = layout.rhs_spec[:2]
    if parts > 1 and groups > 1:
        raise ValueError(
            f"`batch_group_count` and `groups` must not both be above 1. Received: "
            f"batch_group_count={parts}, groups={groups}. Use one of them."
        )
    counts = {"batch": lhs.shape[batch], "output channels": rhs.shape[out]}
    check_divides("batch_group_count", parts, counts)
    channels = lhs.shape[feature]
    if rhs.shape[into] * groups != channels:
        raise ValueError(
            f"`kernel` must take the {channels} channels of `x`. Received: a kernel of "
            f"shape {rhs.shape}, which takes {rhs.shape[into]}. Check `layout`."
        )
    images = lhs.shape[batch] // parts
    lhs = jnp.moveaxis(lhs, (batch, feature), (0, 1))
    space = lhs.shape[2:]
    lhs = jnp.moveaxis(lhs.reshape(parts, images, channels, *space), 0, 1)
    return jnp.moveaxis(lhs.reshape(images, parts * channels, *space), (0, 1), (batch, feature))
