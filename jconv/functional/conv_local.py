"""Unshared convolution: every output position has a kernel of its own.

A convolution assumes that what is worth finding is worth finding everywhere. Where that is false,
as in aligned faces or maps of the Earth, a locally connected layer keeps the small window and drops
the sharing. It is a product of patches with kernels, one matrix product for each position:

    y[n, o, f] = sum over t, c of
        x[n, (o * stride + t * dilation - pad) / input_dilation, c] kernel[o, t, c, f]

There are as many kernels as outputs, and every one is read once: memory is what it costs. The
patches are laid out beside them, `n * ci` numbers for each output and tap. No fast algorithm
applies, since no two positions share a kernel. On 8x32x32x16 to 16 channels at 3x3, on 2 CPU cores,
it takes 5 ms and 15 ms for both gradients; `lax.conv_general_dilated_local`, which extracts patches
by a convolution, 7 and 41 ms.

Kernels from elsewhere need a reshape, and sometimes a transpose:

- Keras' `LocallyConnected2D(implementation=1)` has `(ho * wo, kh * kw * ci, co)`, that is
  `kernel.reshape(ho, wo, kh, kw, ci, co)`. With `data_format="channels_first"` its middle axis is
  `ci * kh * kw` instead.
- `lax.conv_general_dilated_local` with `("NHWC", "HWIO", "NHWC")` has `(ho, wo, ci * kh * kw, co)`,
  channels first within a patch:
  `jnp.moveaxis(rhs.reshape(ho, wo, ci, kh, kw, co), 2, -2)`.

Reference: Taigman et al., "DeepFace: Closing the Gap to Human-Level Performance in Face
Verification" (2014), section 3.
"""

from __future__ import annotations

import functools
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Window
from jconv._core.layout import canonical_input, from_canonical, resolve_layout
from jconv._core.problem import accumulator
from jconv.functional.conv_spec import Call, as_array, frozen, resolved_call


def conv_local(
    x,
    kernel,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> jax.Array:
    """Convolves with a kernel for each output position, shared by none.

    Args:
      x: the input, `(n, *space, ci)`, or as `layout` says.
      kernel: `(*output, *taps, ci / groups, co)` in every layout.
      stride: as in `jconv.conv`, like all that follow, but for the default of `padding`.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: into how many parts the channels are split, each with its own kernels.
      layout: of input and output; the kernel's is fixed.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result; by default what input and kernel promote to.
        16-bit floats are always summed in float32.

    Returns:
      The output, `(n, *output, co)` in the layout of the input.

    Raises:
      ValueError: naming the argument, what is allowed, what was received and what to do.

    >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
    >>> add_then_subtract = jnp.array([[1.0, 1.0], [-1.0, 1.0]])[:, :, None, None]
    >>> conv_local(x, add_then_subtract)[0, :, 0]
    Array([3., 1.], dtype=float32)
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    rank = _check_shapes(x, kernel)
    channels_last = resolve_layout(None, rank)
    numbers_ = resolve_layout(frozen(layout), rank)._replace(rhs_spec=channels_last.rhs_spec)
    _check_channels(x.shape[numbers_.lhs_spec[1]], kernel.shape, groups)
    call = resolved_call(
        x,
        jax.ShapeDtypeStruct(kernel.shape[rank:], kernel.dtype, weak_type=kernel.weak_type),
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        groups=groups,
        layout=numbers_,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    if kernel.shape[:rank] != call.window.output:
        raise ValueError(
            f"`kernel` must begin with the size of the output, one kernel for each position: "
            f"{call.window.output}. Received: kernel.shape={kernel.shape}, "
            f"which begins with {kernel.shape[:rank]}. Give a kernel of shape "
            f"{call.window.output + kernel.shape[rank:]}, or check `stride` and `padding`."
        )
    return _conv_local(x, kernel, call)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _conv_local(x, kernel, call: Call):
    """Lays out the patches of `x` and multiplies each with its kernel."""
    window, rank = call.window, call.window.rank
    acc = accumulator(call.preferred_element_type)
    dtype = call.dtype if accumulator(call.dtype) == acc else acc
    kernel = kernel.astype(dtype)
    kernel = kernel.reshape(*kernel.shape[:-1], call.groups, kernel.shape[-1] // call.groups)
    # The gradient adds up what patches share of a pixel: that, too, in the accumulator.
    x = canonical_input(x.astype(acc), call.layout.lhs_spec, call.groups)[0]
    patches = _patches(x, window).astype(dtype)

    outputs = [chr(ord("A") + axis) for axis in range(rank)]
    taps = [chr(ord("p") + axis) for axis in range(rank)]
    interleaved = "".join(o + t for o, t in zip(outputs, taps, strict=True))
    output, tap = "".join(outputs), "".join(taps)
    y = jnp.einsum(
        f"n{interleaved}gc,{output}{tap}cgf->n{output}gf",
        patches,
        kernel,
        precision=call.precision,
        preferred_element_type=acc,
    )
    return from_canonical(y.astype(call.preferred_element_type)[None], call.layout.out_spec)


def _patches(x, window: Window):
    """(n, *input, g, c) to what each output sees: (n, o1, t1, o2, t2, ..., g, c).

    One gather of whole rows an axis, however many taps there are.
    """
    spatial = [
        (low, high, gap - 1)
        for (low, high), gap in zip(window.padding, window.input_dilation, strict=True)
    ]
    none = (0, 0, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), [none, *spatial, none, none])
    sizes = zip(window.output, window.stride, window.taps, window.dilation, strict=True)
    for axis, (outputs, stride, taps, dilation) in enumerate(sizes):
        index = jnp.arange(outputs)[:, None] * stride + jnp.arange(taps) * dilation
        rows = (*[slice(None)] * (1 + 2 * axis), index)
        x = x.at[rows].get(mode="promise_in_bounds")
    return x


def _check_shapes(x, kernel) -> int:
    """The number of spatial axes."""
    rank = (kernel.ndim - 2) // 2
    if rank < 1 or kernel.ndim % 2:
        raise ValueError(
            f"`kernel` must have the shape (*output, *taps, in, out), with as many axes of output "
            f"as of taps, at least one. Received: kernel.shape={kernel.shape}. For one kernel at "
            f"all positions use `jconv.conv`."
        )
    if x.ndim != rank + 2:
        raise ValueError(
            f"`x` must have {rank + 2} axes, batch, {rank} of space and channels, for a kernel of "
            f"{kernel.ndim}. Received: x.shape={x.shape}, kernel.shape={kernel.shape}. Add a batch "
            f"axis with `x[None]`; fold further ones into one, or use `jax.vmap`."
        )
    return rank


def _check_channels(channels: int, kernel_shape: tuple[int, ...], groups) -> None:
    """`resolved_call` sees a kernel without its positions; this message shows all of it."""
    if not isinstance(groups, numbers.Integral) or groups < 1 or channels % groups:
        return  # it will say what is wrong with `groups`
    if kernel_shape[-2] * groups != channels:
        raise ValueError(
            f"`kernel` must take the channels of `x`, divided by `groups`: {channels} / {groups} = "
            f"{channels // groups}, in its last axis but one. Received: "
            f"kernel.shape={kernel_shape}. Check `layout` and `groups`."
        )
