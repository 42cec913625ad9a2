"""Patches: every window of an input as an array, and the sum that adds them back.

Both go one spatial axis at a time. `unfold` is one gather an axis. `fold` is its transpose, written
without a scatter: as many patches overlap on a pixel as windows cover it, and one step adds a patch
to every pixel. So neither program grows with the window.

A layer that needs only the products of its patches is cheaper as `jconv.conv`, which does not hold
`prod(size / stride)` times the input. Unfold where the patches themselves are wanted: to normalise
them, to sort them, to look at them.

Reference: Chellapilla, Puri & Simard, "High Performance Convolutional Neural Networks for Document
Processing" (2006), who unfold to convolve by a matrix product.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import split_padding
from jconv._core.geometry import Pads, Sizes, Window, make_window
from jconv._core.layout import resolve_layout, spatial_sizes
from jconv._core.problem import accumulator
from jconv._core.sharding import reshard_like
from jconv._core.validation import as_listed, as_numbers, hashable, per_axis
from jconv.algorithms.array_ops import flatten_axes, pad_axis
from jconv.functional.padding import JNP_MODES


def unfold(
    x: Num[ArrayLike, ...],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
) -> Num[Array, ...]:
    """Extract every window of an input: `(n, *space, c)` to `(n, *output, *kernel_size, c)`.

    `patches.reshape(n, *output, -1) @ kernel.reshape(-1, co)` is `jconv.conv(x, kernel)`. With
    `layout="NCHW"` the patches are `(n, c, *kernel_size, *output)`, and
    `patches.reshape(n, c * prod(kernel_size), prod(output))` is what torch's `unfold` returns. In
    layout the axes of `kernel_size` stand beside the channels, on the side of space.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      kernel_size: pixels of the window; one for all spatial axes, or one for each.
      stride: pixels between neighbouring windows.
      padding: as in `jconv.conv`.
      dilation: pixels between neighbouring pixels of a window.
      padding_mode: what lies beyond the border; see `jconv.conv`.
      layout: None for channels last, or what `jconv.conv` takes; the input's part is used.

    Returns:
      The patches, of the dtype of `x`.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> unfold(jnp.arange(4.0).reshape(1, 4, 1), 3)[0, :, :, 0]
    Array([[0., 1., 2.],
           [1., 2., 3.]], dtype=float32)
    """
    x = as_numbers("x", x)
    window, spec = resolve_window(
        "kernel_size",
        x.shape,
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        layout=layout,
    )
    return _unfold(x, *split_padding(window, padding_mode), padding_mode, spec)


def fold(
    patches: Num[ArrayLike, ...],
    input_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
) -> Num[Array, ...]:
    """Add patches back to the pixels that `unfold` took them from.

    The exact adjoint of `unfold` with the same options: the sum of `unfold(x) * p` is the sum of
    `x * fold(p)`. 16-bit floats are added in float32. `fold(unfold(x)) / fold(unfold(ones))` is
    `x` wherever a window reaches.

    Args:
      patches: `(n, *output, *kernel_size, c)`, or as `unfold` returns them in `layout`.
      input_size: pixels of the input; one for all spatial axes, or one for each.
      kernel_size: pixels of the window, as are all that follow those of `unfold`.
      stride: pixels between neighbouring windows.
      padding: pixels around the input, which are dropped.
      dilation: pixels between neighbouring pixels of a window.
      padding_mode: what lay beyond the border: what was copied there returns to where it was from.
      layout: that of the result.

    Returns:
      The sums, `(n, *input_size, c)`, of the dtype of `patches`.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    >>> fold(jnp.ones((1, 2, 3, 1)), 4, 3)[0, :, 0]
    Array([1., 2., 2., 1.], dtype=float32)
    """
    patches = as_numbers("patches", patches)
    rank = (patches.ndim - 2) // 2
    if patches.ndim < 4 or patches.ndim % 2:
        raise ValueError(
            f"`patches` must have two axes for each spatial axis, and batch and channels, as "
            f"(n, *output, *kernel_size, c). Received: patches.shape={patches.shape}. Split "
            f"torch's flattened axis with `patches.reshape(n, c, *kernel_size, *output)` and "
            f"`layout='NCHW'`."
        )
    spec = tuple(resolve_layout(hashable(layout), rank).lhs_spec)
    inputs = per_axis("input_size", hashable(input_size), rank)
    shape = [0] * (rank + 2)
    for axis, n in zip(spec[2:], inputs, strict=True):
        shape[axis] = n
    window, _ = resolve_window(
        "kernel_size",
        tuple(shape),
        kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        layout=layout,
    )
    _check_patches(patches.shape, window, spec)
    return _fold(patches, *split_padding(window, padding_mode), padding_mode, spec)


def resolve_window(
    name: str,
    shape: Sizes,
    size: Any,
    *,
    stride,
    padding,
    dilation,
    layout,
    may_be_empty: bool = False,
) -> tuple[Window, Sizes]:
    """Return the window on an input of `shape`, and the axes of batch, channels and space.

    Args:
      name: the argument that `size` is, for errors.
      shape: shape of the input.
      size: pixels of the window.
      stride: pixels between neighbouring windows.
      padding: as in `jconv.conv`.
      dilation: pixels between neighbouring pixels of a window.
      layout: as in `jconv.conv`.
      may_be_empty: allow a window that fits nowhere.

    Raises:
      ValueError: for invalid arguments, and for a window that fits nowhere.
    """
    rank = len(shape) - 2
    listed = as_listed(hashable(size))
    if rank < 1 or (listed is not None and len(listed) != rank):
        raise ValueError(
            f"`x` must have a batch axis, an axis of channels and at least one of space, and "
            f"`{name}` must be one int, or one for each spatial axis. Received: {name}={size!r} "
            f"with x.shape={tuple(shape)}. Add a missing batch axis with `x[None]`; map over "
            f"further ones with `jax.vmap`."
        )
    taps = per_axis(name, hashable(size), rank)
    axes = resolve_layout(hashable(layout), rank).lhs_spec
    window = make_window(
        spatial_sizes(shape, axes),
        taps,
        stride=hashable(stride),
        padding=hashable(padding),
        dilation=hashable(dilation),
        may_be_empty=True,
    )
    if not may_be_empty:
        check_fits(name, window, window.output)
    return window, tuple(axes)


def check_fits(name: str, window: Window, output: Sizes) -> None:
    """Check that a window fits somewhere; only an empty input may have an empty output.

    Raises:
      ValueError: if it does not.
    """
    for axis, outputs in enumerate(output):
        if outputs == 0 and window.input[axis] > 0:
            raise ValueError(
                f"`{name}` must fit into the padded input. Received: {name}={window.taps} with "
                f"dilation={window.dilation}, which spans {window.span[axis]} pixels along "
                f"spatial axis {axis}, where the padded input has {window.padded[axis]} (input "
                f"{window.input[axis]}, padding {window.padding[axis]}). Use a smaller `{name}` or "
                f"`dilation`, or more `padding`."
            )


def _check_patches(shape: Sizes, window: Window, spec: Sizes) -> None:
    at, rank = _taps_at(spec), window.rank
    rest = (*shape[:at], *shape[at + rank :])
    if shape[at : at + rank] != window.taps or spatial_sizes(rest, spec) != window.output:
        names = ["n"] * (rank + 2)
        names[spec[1]] = "c"
        for axis, outputs in zip(spec[2:], window.output, strict=True):
            names[axis] = str(outputs)
        names[at:at] = map(str, window.taps)
        raise ValueError(
            f"`patches` must have the shape that `jconv.unfold` gives an input of {window.input} "
            f"pixels: ({', '.join(names)}). Received: patches.shape={tuple(shape)}. Give the "
            f"`input_size`, `kernel_size`, `stride`, `padding`, `dilation` and `layout` of "
            f"the `unfold`."
        )


def _taps_at(spec: Sizes) -> int:
    """Return where the axes of the window go: beside the channels, on the side of space."""
    return spec[1] + (spec[1] < spec[2])


def _axes(spec: Sizes) -> list[int]:
    """Return the position of each spatial axis while the window axes before it are missing."""
    at, rank = _taps_at(spec), len(spec) - 2
    return [a + (rank - 1 - i) * (a >= at) for i, a in enumerate(spec[2:])]


def _border(added: Pads, mode: str, spec: Sizes):
    """Return a function that continues an input beyond its border."""
    edges = [(0, 0)] * len(spec)
    for axis, pair in zip(spec[2:], added, strict=True):
        edges[axis] = pair
    return lambda x: jnp.pad(x, edges, mode=JNP_MODES[mode])


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=True)
def _unfold(x, window: Window, added: Pads, mode: str, spec: Sizes):
    if added:
        x = _border(added, mode, spec)(x)
    for i, axis in reversed(list(enumerate(_axes(spec)))):
        x = unfold_axis(x, window=along(window, i), axis=axis, taps=_taps_at(spec))
    return x


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4), inline=True)
def _fold(patches, window: Window, added: Pads, mode: str, spec: Sizes):
    x = patches
    for i, axis in enumerate(_axes(spec)):
        x = fold_p.bind(x, window=along(window, i), axis=axis, taps=_taps_at(spec))
    if added:
        shape = list(x.shape)
        for axis, pair in zip(spec[2:], added, strict=True):
            shape[axis] -= sum(pair)
        inner = jax.ShapeDtypeStruct(tuple(shape), x.dtype)
        (x,) = jax.linear_transpose(_border(added, mode, spec), inner)(x)
    return x


# One axis `n` of `x` against the two axes `o` and `t` of its patches: `o` takes the place of `n`,
# and `t` is put in before the axis that `taps` counts. Linear, and each the transpose of the other.
unfold_p = Primitive("jconv_unfold")
fold_p = Primitive("jconv_fold")


def unfold_axis(x, *, window: Window, axis: int, taps: int) -> jax.Array:
    """Return the patches of `x` along one of its axes, zero beyond the border.

    Args:
      x: any array.
      window: one axis.
      axis: the axis of `x` to unfold.
      taps: where the result has the pixels of the window.
    """
    return unfold_p.bind(x, window=window, axis=axis, taps=taps)


def along(window: Window, i: int) -> Window:
    """Return the window of spatial axis `i` alone."""
    return Window((window.input[i],), (window.taps[i],), (window.stride[i],), (window.padding[i],),
                  (window.dilation[i],), (window.input_dilation[i],))  # fmt: skip


def sources(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixel of each output and tap (o, t) of one axis, and whether it exists."""
    (outputs,), (taps,), ((before, _),) = window.output, window.taps, window.padding
    o, t = np.arange(outputs)[:, None], np.arange(taps)
    pixel = o * window.stride[0] + t * window.dilation[0] - before
    return pixel, (pixel >= 0) & (pixel < window.input[0])


