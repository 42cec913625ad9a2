"""Locally connected convolution: every output position has its own kernel.

A convolution shares one kernel between all positions. Where the statistics of the input depend on
the position, as in aligned faces or maps of the Earth, a locally connected layer keeps the small
window and drops the sharing. It is one matrix product of a patch with a kernel for each position:

    y[n, o, f] = sum over t, c of
        x[n, (o * stride + t * dilation - pad) / input_dilation, c] kernel[o, t, c, f]

There are as many kernels as outputs, and each is read once, so memory traffic bounds the speed. The
patches take `n * ci` numbers for each output and tap. No fast algorithm applies, since no two
positions share a kernel. On 8x32x32x16 to 16 channels at 3x3, on 2 CPU cores, it takes 5 ms and
15 ms for both gradients; `lax.conv_general_dilated_local`, which extracts patches by a convolution,
takes 7 and 41 ms.

Kernels of other libraries need a reshape, and sometimes a transpose:

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
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import ConvOptions, ConvSpec, make_spec
from jconv._core.geometry import Window
from jconv._core.layout import canonical_input, from_canonical, resolve_layout
from jconv._core.problem import accumulator
from jconv._core.validation import as_array, hashable, is_integer


def conv_local(
    x: Num[ArrayLike, ...],
    kernel: Num[ArrayLike, ...],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    layout: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Num[Array, ...]:
    """Convolve with a separate kernel for each output position.

    Args:
      x: the input, `(n, *space, ci)`, or as `layout` says.
      kernel: `(*output, *taps, ci / groups, co)` in every layout.
      stride: as in `jconv.conv`, like all that follow.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: the number of groups of channels, each with its own kernels.
      layout: of input and output; the kernel's is fixed.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result; by default what input and kernel promote to.
        16-bit floats are always summed in float32.

    Returns:
      The output, `(n, *output, co)` in the layout of the input.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
    >>> add_then_subtract = jnp.array([[1.0, 1.0], [-1.0, 1.0]])[:, :, None, None]
    >>> conv_local(x, add_then_subtract, padding="VALID")[0, :, 0]
    Array([3., 1.], dtype=float32)
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    rank = _check_shapes(x, kernel)
    channels_last = resolve_layout(None, rank)
    dimension_numbers = resolve_layout(hashable(layout), rank)._replace(
        rhs_spec=channels_last.rhs_spec
    )
    _check_channels(x.shape[dimension_numbers.lhs_spec[1]], kernel.shape, groups)
    options = ConvOptions(
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        groups=groups,
        layout=dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    one_kernel = jax.ShapeDtypeStruct(kernel.shape[rank:], kernel.dtype, weak_type=kernel.weak_type)
    spec = make_spec(x, one_kernel, options)
    if kernel.shape[:rank] != spec.window.output:
        raise ValueError(
            f"`kernel` must begin with the size of the output, one kernel for each position: "
            f"{spec.window.output}. Received: kernel.shape={kernel.shape}, "
            f"which begins with {kernel.shape[:rank]}. Give a kernel of shape "
            f"{spec.window.output + kernel.shape[rank:]}, or check `stride` and `padding`."
        )
    return _conv_local(x, kernel, spec)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def _conv_local(x, kernel, spec: ConvSpec):
    """Lay out the patches of `x` and multiply each with its kernel."""
    window, rank = spec.window, spec.window.rank
    acc = accumulator(spec.preferred_element_type)
    dtype = spec.dtype if accumulator(spec.dtype) == acc else acc
    kernel = kernel.astype(dtype)
    kernel = kernel.reshape(*kernel.shape[:-1], spec.groups, kernel.shape[-1] // spec.groups)
    # The gradient adds up what patches share of a pixel: that, too, in the accumulator.
    x = canonical_input(x.astype(acc), spec.layout.lhs_spec, spec.groups)[0]
    patches = _patches(x, window).astype(dtype)

    outputs = [chr(ord("A") + axis) for axis in range(rank)]
    taps = [chr(ord("p") + axis) for axis in range(rank)]
    interleaved = "".join(o + t for o, t in zip(outputs, taps, strict=True))
    output, tap = "".join(outputs), "".join(taps)
    y = jnp.einsum(
        f"n{interleaved}gc,{output}{tap}cgf->n{output}gf",
        patches,
        kernel,
        precision=spec.precision,
        preferred_element_type=acc,
    )
    return from_canonical(y.astype(spec.preferred_element_type)[None], spec.layout.out_spec)


def _patches(x, window: Window):
    """Gather the patch of each output: (n, *input, g, c) to (n, o1, t1, o2, t2, ..., g, c).

    Each axis takes one gather of whole rows, however many taps it has.
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
    """Return the number of spatial axes."""
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
    """Check the channels of the whole kernel; `make_spec` gets it without its positions."""
    if not is_integer(groups) or groups < 1 or channels % groups:
        return  # `make_spec` raises an error about `groups`.
    if kernel_shape[-2] * groups != channels:
        raise ValueError(
            f"`kernel` must take the channels of `x`, divided by `groups`: {channels} / {groups} = "
            f"{channels // groups}, in its last axis but one. Received: "
            f"kernel.shape={kernel_shape}. Check `layout` and `groups`."
        )
