"""`jconv.conv`: checks the arguments once, and brings them to the canonical primitive."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import ConvOptions, ConvSpec, make_spec
from jconv._core.layout import canonical_input, canonical_kernel, from_canonical
from jconv._core.validation import (
    as_array,
    as_listed,
    check_int,
    hashable,
    received,
    rename_arguments,
)
from jconv.algorithms import Algorithm
from jconv.functional.padding import pad_border
from jconv.functional.primitive import convolve
from jconv.selection.plan import Plan, Selector, make_plan
from jconv.selection.select import make_selector


def conv(
    x: Num[ArrayLike, ...],
    kernel: Num[ArrayLike, ...],
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
) -> Num[Array, ...]:
    """Convolve an input with a kernel, in one, two, three or more dimensions.

    The function is cross-correlation, as in deep learning:

        y[n, o, f] = sum over t, c of x[n, o * stride + t * dilation - pad, c] kernel[t, c, f]

    `flip=True` reverses the kernel first, which gives the convolution of mathematics.

    Args:
      x: the input, `(n, *space, ci)`; `(n, ci, *space)` with `layout="NCHW"`.
      kernel: `(*space, ci / groups, co)`; `(co, ci / groups, *space)` with `layout="NCHW"`.
      stride: pixels between neighbouring outputs; one for all axes, or one for each.
      padding: `"SAME"` (the input size divided by the stride, rounded up; an odd pixel is added
        after), `"SAME_LOWER"` (before), `"VALID"` (no padding), `"FULL"` (every output that
        overlaps the input), `"CAUSAL"` (1-D; no output depends on a later input), an int, or for
        each axis an int or a pair (before, after). Negative padding crops.
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: the number of groups of channels, each with its own kernels.
      padding_mode: what lies beyond the border: `"zeros"`, `"reflect"` (the edge pixel is not
        repeated), `"replicate"` or `"circular"`.
      layout: None for channels last; a name such as `"NCHW"`, with the kernel layout
        `OIHW` that goes with it; or a triple of layouts for
        input, kernel and output that `lax.conv_dimension_numbers` takes.
      flip: reverse the kernel along every spatial axis.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result; by default what input and kernel promote to.
        16-bit floats are always summed in float32.
      algorithm: `"auto"`, a name in `jconv.ALGORITHMS`, one of its values, which the gradients
        use too where they can, or a `jconv.Plan` of all three.
      tolerance: the largest error bound, relative to the largest output, that an algorithm
        selected by `"auto"` may have; `"xla"` is always allowed. None is 1e-4 in float32 and 1e-12
        in float64.

    Returns:
      The output, `(n, *space, co)` in the layout of the input.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> x = jnp.arange(1.0, 17).reshape(1, 4, 4, 1)
    >>> prewitt = jnp.array([[-1.0, 0, 1]] * 3)[:, :, None, None]
    >>> conv(x, prewitt, padding="VALID")[0, :, :, 0]
    Array([[6., 6.],
           [6., 6.]], dtype=float32)
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    options = ConvOptions(
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
    )
    spec = make_spec(x, kernel, options)
    return apply_spec(x, kernel, spec, make_plan(algorithm), make_selector(tolerance))


@functools.partial(jax.jit, static_argnums=(2, 3, 4), inline=True)
def apply_spec(x, kernel, spec: ConvSpec, plan: Plan, selector: Selector) -> jax.Array:
    """Convolve as a specification says; one cached `jit` for eager calls, inlined where traced.

    Args:
      x: the input, in the layout of the specification.
      kernel: the kernel, likewise.
      spec: the specification.
      plan: the algorithms.
      selector: selects the algorithm where the plan says `"auto"`.
    """
    lhs_spec, rhs_spec, out_spec = spec.layout
    x, kernel = x.astype(spec.dtype), kernel.astype(spec.dtype)
    if spec.flip:
        kernel = jnp.flip(kernel, rhs_spec[2:])
    x = canonical_input(x, lhs_spec, spec.groups)
    kernel = canonical_kernel(kernel, rhs_spec, spec.groups)
    if spec.mode_padding:
        x = pad_border(x, spec.mode_padding, spec.padding_mode)
    y = convolve(
        x,
        kernel,
        window=spec.window,
        **plan.parameters,
        selector=selector,
        precision=spec.precision,
        preferred_element_type=spec.preferred_element_type,
    )
    return from_canonical(y, out_spec)


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
    """Return the shape of `jconv.conv(x, kernel, ...)` without computing it.

    Args:
      x_shape: shape of the input.
      kernel_shape: shape of the kernel.
      stride: as in `jconv.conv`, like all that follow.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: the number of groups of channels.
      padding_mode: what lies beyond the border.
      layout: of input, kernel and output.
      flip: whether the kernel is reversed, which does not change the shape.

    Raises:
      ValueError: as `jconv.conv` would.

    >>> output_shape((1, 224, 224, 3), (7, 7, 3, 64), stride=2, padding=3)
    (1, 112, 112, 64)
    """
    options = ConvOptions(
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        groups=groups,
        padding_mode=padding_mode,
        layout=layout,
        flip=flip,
    )
    x_shape, kernel_shape = _shape("x_shape", x_shape), _shape("kernel_shape", kernel_shape)
    if len(kernel_shape) < 3 or len(x_shape) != len(kernel_shape):
        raise ValueError(
            f"`x_shape` and `kernel_shape` must be of one length, with at least one spatial axis "
            f"and two of batch and channels. Received: x_shape={x_shape}, "
            f"kernel_shape={kernel_shape}. Add a 1 for each axis that is missing."
        )
    options = options._make(map(hashable, options))
    try:
        spec = options.resolve(x_shape, kernel_shape, jnp.dtype(jnp.float32))
    except ValueError as error:
        names = {"x": "x_shape", "kernel": "kernel_shape"}
        raise ValueError(rename_arguments(error, names)) from None
    return spec.output_shape(x_shape, kernel_shape)


def _shape(name: str, value: Any) -> tuple[Any, ...]:
    sizes = as_listed(hashable(value))
    if sizes is None:
        raise ValueError(
            f"`{name}` must be a shape, such as (1, 224, 224, 3). {received(name, value)}"
        )
    return tuple(
        n if export.is_symbolic_dim(n) else check_int(name, n, min=0, hint=" along every axis")
        for n in sizes
    )