def _overlapping_patches(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs and taps of each pixel; missing ones have an index beyond the outputs.

    Returns:
      Outputs and taps, each (overlap, pixels).
    """
    pixel, inside = sources(window)
    o, t = np.nonzero(inside)
    i = pixel[inside]
    order = np.argsort(i, kind="stable")
    i, o, t = i[order], o[order], t[order]
    counts = np.bincount(i, minlength=window.input[0])
    nth = np.arange(len(i)) - (np.cumsum(counts) - counts)[i]
    shape = (int(counts.max(initial=0)), window.input[0])
    outputs, taps = np.full(shape, window.output[0], np.int32), np.zeros(shape, np.int32)
    outputs[nth, i], taps[nth, i] = o, t
    return outputs, taps


def _o_axis(axis: int, taps: int) -> int:
    return axis + (taps <= axis)


def _to_patches(entries: Sequence, axis: int, taps: int, new: tuple) -> tuple:
    """Map entries for the axes of `x` to the axes of its patches, with `new` for `o` and `t`."""
    entries = (*entries[:axis], new[0], *entries[axis + 1 :])
    return (*entries[:taps], new[1], *entries[taps:])


def _to_input(entries: Sequence, axis: int, taps: int, new: Any) -> tuple:
    """Map entries for the axes of patches to the axes of `x`, with `new` for the axis itself."""
    entries = (*entries[:taps], *entries[taps + 1 :])
    return (*entries[:axis], new, *entries[axis + 1 :])


def _tiles_exactly(window: Window) -> bool:
    """Return whether the windows tile the input without gaps, overlaps or padding.

    Patches are then a reshape of the pixels, without communication between devices.
    """
    last = window.output[0] * window.taps[0]
    return (
        window.stride == window.taps
        and window.dilation == (1,)
        and window.padding[0][0] == 0
        and 0 < last <= window.input[0]
    )


def _gather_patches(x, *, window: Window, axis: int, taps: int):
    if _tiles_exactly(window):
        x = lax.slice_in_dim(x, 0, window.output[0] * window.taps[0], axis=axis)
        x = x.reshape(*x.shape[:axis], *window.output, *window.taps, *x.shape[axis + 1 :])
        return jnp.moveaxis(x, axis + 1, taps)
    shape = _to_patches(x.shape, axis, taps, (window.output[0], window.taps[0]))
    pixel, inside = sources(window)
    if not inside.any():
        return jnp.zeros(shape, x.dtype)
    index = np.where(inside, pixel, window.input[0]).astype(np.int32)  # beyond the end is zero
    o = _o_axis(axis, taps)
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(a for a in range(len(shape)) if a not in (o, taps)),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
    )
    return lax.gather(
        x,
        (index if o < taps else index.T)[..., None],
        numbers,
        slice_sizes=(*x.shape[:axis], 1, *x.shape[axis + 1 :]),
        mode="promise_in_bounds" if inside.all() else "fill",
        fill_value=0,
    )


def _sum_patches(patches, *, window: Window, axis: int, taps: int):
    if _tiles_exactly(window):
        x = flatten_axes(jnp.moveaxis(patches, taps, axis + 1), axis)
        return pad_axis(x, axis, 0, window.input[0] - x.shape[axis])
    shape = _to_input(patches.shape, axis, taps, window.input[0])
    index = np.stack(_overlapping_patches(window), axis=-1)
    if index.size == 0:
        return jnp.zeros(shape, patches.dtype)
    o = _o_axis(axis, taps)
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(a for a in range(len(shape)) if a != axis),
        collapsed_slice_dims=tuple(sorted((o, taps))),
        start_index_map=(o, taps),
    )
    sizes = tuple(1 if a in (o, taps) else n for a, n in enumerate(patches.shape))

    def nth(index):
        patch = lax.gather(patches, index, numbers, sizes, mode="fill", fill_value=0)
        return patch.astype(accumulator(patches.dtype))

    index = jnp.asarray(index)
    y = lax.fori_loop(1, len(index), lambda j, y: y + nth(index[j]), nth(index[0]))
    return y.astype(patches.dtype)


def _define(primitive: Primitive, evaluate, transpose: Primitive) -> None:
    def shape(x, *, window, axis, taps):
        spec = (*x.sharding.spec, *(None,) * (x.ndim - len(x.sharding.spec)))
        if primitive is unfold_p:
            sizes = _to_patches(x.shape, axis, taps, (window.output[0], window.taps[0]))
            spec = _to_patches(spec, axis, taps, (None, None))
        else:
            sizes = _to_input(x.shape, axis, taps, window.input[0])
            spec = _to_input(spec, axis, taps, None)
        sharding = x.sharding.update(spec=PartitionSpec(*spec))
        return ShapedArray(sizes, x.dtype, sharding=sharding, manual_axis_type=x.manual_axis_type)

    def transposed(y_bar, x, **params):
        return [reshard_like(transpose.bind(y_bar, **params), x.aval)]

    def batch(args, axes, *, window, axis, taps):
        x = jnp.moveaxis(args[0], axes[0], 0)
        return primitive.bind(x, window=window, axis=axis + 1, taps=taps + 1), 0

    primitive.def_impl(jax.jit(evaluate, static_argnames=("window", "axis", "taps")))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=False))
    ad.deflinear2(primitive, transposed)
    batching.primitive_batchers[primitive] = batch


_define(unfold_p, _gather_patches, fold_p)
_define(fold_p, _sum_patches, unfold_p)
