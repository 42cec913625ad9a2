"""The specification of one convolution: its arguments, checked and resolved, but for the arrays.

`ConvOptions` holds what a caller passed. `make_spec` checks it against the shapes of the operands,
once for each combination, and returns a hashable `ConvSpec`, in which padding is pixels and layouts
are axis numbers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Pads, Sizes, Window, make_window, resolve_padding_mode
from jconv._core.layout import resolve_layout, spatial_sizes
from jconv._core.problem import Precision, Problem
from jconv._core.validation import (
    check_divides,
    check_flag,
    check_int,
    check_ranks,
    common_dtype,
    hashable,
    received,
)


@dataclass(frozen=True)
class ConvSpec:
    """One convolution with everything decided but the values and the algorithm.

    Args:
      window: the spatial axes.
      mode_padding: pixels that `padding_mode` adds before the window's own zeros.
      padding_mode: what these pixels contain.
      groups: the number of groups of channels.
      layout: axis numbers of input, kernel and output.
      flip: whether the kernel is reversed first.
      dtype: the dtype that input and kernel are converted to.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
    """

    window: Window
    mode_padding: Pads
    padding_mode: str
    groups: int
    layout: lax.ConvDimensionNumbers
    flip: bool
    dtype: jnp.dtype
    precision: Precision
    preferred_element_type: jnp.dtype

    def problem(self, x_shape: Sizes, kernel_shape: Sizes) -> Problem:
        """Return the canonical problem that this specification poses for operands of these sizes.

        Args:
          x_shape: shape of the input, in the layout of the caller.
          kernel_shape: shape of the kernel, in the layout of the caller.
        """
        return Problem(
            window=self.window,
            pairs=1,
            images=x_shape[self.layout.lhs_spec[0]],
            groups=self.groups,
            inputs=kernel_shape[self.layout.rhs_spec[1]],
            outputs=kernel_shape[self.layout.rhs_spec[0]] // self.groups,
            dtype=self.dtype,
            result=self.preferred_element_type,
        )

    def output_shape(self, x_shape: Sizes, kernel_shape: Sizes) -> Sizes:
        """Return the shape of the output, in the layout of the caller."""
        batch, feature, *space = self.layout.out_spec
        shape = [0] * len(x_shape)
        shape[batch] = x_shape[self.layout.lhs_spec[0]]
        shape[feature] = kernel_shape[self.layout.rhs_spec[0]]
        for axis, size in zip(space, self.window.output, strict=True):
            shape[axis] = size
        return tuple(shape)


class ConvOptions(NamedTuple):
    """The options of `jconv.conv` that do not depend on the algorithm, as the caller passed them.

    `may_be_empty` allows a kernel that fits nowhere, whose output has no pixels.
    """

    stride: Any = 1
    padding: Any = "SAME"
    dilation: Any = 1
    input_dilation: Any = 1
    groups: Any = 1
    padding_mode: Any = "zeros"
    layout: Any = None
    flip: Any = False
    precision: Any = None
    preferred_element_type: Any = None
    may_be_empty: bool = False

    def resolve(self, x_shape: Sizes, kernel_shape: Sizes, dtype: jnp.dtype) -> ConvSpec:
        """Return the specification for operands of these shapes.

        Args:
          x_shape: shape of the input.
          kernel_shape: shape of the kernel.
          dtype: the dtype to which both are promoted.

        Raises:
          ValueError: if an argument is invalid; the message names it and the allowed values.
        """
        rank = check_ranks(x_shape, kernel_shape)
        layout = resolve_layout(self.layout, rank)
        groups = check_int("groups", self.groups, min=1)
        _check_channels(x_shape[layout.lhs_spec[1]], kernel_shape, layout, groups)
        window = make_window(
            spatial_sizes(x_shape, layout.lhs_spec),
            spatial_sizes(kernel_shape, layout.rhs_spec),
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            input_dilation=self.input_dilation,
            may_be_empty=self.may_be_empty,
        )
        window, mode_padding = split_padding(window, self.padding_mode)
        flip = check_flag("flip", self.flip)
        if not jnp.issubdtype(dtype, jnp.number):
            raise ValueError(
                f"`x` and `kernel` must be numbers: floats, integers or complex. Received: "
                f"operands that promote to {dtype}. Convert with `.astype(jnp.float32)`."
            )
        return ConvSpec(
            window=window,
            mode_padding=mode_padding,
            padding_mode=self.padding_mode,
            groups=groups,
            layout=layout,
            flip=flip,
            dtype=dtype,
            precision=resolve_precision(self.precision),
            preferred_element_type=_resolve_dtype(self.preferred_element_type, dtype),
        )


def make_spec(x: Any, kernel: Any, options: Any) -> ConvSpec:
    """Return the specification of one convolution, cached by its arguments.

    Args:
      x: the input, or anything with its `shape` and `dtype`.
      kernel: the kernel, likewise.
      options: `ConvOptions`, or another named tuple with a method `resolve` like its.

    Raises:
      ValueError: as `options.resolve`.
    """
    options = options._make(map(hashable, options))
    operands = (x.shape, kernel.shape, common_dtype("x", x, "kernel", kernel))
    # Options that are equal but of different types, 1 and True, have separate entries. What
    # `preferred_element_type` means depends on whether 64 bits are enabled.
    types = (type(options), *map(_types, options))
    try:
        return _cached_spec(options, *operands, types, jax.config.read("jax_enable_x64"))
    except TypeError:  # An option that is not hashable is invalid; the error says which one.
        return options.resolve(*operands)


@functools.lru_cache(maxsize=4096)
def _cached_spec(
    options: ConvOptions, x_shape: Sizes, kernel_shape: Sizes, dtype: jnp.dtype, *_: Any
) -> ConvSpec:
    return options.resolve(x_shape, kernel_shape, dtype)


def _types(value: Any) -> Any:
    return tuple(map(_types, value)) if type(value) is tuple else type(value)


def _check_channels(channels: int, kernel_shape: Sizes, layout, groups: int) -> None:
    out, into = (kernel_shape[axis] for axis in layout.rhs_spec[:2])
    check_divides("groups", groups, {"input channels": channels, "output channels": out})
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
    """Separate the padding that `mode` fills from the zeros and crops of the window.

    Args:
      window: the window with all of its padding.
      mode: the padding mode. Only positive padding of a mode other than zeros is separated.

    Returns:
      The window on the padded input, and the pixels that `mode` adds before and after each axis;
      no pairs if it adds none.

    Raises:
      ValueError: if the mode is unknown, or is undefined for this input.
    """
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


def resolve_precision(precision: Any) -> Precision:
    """Return what `lax.conv_general_dilated` makes of a precision.

    Raises:
      ValueError: for what it does not take.
    """
    if precision is None or isinstance(precision, lax.Precision):
        return precision
    if isinstance(precision, lax.DotAlgorithm | lax.DotAlgorithmPreset) or (
        isinstance(precision, str) and precision in lax.DotAlgorithmPreset.__members__
    ):
        return lax.Precision.DEFAULT  # As in lax: it says how to multiply matrices.
    pair = precision if isinstance(precision, list | tuple) else (precision, precision)
    kinds = {type(p) for p in pair}
    if len(pair) == 2 and kinds in ({str}, {lax.Precision}):
        try:
            x, kernel = map(lax.Precision, pair)
        except ValueError:
            pass  # There is no precision of this name.
        else:
            return (x, kernel) if pair is precision else x
    raise ValueError(
        f"`precision` must be None, a `lax.Precision`, a name such as 'highest', a pair of either, "
        f"or a `lax.DotAlgorithmPreset` or its name, which counts as 'default'. "
        f"{received('precision', precision)}"
    )


def _resolve_dtype(preferred: Any, dtype: jnp.dtype) -> jnp.dtype:
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
