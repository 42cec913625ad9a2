"""A call of the door: what a caller wrote, checked, and everything decided but the values."""

from __future__ import annotations

import functools
import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jconv._core.geometry import Pads, Sizes, Window, make_window, resolve_padding_mode
from jconv._core.layout import canonical_kernel, resolve_layout, spatial_sizes
from jconv._core.problem import Precision
from jconv._core.validation import as_listed, received
from jconv.selection.plan import Plan, resolve_plan


@dataclass(frozen=True)
class Call:
    """A call of the door with everything but the values decided."""

    window: Window
    mode_padding: Pads  # added by `padding_mode` before the window's own zeros
    padding_mode: str
    groups: int
    layout: lax.ConvDimensionNumbers
    flip: bool
    dtype: jnp.dtype
    precision: Precision
    preferred_element_type: jnp.dtype
    plan: Plan
    tolerance: float | None


def resolve_call(
    x_shape: Sizes,
    kernel_shape: Sizes,
    dtype: jnp.dtype,
    *,
    stride,
    padding,
    dilation,
    input_dilation,
    groups,
    layout,
    padding_mode="zeros",
    flip=False,
    precision=None,
    preferred_element_type=None,
    algorithm="auto",
    tolerance=None,
    may_be_empty=False,
) -> Call:
    """Checks every argument and decides everything that does not depend on values."""
    rank = check_ranks(x_shape, kernel_shape)
    layout = resolve_layout(layout, rank)
    _check_channels(x_shape[layout.lhs_spec[1]], kernel_shape, layout, groups)
    window = make_window(
        spatial_sizes(x_shape, layout.lhs_spec),
        spatial_sizes(kernel_shape, layout.rhs_spec),
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        may_be_empty=may_be_empty,
    )
    window, mode_padding = split_padding(window, padding_mode)
    if not isinstance(flip, bool | np.bool_):
        raise ValueError(f"`flip` must be True or False. {received('flip', flip)}")
    if not jnp.issubdtype(dtype, jnp.number):
        raise ValueError(
            f"`x` and `kernel` must be numbers: floats, integers or complex. Received: what "
            f"promotes to {dtype}. Convert with `.astype(jnp.float32)`."
        )
    if tolerance is not None and not (_is_real(tolerance) and 0 < tolerance < math.inf):
        raise ValueError(
            f"`tolerance` must be None or a positive number, such as 1e-4. "
            f"{received('tolerance', tolerance)}"
        )
    return Call(
        window=window,
        mode_padding=mode_padding,
        padding_mode=padding_mode,
        groups=int(groups),
        layout=layout,
        flip=bool(flip),
        dtype=dtype,
        precision=resolve_precision(precision),
        preferred_element_type=_resolve_dtype(preferred_element_type, dtype),
        plan=resolve_plan(algorithm),
        tolerance=tolerance,
    )


def check_ranks(
    x_shape: Sizes, kernel_shape: Sizes, kernel_name: str = "kernel", x_name: str = "x"
) -> int:
    """The number of spatial axes."""
    rank = len(kernel_shape) - 2
    if rank < 1:
        raise ValueError(
            f"`{kernel_name}` must have at least one spatial axis and two of channels, such as "
            f"(rows, columns, in, out). Received: shape {tuple(kernel_shape)}. "
            f"Add channels to a bare kernel with `[..., None, None]`."
        )
    if len(x_shape) != rank + 2:
        hint = (
            f"Add the batch axis with `{x_name}[None]`."
            if len(x_shape) == rank + 1
            else f"Fold further batch axes into one, or use `jax.vmap` over {x_name}."
            if len(x_shape) > rank + 2
            else f"Add the missing axes, such as `{x_name}[None, ..., None]`."
        )
        raise ValueError(
            f"`{x_name}` must have as many axes as `{kernel_name}`: batch, {rank} of space, "
            f"channels. Received: {x_name}.shape={tuple(x_shape)} with "
            f"{kernel_name}.shape={tuple(kernel_shape)}. {hint}"
        )
    return rank


