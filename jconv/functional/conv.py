"""The door: checks what a caller wrote, once, and brings it to the canonical primitive."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export, lax

from jconv._core.geometry import Pads
from jconv._core.layout import canonical_input, canonical_kernel, from_canonical, resolve_layout
from jconv._core.validation import as_listed, check_int, received
from jconv.algorithms import Algorithm
from jconv.functional.conv_spec import (
    Call,
    as_array,
    check_ranks,
    frozen,
    positive_groups,
    renamed,
    resolve_call,
    resolved_call,
)
from jconv.functional.primitive import convolve
from jconv.selection.plan import Plan

JNP_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}

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
    """A wrong argument where `lax` raises now the one and now the other."""


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
    algorithm: str | Algorithm | Plan = "auto",
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
      algorithm: `"auto"`, a name in `jconv.ALGORITHMS`, one of its values, which the gradients
        use too where they can, or a `jconv.Plan` of all three.
      tolerance: keeps `"auto"` from algorithms whose error bound is larger, and larger than that
        of `"xla"`, which is never barred; None is 1e-4 in float32, 1e-12 in float64.

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
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    call = resolved_call(
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
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    rank = check_ranks(x.shape, kernel.shape)
    numbers_ = resolve_layout(frozen(layout), rank)
    channels, multiplier = kernel.shape[-2:]
    if x.shape[numbers_.lhs_spec[1]] != channels:
        raise ValueError(
            f"`kernel` must have the shape (*space, channels, multiplier), with the "
            f"{x.shape[numbers_.lhs_spec[1]]} channels of `x`. Received: kernel.shape="
            f"{kernel.shape}, x.shape={x.shape}."
        )
    if channels == 0:
        raise ValueError(
            f"`kernel` and `x` must have at least one channel. Received: "
            f"kernel.shape={kernel.shape}, x.shape={x.shape}."
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
        as_array("x", x), as_array("depthwise", depthwise), as_array("pointwise", pointwise)
    )  # fmt: skip
    rank = check_ranks(x.shape, depthwise.shape, "depthwise")
    mixed = depthwise.shape[-2] * depthwise.shape[-1]
    ones = (1,) * rank
    if pointwise.shape[:-1] not in ((mixed,), (*ones, mixed)):
        raise ValueError(
            f"`pointwise` must have the shape ({mixed}, out), or {(*ones, mixed, 'out')}: "
            f"channels * multiplier of `depthwise` come in. "
            f"Received: pointwise.shape={pointwise.shape}, depthwise.shape={depthwise.shape}."
        )
    pointwise = pointwise.reshape(*ones, mixed, pointwise.shape[-1])
    kernel_last = resolve_layout(frozen(layout), rank)._replace(
        rhs_spec=resolve_layout(None, rank).rhs_spec
    )
    numerics = ("precision", "preferred_element_type", "algorithm", "tolerance")
    kept = {name: value for name, value in options.items() if name in numerics}
    # The depthwise pass has brought its output to the output's layout already.
    both = kernel_last._replace(lhs_spec=kernel_last.out_spec)
    kernel = "depthwise"  # which of the two an error is about
    try:
        y = depthwise_conv(x, depthwise, layout=layout, **options)
        kernel = "pointwise"
        return conv(y, pointwise, padding="VALID", layout=both, **kept)
    except ValueError as error:
        error.args = (renamed(error, {"kernel": kernel}),)
        raise


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
    algorithm: str | Algorithm | Plan = "auto",
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
      ValueError: as in `jconv.conv`; it is a `TypeError` too, which `lax` raises for some.
    """
    try:
        lhs, rhs = as_array("x", lhs), as_array("kernel", rhs)
        rank = check_ranks(lhs.shape, rhs.shape)
        if dimension_numbers is None:
            spec = tuple(range(rank + 2))
            dimension_numbers = lax.ConvDimensionNumbers(spec, spec, spec)
        groups = feature_group_count
        if type(batch_group_count) is not int or batch_group_count != 1:
            parts = positive_groups(frozen(batch_group_count), "batch_group_count")
            groups = positive_groups(frozen(groups))
            layout = resolve_layout(frozen(dimension_numbers), rank)
            lhs = _batch_groups_to_channels(lhs, rhs, layout, groups, parts)
            groups *= parts
        call = resolved_call(
            lhs,
            rhs,
            stride=window_strides,
            padding=padding,
            dilation=1 if rhs_dilation is None else rhs_dilation,
            input_dilation=1 if lhs_dilation is None else lhs_dilation,
            groups=groups,
            padding_mode=padding_mode,
            layout=dimension_numbers,
            flip=False,
            precision=precision,
            preferred_element_type=preferred_element_type,
            algorithm=algorithm,
            tolerance=None,
            may_be_empty=True,
        )
    except ValueError as error:
        raise ArgumentError(renamed(error, LAX_NAMES)) from None
    y = _convolve(lhs, rhs, call)
    return y if out_sharding is None else resharded(y, out_sharding)


