"""Deformable convolution: each tap samples the input at a separate offset.

The offsets are fractions of a pixel. Between pixels, the input is interpolated linearly along each
axis (bilinearly in 2-D, trilinearly in 3-D):

    y[n, o, f] = sum over t, c of
        x[n, o * stride + t * dilation - pad + offset[n, o, t], c] mask[n, o, t] kernel[t, c, f]

The input is zero outside, and a sample less than one pixel beyond the border fades towards that.
With offsets of zero this is `jconv.conv`. Without `mask` it is version 1, with it version 2.

Taps are computed one at a time in a loop: each is a gather of pixels and a matrix product. From
56x56x64 to 64 channels at 3x3, on 2 CPU cores, that takes 7 ms and 32 ms for all gradients; all
taps in one gather took 23 and 200 ms and four times the memory, torchvision 68 and 356 ms. The
program does not grow with the kernel. `jconv.conv` is several times faster where all offsets are
zero.

References: Dai et al., "Deformable Convolutional Networks" (2017); Zhu et al., "Deformable ConvNets
v2: More Deformable, Better Results" (2019), which adds the mask.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import ConvOptions, ConvSpec, make_spec
from jconv._core.geometry import Sizes
from jconv._core.layout import canonical_input, canonical_kernel, from_canonical, spatial_sizes
from jconv._core.problem import accumulator
from jconv._core.sharding import unify_varying_axes
from jconv._core.validation import as_array, check_divides, check_int


def deform_conv(
    x: Num[ArrayLike, ...],
    kernel: Num[ArrayLike, ...],
    offset: Num[ArrayLike, ...],
    mask: Num[ArrayLike, ...] | None = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    offset_groups: int = 1,
    layout: Any = None,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Num[Array, ...]:
    """Convolve with taps that are moved by `offset` and weighted by `mask`.

    Computes what `torchvision.ops.deform_conv2d` and ONNX' `DeformConv` do, in any number of
    dimensions. Their `offset` `(n, offset_groups * kh * kw * 2, ho, wo)` is converted by
    `offset.reshape(n, offset_groups, kh, kw, 2, ho, wo).transpose(0, 5, 6, 1, 2, 3, 4)`, and their
    `mask` `(n, offset_groups * kh * kw, ho, wo)` by
    `mask.reshape(n, offset_groups, kh, kw, ho, wo).transpose(0, 4, 5, 1, 2, 3)`.

    Args:
      x: the input, `(n, *space, ci)`, or as `layout` says; floating or complex.
      kernel: `(*taps, ci / groups, co)`, or as `layout` says.
      offset: `(n, *output, offset_groups, *taps, rank)` in every layout: pixels along each spatial
        axis, in the order of these axes (row, column).
      mask: `(n, *output, offset_groups, *taps)` in every layout; None weights all taps by one.
      stride: as in `jconv.conv`, like all that follow.
      padding: a name, an int, or for each axis an int or a pair (before, after). Negative padding
        moves where the taps start; offsets still reach the whole input.
      dilation: pixels between neighbouring taps.
      groups: the number of groups of channels, each with its own kernels.
      offset_groups: the number of groups of input channels, each with its own offsets.
      layout: of input, kernel and output.
      precision: as in `lax.dot_general`.
      preferred_element_type: dtype of the result; by default what input and kernel promote to.
        16-bit floats are interpolated and summed in float32.

    Returns:
      The output, `(n, *output, co)` in the layout of the input. Where a sample lies on a pixel
      exactly, its derivative in `offset` is that from the right, as in torchvision.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> x = jnp.array([0.0, 10, 20, 30]).reshape(1, 4, 1)
    >>> offset = jnp.array([0.5, 0.0, -1.25, 0.75]).reshape(1, 4, 1, 1, 1)
    >>> deform_conv(x, jnp.ones((1, 1, 1)), offset)[0, :, 0]
    Array([ 5. , 10. ,  7.5,  7.5], dtype=float32)
    """
    x, kernel, offset = as_array("x", x), as_array("kernel", kernel), as_array("offset", offset)
    options = ConvOptions(
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        layout=layout,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    spec = make_spec(x, kernel, options)
    batch, feature = spec.layout.lhs_spec[:2]
    offset_groups = check_int("offset_groups", offset_groups, min=1)
    check_divides("offset_groups", offset_groups, {"input channels": x.shape[feature]})
    _check_floating(spec.dtype)
    window = spec.window
    shape = (x.shape[batch], *window.output, offset_groups, *window.taps)
    _check_moves("offset", offset, (*shape, window.rank), "pixels along each spatial axis")
    if mask is not None:
        mask = as_array("mask", mask)
        _check_moves("mask", mask, shape, "a weight for each tap")
    return _deform_conv(x, kernel, offset, mask, spec)


@functools.partial(jax.jit, static_argnums=4, inline=True)
def _deform_conv(x, kernel, offset, mask, spec: ConvSpec):
    """Transpose the operands for the loop over taps, and its sum to the layout of the caller."""
    window, lhs_spec = spec.window, spec.layout.lhs_spec
    acc = accumulator(spec.preferred_element_type)
    dtype = spec.dtype if accumulator(spec.dtype) == acc else acc
    images, offset_groups = offset.shape[0], offset.shape[1 + window.rank]
    outputs, taps = math.prod(window.output), math.prod(window.taps)

    # (n, *output, m, *taps, ...) to (t, n, m, o, ...)
    by_tap = lambda a, *last: jnp.moveaxis(
        a.reshape(images, outputs, offset_groups, taps, *last), (3, 0, 2), (0, 1, 2)
    )
    offset = by_tap(offset.astype(_position_dtype(offset.dtype, acc)), window.rank)
    mask = None if mask is None else by_tap(mask.astype(acc))
    kernel = canonical_kernel(kernel.astype(dtype), spec.layout.rhs_spec, spec.groups)
    kernel = kernel.reshape(taps, *kernel.shape[-3:])
    corners = _corners(canonical_input(x.astype(acc), lhs_spec, offset_groups)[0])
    y = _sum_over_taps(corners, kernel, offset, mask, spatial_sizes(x.shape, lhs_spec), spec)
    y = jnp.moveaxis(y, 0, 2).reshape(1, images, *window.output, spec.groups, y.shape[-1])
    return from_canonical(y.astype(spec.preferred_element_type), spec.layout.out_spec)


def _sum_over_taps(corners, kernel, offset, mask, space: Sizes, spec: ConvSpec):
    """Sum the samples of each tap times its slice of the kernel, to (g, n, o, f)."""
    window = spec.window
    acc, dtype = corners.dtype, kernel.dtype
    _, images, _, outputs, rank = offset.shape
    starts = _grid(window.output, window.stride, [-low for low, _ in window.padding])
    steps = _grid(window.taps, window.dilation, [0] * rank)

    # The backward pass recomputes the samples: keeping them takes three times as long.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add_tap(y, tap):
        step, kernel, offset, mask = tap
        sample = _sample(corners, (starts + step).astype(offset.dtype) + offset, space)
        sample = sample if mask is None else sample * mask[..., None]
        sample = jnp.moveaxis(sample, 1, 2).reshape(images, outputs, *kernel.shape[:2])
        term = jnp.einsum(
            "gnoc,gcf->gnof",
            jnp.moveaxis(sample, 2, 0).astype(dtype),
            kernel,
            precision=spec.precision,
            preferred_element_type=acc,
        )
        return y + term, None

    y = jnp.zeros((spec.groups, images, outputs, kernel.shape[-1]), acc)
    moved = [a for a in (corners, kernel, offset, mask) if a is not None]
    y, *_ = unify_varying_axes(y, *moved)  # as the loop will return it
    return lax.scan(add_tap, y, (steps, kernel, offset, mask))[0]


def _sample(corners, position, space: Sizes):
    """Interpolate at `position` (n, m, o, rank), in pixels; return (n, m, o, c).

    One row of `corners` (n, m, pixels, 2 ** rank * c) holds all pixels that a sample needs.
    """
    rank, size = len(space), jnp.asarray(space, position.dtype)
    # What is outside moves to where all corners are padding, and has no derivative.
    position = jnp.where((position < -1) | (position > size), size, position)
    low = jnp.floor(position)
    fraction = (position - low).astype(jnp.finfo(corners.dtype).dtype).astype(corners.dtype)
    index = low.astype(jnp.int32) + 1
    row = index[..., 0]
    for axis in range(1, rank):
        row = row * (space[axis] + 2) + index[..., axis]
    pick = lambda corners, row: corners.at[row].get(mode="promise_in_bounds")
    value = jax.vmap(jax.vmap(pick))(corners, row)
    value = value.reshape(*row.shape, *(2,) * rank, corners.shape[-1] // 2**rank)
    for axis in range(rank):
        weight = fraction[..., axis].reshape(*row.shape, *(1,) * (rank - axis))
        value = value[:, :, :, 0] * (1 - weight) + value[:, :, :, 1] * weight
    return value


def _corners(x):
    """Stack each pixel and those after it: (n, *space, m, c) to (n, m, pixels, 2 ** rank * c).

    Pixels count from -1 to `size`, so the first corner may lie before the input and all after it.
    """
    rank = x.ndim - 3
    x = jnp.moveaxis(x, -2, 1)
    x = jnp.pad(x, [(0, 0), (0, 0), *[(1, 2)] * rank, (0, 0)])
    for axis in range(2, rank + 2):
        n = x.shape[axis]
        low, high = (lax.slice_in_dim(x, i, n - 1 + i, axis=axis) for i in (0, 1))
        x = jnp.stack([low, high], axis=-2)
    return x.reshape(*x.shape[:2], math.prod(x.shape[2 : rank + 2]), 2**rank * x.shape[-1])


def _grid(count: Sizes, step: Sizes, start: Sequence[int]):
    """Return the positions `start + i * step` of all indices `i` below `count`, (product, rank)."""
    axes = [
        lax.broadcasted_iota(jnp.int32, count, axis) * s + first
        for axis, (s, first) in enumerate(zip(step, start, strict=True))
    ]
    return jnp.stack(axes, axis=-1).reshape(-1, len(count))


def _position_dtype(offset: jnp.dtype, acc: jnp.dtype) -> jnp.dtype:
    """Return a real dtype no coarser than offsets or sums: bfloat16 cannot represent pixel 257."""
    real = jnp.finfo(acc).dtype
    if not jnp.issubdtype(offset, jnp.floating):
        return real
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(real, accumulator(offset))


def _check_floating(dtype: jnp.dtype) -> None:
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise ValueError(
            f"`x` or `kernel` must be floating or complex: what lies between pixels is "
            f"interpolated. Received: {dtype}. Convert with `.astype(jnp.float32)`."
        )


def _check_moves(name: str, array, shape: Sizes, meaning: str) -> None:
    """Check `offset` or `mask` against the shape that window and groups imply."""
    if array.shape != shape:
        raise ValueError(
            f"`{name}` must have the shape {shape}, {meaning}: (batch, *output, offset_groups, "
            f"*taps{', rank' if name == 'offset' else ''}), channels last in every layout. "
            f"Received: {name}.shape={array.shape}. Check `offset_groups`, `stride` and `padding`; "
            f"for torchvision's, see `jconv.deform_conv`."
        )
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise ValueError(
            f"`{name}` must be real numbers. Received: {array.dtype}. "
            f"Convert with `.astype(jnp.float32)`."
        )