def positive_groups(groups, name: str = "groups") -> int:
    """The number of groups, checked."""
    if not isinstance(groups, numbers.Integral) or isinstance(groups, bool) or groups < 1:
        raise ValueError(f"`{name}` must be a positive int. {received(name, groups)}")
    return int(groups)


def _check_channels(channels: int, kernel_shape: Sizes, layout, groups) -> None:
    out, into = (kernel_shape[axis] for axis in layout.rhs_spec[:2])
    groups = positive_groups(groups)
    for name, count in (("input", channels), ("output", out)):
        if count % groups:
            raise ValueError(
                f"`groups` must divide the {name} channels. Received: groups={groups} with "
                f"{count} {name} channels."
            )
    if into * groups != channels:
        hint = "Check `layout`."
        if into and channels and channels % into == 0:
            hint = f"Check `layout`, or give `groups={channels // into}` if the kernel is grouped."
        raise ValueError(
            f"`kernel` must take the channels of `x`, divided by `groups`: "
            f"{channels} / {groups} = {channels // groups}. Received: a kernel of shape "
            f"{tuple(kernel_shape)}, which takes {into}. {hint}"
        )


def split_padding(window: Window, mode: str) -> tuple[Window, Pads]:
    """Padding of a mode other than zeros becomes part of the input; a crop stays a crop."""
    if resolve_padding_mode(mode) == "zeros" or not any(
        side > 0 for pair in window.padding for side in pair
    ):
        return window, ()
    if any(gap > 1 for gap in window.input_dilation):
        raise ValueError(
            f"`padding_mode` must be 'zeros' where `input_dilation` is above 1: what lies beyond "
            f"the border of an input with gaps is not defined. Received: padding_mode={mode!r}, "
            f"input_dilation={window.input_dilation}."
        )
    if 0 in window.input:
        raise ValueError(
            f"`padding_mode` must be 'zeros' where the input has no pixels to continue. "
            f"Received: padding_mode={mode!r} with {window.input} pixels."
        )
    added = tuple((max(0, low), max(0, high)) for low, high in window.padding)
    cropped = tuple((min(0, low), min(0, high)) for low, high in window.padding)
    size = tuple(n + sum(pair) for n, pair in zip(window.input, added, strict=True))
    inner = Window(size, window.taps, window.stride, cropped, window.dilation,
                   window.input_dilation)  # fmt: skip
    return inner, added


def resolve_precision(precision) -> Precision:
    """What `lax.conv_general_dilated` takes, and makes of it."""
    if precision is None or isinstance(precision, lax.Precision):
        return precision
    if isinstance(precision, lax.DotAlgorithm | lax.DotAlgorithmPreset) or (
        isinstance(precision, str) and precision in lax.DotAlgorithmPreset.__members__
    ):
        return lax.Precision.DEFAULT  # as in lax: it says how to multiply matrices
    pair = precision if isinstance(precision, list | tuple) else (precision, precision)
    kinds = {type(p) for p in pair}
    if len(pair) == 2 and kinds in ({str}, {lax.Precision}):
        try:
            x, kernel = map(lax.Precision, pair)
        except ValueError:
            pass  # no such name
        else:
            return (x, kernel) if pair is precision else x
    raise ValueError(
        f"`precision` must be None, a `lax.Precision`, a name such as 'highest', a pair of either, "
        f"or a `lax.DotAlgorithmPreset` or its name, which counts as 'default'. "
        f"{received('precision', precision)}"
    )


def _resolve_dtype(preferred, dtype: jnp.dtype) -> jnp.dtype:
    if preferred is None:
        return dtype
    try:
        wanted = jnp.dtype(jax.dtypes.canonicalize_dtype(preferred))
    except (TypeError, ValueError):
        wanted = None
    if wanted is None or not jnp.issubdtype(wanted, jnp.number):
        raise ValueError(
            f"`preferred_element_type` must be None or a dtype of numbers, such as jnp.float32. "
            f"{received('preferred_element_type', preferred)}"
        )
    for kind, name in ((jnp.complexfloating, "complex"), (jnp.inexact, "floating or complex")):
        if jnp.issubdtype(dtype, kind) and not jnp.issubdtype(wanted, kind):
            raise ValueError(
                f"`preferred_element_type` must be {name} where input or kernel is. "
                f"Received: preferred_element_type={wanted} for {dtype}. Convert the result."
            )
    return wanted