def resharded(y, out_sharding) -> jax.Array:
    """`y` on the mesh as `out_sharding` says."""
    try:
        return jax.sharding.reshard(y, out_sharding)
    except (TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            f"`out_sharding` must be None, or a sharding of the result's {y.ndim} axes on a mesh "
            f"with explicit axes. {received('out_sharding', out_sharding)} JAX says: {error}"
        ) from None


def output_shape(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
    flip: bool = False,
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
        "padding_mode": padding_mode,
        "layout": layout,
        "flip": flip,
    }
    options = {name: frozen(value) for name, value in geometry.items()}
    x_shape, kernel_shape = _shape("x_shape", x_shape), _shape("kernel_shape", kernel_shape)
    if len(kernel_shape) < 3 or len(x_shape) != len(kernel_shape):
        raise ValueError(
            f"`x_shape` and `kernel_shape` must be of one length, with at least one spatial axis "
            f"and two of batch and channels. Received: x_shape={x_shape}, "
            f"kernel_shape={kernel_shape}. Add a 1 for each axis that is missing."
        )
    try:
        call = resolve_call(x_shape, kernel_shape, jnp.dtype(jnp.float32), **options)
    except ValueError as error:
        raise ValueError(renamed(error, {"x": "x_shape", "kernel": "kernel_shape"})) from None
    batch, feature, *space = call.layout.out_spec
    shape = [0] * len(x_shape)
    shape[batch] = x_shape[call.layout.lhs_spec[0]]
    shape[feature] = kernel_shape[call.layout.rhs_spec[0]]
    for axis, size in zip(space, call.window.output, strict=True):
        shape[axis] = size
    return tuple(shape)


def _shape(name: str, value: Any) -> tuple[Any, ...]:
    sizes = as_listed(frozen(value))
    if sizes is None:
        raise ValueError(
            f"`{name}` must be a shape, such as (1, 224, 224, 3). {received(name, value)}"
        )
    return tuple(
        n if export.is_symbolic_dim(n) else check_int(name, n, min=0, hint=" along every axis")
        for n in sizes
    )


def beyond_border(x, added: Pads, mode: str):
    """Continues a canonical input beyond its border."""
    return jnp.pad(x, [(0, 0), (0, 0), *added, (0, 0), (0, 0)], mode=JNP_MODES[mode])


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _convolve(x, kernel, call: Call):
    """One cached `jit` for eager calls, inlined where it is traced."""
    lhs_spec, rhs_spec, out_spec = call.layout
    x, kernel = x.astype(call.dtype), kernel.astype(call.dtype)
    if call.flip:
        kernel = jnp.flip(kernel, rhs_spec[2:])
    x = canonical_input(x, lhs_spec, call.groups)
    kernel = canonical_kernel(kernel, rhs_spec, call.groups)
    if call.mode_padding:
        x = beyond_border(x, call.mode_padding, call.padding_mode)
    y = convolve(
        x,
        kernel,
        window=call.window,
        **call.plan.choices,
        tolerance=call.tolerance,
        precision=call.precision,
        preferred_element_type=call.preferred_element_type,
    )
    return from_canonical(y, out_spec)


def _batch_groups_to_channels(lhs, rhs, layout, groups: int, parts: int):
    """Part `i` of the batch meets part `i` of the kernels: so do groups of channels."""
    batch, feature = layout.lhs_spec[:2]
    out, into = layout.rhs_spec[:2]
    if parts > 1 and groups > 1:
        raise ValueError(
            f"`batch_group_count` and `groups` must not both be above 1. Received: "
            f"batch_group_count={parts}, groups={groups}. Use one of them."
        )
    for what, count in (("batch", lhs.shape[batch]), ("output channels", rhs.shape[out])):
        if count % parts:
            raise ValueError(
                f"`batch_group_count` must divide the {what}. Received: "
                f"batch_group_count={parts} with {count}. Use a divisor, such as 1."
            )
    if rhs.shape[into] * groups != lhs.shape[feature]:
        raise ValueError(
            f"`kernel` must take the {lhs.shape[feature]} channels of `x`. Received: a kernel of "
            f"shape {rhs.shape}, which takes {rhs.shape[into]}. Check `layout`."
        )
    shape = list(lhs.shape)
    shape[batch : batch + 1] = [parts, shape[batch] // parts]
    feature += feature > batch
    lhs = jnp.moveaxis(lhs.reshape(shape), batch, feature - (feature > batch))
    group = feature - (feature > batch)
    shape = list(lhs.shape)
    shape[group : group + 2] = [math.prod(shape[group : group + 2])]
    return lhs.reshape(shape)
