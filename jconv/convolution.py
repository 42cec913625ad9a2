"""The door: checks what a caller wrote, once, and brings it to the canonical primitive."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jconv.algorithms import ALGORITHMS, Algorithm, resolve_algorithm
from jconv.algorithms.algorithm import Precision, Problem
from jconv.layout import (
    canonical_input,
    canonical_kernel,
    from_canonical,
    resolve_layout,
    spatial_sizes,
)
from jconv.primitive import convolve
from jconv.window import Pads, Sizes, Window, as_listed, make_window, resolve_padding_mode

_JNP_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def conv(
    x,
    kernel,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
    flip: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    algorithm: str | Algorithm = "auto",
    tolerance: float | None = None,
) -> jax.Array:
    """Slides a kernel over an input, in one, two, three or more dimensions.

    Cross-correlation, as in deep learning:

        y[n, o, f] = sum over t, c of x[n, o * stride + t * dilation - pad, c] kernel[t, c, f]

    `flip=True` turns the kernel round first and gives the convolution of mathematics.

    Args:
      x: the input, `(n, *space, ci)`; `(n, ci, *space)` with `layout="NCHW"`.
      kernel: `(*space, ci / groups, co)`; `(co, ci / groups, *space)` with `layout="NCHW"`.
      stride: pixels between neighbouring outputs; one for all axes, or one for each.
      padding: `"SAME"` (as many outputs as inputs, over the stride; an odd pixel goes after),
        `"SAME_LOWER"` (before), `"VALID"` (none), `"FULL"` (every output that sees a pixel),
        `"CAUSAL"` (1-D; none that sees a later one), an int, or for each axis an int or a pair
        (before, after). Negative padding crops.
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: into how many parts the channels are split, each with its own kernels.
      padding_mode: what lies beyond the border: `"zeros"`, `"reflect"` (the edge pixel is not
        repeated), `"replicate"` or `"circular"`.
      layout: None for channels last; a name such as `"NCHW"`, with the kernel layout
        `OIHW` that goes with it; or a triple of layouts for
        input, kernel and output that `lax.conv_dimension_numbers` takes.
      flip: turn the kernel round along every spatial axis.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result; by default what input and kernel promote to.
        16-bit floats are always summed in float32.
      algorithm: `"auto"`, a name in `jconv.ALGORITHMS`, or one of its values.
      tolerance: keeps `"auto"` from algorithms whose error bound is larger, and larger than that
        of `"xla"`, which is never barred.

    Returns:
      The output, `(n, *space, co)` in the layout of the input.

    Raises:
      ValueError: naming the argument, what is allowed, what was received and what to do.

    >>> x = jnp.arange(1.0, 17).reshape(1, 4, 4, 1)
    >>> prewitt = jnp.array([[-1.0, 0, 1]] * 3)[:, :, None, None]
    >>> conv(x, prewitt, padding="VALID")[0, :, :, 0]
    Array([[6., 6.],
           [6., 6.]], dtype=float32)
    """
    x, kernel = _array("x", x), _array("kernel", kernel)
    call = _resolved(
        x,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        groups=groups,
        padding_mode=padding_mode,
        layout=layout,
        flip=flip,
        precision=precision,
        preferred_element_type=preferred_element_type,
        algorithm=algorithm,
        tolerance=tolerance,
    )
    return _convolve(x, kernel, call)


def depthwise_conv(x, kernel, *, layout: Any = None, **options) -> jax.Array:
    """Gives every channel kernels of its own and mixes none.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      kernel: `(*space, c, multiplier)` in every layout: `multiplier` kernels a channel.
      layout: of input and output; the kernel's is fixed.
      **options: as in `jconv.conv`, without `groups`.

    Returns:
      `(n, *space, c * multiplier)`; output `c * multiplier + m` is channel `c` under its kernel
      `m`.

    Raises:
      ValueError: as in `jconv.conv`.
    """
    if "groups" in options:
        raise ValueError(
            f"`groups` must not be given: each channel of a depthwise convolution is a group. "
            f"Received: groups={options['groups']!r}. Use `jconv.conv` for grouped convolution."
        )
    x, kernel = _array("x", x), _array("kernel", kernel)
    rank = _check_ranks(x.shape, kernel.shape)
    numbers_ = resolve_layout(_frozen(layout), rank)
    channels, multiplier = kernel.shape[-2:]
    if x.shape[numbers_.lhs_spec[1]] != channels:
        raise ValueError(
            f"`kernel` must have the shape (*space, channels, multiplier), with the "
            f"{x.shape[numbers_.lhs_spec[1]]} channels of `x`. Received: kernel.shape="
            f"{kernel.shape}, x.shape={x.shape}."
        )
    kernel = kernel.reshape(*kernel.shape[:-2], 1, channels * multiplier)
    channels_last = resolve_layout(None, rank)
    return conv(
        x, kernel, groups=channels, layout=numbers_._replace(rhs_spec=channels_last.rhs_spec),
        **options,
    )  # fmt: skip


def separable_conv(x, depthwise, pointwise, *, layout: Any = None, **options) -> jax.Array:
    """Filters each channel by itself, then mixes the channels pixel by pixel.

    A k x k kernel from `ci` to `co` channels costs `1/co + 1/k^2` of the dense one.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      depthwise: `(*space, c, multiplier)`, as in `jconv.depthwise_conv`.
      pointwise: `(c * multiplier, co)`, or the same with a 1 for every spatial axis before it.
      layout: of input and output; the kernels' is fixed.
      **options: as in `jconv.conv`, without `groups`; stride, padding and dilation are those of
        the depthwise pass.

    Returns:
      `(n, *space, co)`.

    Raises:
      ValueError: as in `jconv.conv`.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
    """
    x, depthwise, pointwise = (
        _array("x", x), _array("depthwise", depthwise), _array("pointwise", pointwise)
    )  # fmt: skip
    rank = _check_ranks(x.shape, depthwise.shape, "depthwise")
    mixed = depthwise.shape[-2] * depthwise.shape[-1]
    ones = (1,) * rank
    if pointwise.shape[:-1] not in ((mixed,), (*ones, mixed)):
        raise ValueError(
            f"`pointwise` must have the shape ({mixed}, out), or {(*ones, mixed, 'out')}: "
            f"channels * multiplier of `depthwise` come in. "
            f"Received: pointwise.shape={pointwise.shape}, depthwise.shape={depthwise.shape}."
        )
    pointwise = pointwise.reshape(*ones, mixed, pointwise.shape[-1])
    y = depthwise_conv(x, depthwise, layout=layout, **options)
    kernel_last = resolve_layout(_frozen(layout), rank)._replace(
        rhs_spec=resolve_layout(None, rank).rhs_spec
    )
    numerics = ("precision", "preferred_element_type", "algorithm", "tolerance")
    kept = {name: value for name, value in options.items() if name in numerics}
    # The depthwise pass has brought its output to the output's layout already.
    both = kernel_last._replace(lhs_spec=kernel_last.out_spec)
    return conv(y, pointwise, padding="VALID", layout=both, **kept)


def conv_general_dilated(
    lhs,
    rhs,
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
    algorithm: str | Algorithm = "auto",
    padding_mode: str = "zeros",
) -> jax.Array:
    """`lax.conv_general_dilated` by jconv's algorithms, to put in its place.

    Args:
      lhs: the input.
      rhs: the kernel.
      window_strides: as in `lax`, like all that follow up to `out_sharding`.
      padding: a name or pairs; as in `lax`, a kernel that fits nowhere makes an empty output.
      lhs_dilation: `input_dilation` of `jconv.conv`.
      rhs_dilation: `dilation` of `jconv.conv`.
      dimension_numbers: `layout` of `jconv.conv`; None is NCHW with OIHW, as in `lax`.
      feature_group_count: `groups` of `jconv.conv`.
      batch_group_count: into how many parts the batch is split, each with its own kernels.
      precision: as in `lax`.
      preferred_element_type: as in `lax`.
      out_sharding: the sharding of the result on a mesh with explicit axes.
      algorithm: as in `jconv.conv`.
      padding_mode: as in `jconv.conv`.

    Raises:
      ValueError: as in `jconv.conv`.
    """
    lhs, rhs = _array("lhs", lhs), _array("rhs", rhs)
    rank = _check_ranks(lhs.shape, rhs.shape, "rhs", "lhs")
    if dimension_numbers is None:
        spec = tuple(range(rank + 2))
        dimension_numbers = lax.ConvDimensionNumbers(spec, spec, spec)
    numbers_ = resolve_layout(_frozen(dimension_numbers), rank)
    if batch_group_count != 1:
        lhs = _batch_groups_to_channels(lhs, numbers_, feature_group_count, batch_group_count)
    call = _resolved(
        lhs,
        rhs,
        stride=window_strides,
        padding=padding,
        dilation=1 if rhs_dilation is None else rhs_dilation,
        input_dilation=1 if lhs_dilation is None else lhs_dilation,
        groups=feature_group_count * batch_group_count,
        padding_mode=padding_mode,
        layout=numbers_,
        flip=False,
        precision=precision,
        preferred_element_type=preferred_element_type,
        algorithm=algorithm,
        tolerance=None,
        may_be_empty=True,
    )
    y = _convolve(lhs, rhs, call)
    return y if out_sharding is None else jax.sharding.reshard(y, out_sharding)


def output_shape(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: Any = None,
) -> tuple[int, ...]:
    """The shape of `jconv.conv(x, kernel, ...)`, without computing it.

    Raises:
      ValueError: as `jconv.conv` would.

    >>> output_shape((1, 224, 224, 3), (7, 7, 3, 64), stride=2, padding=3)
    (1, 112, 112, 64)
    """
    geometry = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "input_dilation": input_dilation,
        "groups": groups,
        "layout": layout,
    }
    frozen = {name: _frozen(value) for name, value in geometry.items()}
    call = _resolve(tuple(x_shape), tuple(kernel_shape), jnp.dtype(jnp.float32), **frozen)
    batch, feature, *space = call.layout.out_spec
    shape = [0] * len(x_shape)
    shape[batch] = x_shape[call.layout.lhs_spec[0]]
    shape[feature] = kernel_shape[call.layout.rhs_spec[0]]
    for axis, size in zip(space, call.window.output, strict=True):
        shape[axis] = size
    return tuple(shape)


@dataclass(frozen=True)
class _Call:
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
    algorithm: Algorithm | str
    tolerance: float | None


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _convolve(x, kernel, call: _Call):
    """One cached `jit` for eager calls, inlined where it is traced."""
    lhs_spec, rhs_spec, out_spec = call.layout
    x, kernel = x.astype(call.dtype), kernel.astype(call.dtype)
    if call.flip:
        kernel = jnp.flip(kernel, rhs_spec[2:])
    x = canonical_input(x, lhs_spec, call.groups)
    kernel = canonical_kernel(kernel, rhs_spec, call.groups)
    if call.mode_padding:
        edges = [(0, 0), (0, 0), *call.mode_padding, (0, 0), (0, 0)]
        x = jnp.pad(x, edges, mode=_JNP_MODE[call.padding_mode])
    y = convolve(
        x,
        kernel,
        window=call.window,
        algorithm=call.algorithm,
        tolerance=call.tolerance,
        precision=call.precision,
        preferred_element_type=call.preferred_element_type,
    )
    return from_canonical(y, out_spec)


def _resolve(
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
) -> _Call:
    """Checks every argument and decides everything that does not depend on values."""
    rank = _check_ranks(x_shape, kernel_shape)
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
    window, mode_padding = _split_padding(window, padding_mode)
    if flip not in (True, False):
        raise ValueError(f"`flip` must be True or False. Received: flip={flip!r}.")
    if not jnp.issubdtype(dtype, jnp.number):
        raise ValueError(
            f"`x` and `kernel` must be numbers: floats, integers or complex. Received: what "
            f"promotes to {dtype}. Convert with `.astype(jnp.float32)`."
        )
    if tolerance is not None and not (_is_real(tolerance) and tolerance > 0):
        raise ValueError(
            f"`tolerance` must be None or a positive number, such as 1e-4. "
            f"Received: tolerance={tolerance!r}."
        )
    call = _Call(
        window=window,
        mode_padding=mode_padding,
        padding_mode=padding_mode,
        groups=groups,
        layout=layout,
        flip=bool(flip),
        dtype=dtype,
        precision=_resolve_precision(precision),
        preferred_element_type=_resolve_dtype(preferred_element_type, dtype),
        algorithm=resolve_algorithm(algorithm),
        tolerance=tolerance,
    )
    if isinstance(call.algorithm, Algorithm):
        _check_supported(call.algorithm, call, x_shape, kernel_shape)
    return call


def _check_ranks(
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


def _check_channels(channels: int, kernel_shape: Sizes, layout, groups) -> None:
    out, into = (kernel_shape[axis] for axis in layout.rhs_spec[:2])
    if not isinstance(groups, numbers.Integral) or isinstance(groups, bool) or groups < 1:
        raise ValueError(f"`groups` must be a positive int. Received: groups={groups!r}.")
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


def _split_padding(window: Window, mode: str) -> tuple[Window, Pads]:
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


def _check_supported(
    algorithm: Algorithm, call: _Call, x_shape: Sizes, kernel_shape: Sizes
) -> None:
    lhs, rhs = call.layout.lhs_spec, call.layout.rhs_spec
    problem = Problem(
        window=call.window,
        pairs=1,
        images=x_shape[lhs[0]],
        groups=call.groups,
        inputs=kernel_shape[rhs[1]],
        outputs=kernel_shape[rhs[0]] // call.groups,
        dtype=call.dtype,
    )
    reason = algorithm.supports(problem)
    if reason is not None:
        able = [name for name, other in ALGORITHMS.items() if other.supports(problem) is None]
        raise ValueError(
            f"`algorithm` must be one that can do this convolution: {able}. "
            f"Received: algorithm={algorithm!r}, which cannot, because {reason}."
        )


def _resolve_precision(precision) -> Precision:
    if isinstance(precision, tuple) and len(precision) == 2:
        x, kernel = (lax.Precision.DEFAULT if p is None else p for p in precision)
        return (_one_precision(x), _one_precision(kernel))
    return None if precision is None else _one_precision(precision)


def _one_precision(precision) -> lax.Precision:
    try:
        return lax.Precision(precision)
    except ValueError:
        raise ValueError(
            f"`precision` must be None, a `lax.Precision`, a name such as 'highest', or a pair of "
            f"these. Received: precision={precision!r}."
        ) from None


def _resolve_dtype(preferred, dtype: jnp.dtype) -> jnp.dtype:
    if preferred is None:
        return dtype
    try:
        wanted = jnp.dtype(jax.dtypes.canonicalize_dtype(preferred))
    except TypeError:
        wanted = None
    if wanted is None or not jnp.issubdtype(wanted, jnp.number):
        raise ValueError(
            f"`preferred_element_type` must be None or a dtype of numbers. "
            f"Received: preferred_element_type={preferred!r}."
        )
    for kind, name in ((jnp.complexfloating, "complex"), (jnp.inexact, "floating or complex")):
        if jnp.issubdtype(dtype, kind) and not jnp.issubdtype(wanted, kind):
            raise ValueError(
                f"`preferred_element_type` must be {name} where input or kernel is. "
                f"Received: preferred_element_type={wanted} for {dtype}. Convert the result."
            )
    return wanted


def _batch_groups_to_channels(lhs, layout, feature_group_count, batch_group_count):
    """Part `i` of the batch meets part `i` of the kernels: so do groups of channels."""
    batch, feature = layout.lhs_spec[:2]
    if feature_group_count != 1:
        raise ValueError(
            f"`batch_group_count` and `feature_group_count` must not both be above 1. Received: "
            f"batch_group_count={batch_group_count}, feature_group_count={feature_group_count}."
        )
    if batch_group_count < 1 or lhs.shape[batch] % batch_group_count:
        raise ValueError(
            f"`batch_group_count` must be positive and divide the batch. Received: "
            f"batch_group_count={batch_group_count} with a batch of {lhs.shape[batch]}."
        )
    shape = list(lhs.shape)
    shape[batch : batch + 1] = [batch_group_count, shape[batch] // batch_group_count]
    feature += feature > batch
    lhs = jnp.moveaxis(lhs.reshape(shape), batch, feature - (feature > batch))
    group = feature - (feature > batch)
    shape = list(lhs.shape)
    shape[group : group + 2] = [math.prod(shape[group : group + 2])]
    return lhs.reshape(shape)


def _array(name: str, value) -> jax.Array:
    if isinstance(value, jax.Array):
        return value
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError):
        kind = (
            f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        )
        raise ValueError(
            f"`{name}` must be an array of numbers, or nested lists of them, that JAX can hold. "
            f"Received: {kind}."
        ) from None


def _resolved(x, kernel, **options) -> _Call:
    """`_resolve`, remembered; options that are equal but not alike, 1 and True, are kept apart."""
    options = {name: _frozen(value) for name, value in options.items()}
    arguments = (x.shape, kernel.shape, jnp.result_type(x, kernel))
    # What `preferred_element_type` means depends on whether 64 bits are enabled.
    apart = (_types(tuple(options.values())), jax.config.read("jax_enable_x64"))
    try:
        return _remembered(*arguments, apart, **options)
    except TypeError:  # an option that cannot be looked up is no option: say which one
        return _resolve(*arguments, **options)


@functools.lru_cache(maxsize=4096)
def _remembered(x_shape: Sizes, kernel_shape: Sizes, dtype: jnp.dtype, apart, **options) -> _Call:
    return _resolve(x_shape, kernel_shape, dtype, **options)


def _frozen(value) -> Any:
    """Lists and arrays as tuples, so that a call can be looked up."""
    if type(value) in (int, str, bool, float, type(None)):
        return value
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if type(value) is tuple or isinstance(value, list | range | np.ndarray):
        return tuple(map(_frozen, as_listed(value) or ()))
    return value


def _types(value):
    return tuple(map(_types, value)) if type(value) is tuple else type(value)


def _is_real(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