def as_array(name: str, value) -> jax.Array:
    if isinstance(value, jax.Array):
        return value
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"`{name}` must be an array of numbers, or nested lists of them, that JAX can hold. "
            f"Received: {_kind(value)}"
        ) from None


def _kind(value) -> str:
    """What came in place of an array, and how to make one of it."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array. Fill its gaps with `.filled(0)`."
    if not isinstance(value, np.ndarray):
        return f"{type(value).__name__}. Convert it with `jnp.asarray`, or read it first."
    if not value.dtype.isnative:
        return (
            f"an array of {value.dtype.str!r}, whose bytes are in another order than this "
            f"machine's. Convert with `.astype({value.dtype.name!r})`."
        )
    return f"an array of {value.dtype}. Convert with `.astype('float32')` if it holds numbers."


def common_dtype(x_name: str, x, kernel_name: str, kernel) -> jnp.dtype:
    """The dtype to which both are promoted.

    Raises:
      ValueError: where there is none.
    """
    try:
        return jnp.result_type(x, kernel)
    except (TypeError, ValueError):
        pass  # said below, in words of the caller's
    for name, value in ((x_name, x), (kernel_name, kernel)):
        if jnp.issubdtype(value.dtype, jax.dtypes.extended):
            raise ValueError(
                f"`{name}` must be an array of numbers. Received: an array of {value.dtype}. "
                f"Draw numbers with it, as in `jax.random.normal(key, shape)`."
            )
    raise ValueError(
        f"`{x_name}` and `{kernel_name}` must have dtypes that JAX promotes to one, or the same. "
        f"Received: {x_name}.dtype={x.dtype}, {kernel_name}.dtype={kernel.dtype}. "
        f"Convert one of them with `.astype`."
    )


def renamed(error: ValueError, names: Mapping[str, str]) -> str:
    """The message of `error` with arguments named as another signature does.

    Names are found where messages have them: before a backtick, `=`, `.` or `[`.
    """
    pattern = rf"(?<![\w.])({'|'.join(names)})(?=[`=.\[])"
    return re.sub(pattern, lambda match: names[match[1]], str(error))


def resolved_call(x, kernel, **options) -> Call:
    """The call, remembered, with the plan for this kernel where the plan depends on values."""
    return resolved(resolve_call, x, kernel, **options)


def resolved(resolve: Callable[..., Call], x, kernel, **options) -> Call:
    """The same for another door, whose own `resolve` takes shapes and a dtype."""
    call = _call_of_shapes(resolve, x, kernel, **options)
    if not call.plan.reads_kernel or isinstance(kernel, Tracer):
        return call
    value = canonical_kernel(np.asarray(kernel), call.layout.rhs_spec, call.groups)
    return replace(call, plan=call.plan.for_kernel(value))


def _call_of_shapes(resolve: Callable[..., Call], x, kernel, **options) -> Call:
    """Options that are equal but not alike, 1 and True, are kept apart."""
    options = {name: frozen(value) for name, value in options.items()}
    arguments = (x.shape, kernel.shape, common_dtype("x", x, "kernel", kernel))
    # What `preferred_element_type` means depends on whether 64 bits are enabled.
    apart = (_types(tuple(options.values())), jax.config.read("jax_enable_x64"))
    try:
        return _remembered(resolve, *arguments, apart, **options)
    except TypeError:  # an option that cannot be looked up is no option: say which one
        return resolve(*arguments, **options)


@functools.lru_cache(maxsize=4096)
def _remembered(resolve, x_shape: Sizes, kernel_shape: Sizes, dtype, apart, **options) -> Call:
    return resolve(x_shape, kernel_shape, dtype, **options)


def frozen(value) -> Any:
    """Lists and arrays as tuples, so that a call can be looked up."""
    if type(value) in (int, str, bool, float, type(None)):
        return value
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if type(value) is tuple or isinstance(value, list | range | np.ndarray):
        return tuple(map(frozen, as_listed(value) or ()))
    return value


def _types(value):
    return tuple(map(_types, value)) if type(value) is tuple else type(value)


def _is_real(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
