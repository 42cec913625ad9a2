"""Transposed convolution: the exact adjoint of `jconv.conv`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Num

from jconv._core.conv_spec import ConvOptions, ConvSpec, make_spec
from jconv._core.geometry import Sizes, dilated_size, resolve_padding
from jconv._core.layout import canonical_input, canonical_kernel, from_canonical, resolve_layout
from jconv._core.validation import MAX_DIM, as_array, check_int, check_ranks, per_axis
from jconv.algorithms import Algorithm
from jconv.functional.padding import pad_border_adjoint
from jconv.functional.primitive import convolve, transposed_kernel
from jconv.selection.plan import Plan, Selector, make_plan
from jconv.selection.select import make_selector


def conv_transpose(
    x: Num[ArrayLike, ...],
    kernel: Num[ArrayLike, ...],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    output_padding: int | Sequence[int] = 0,
    output_size: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
    flip: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    algorithm: str | Algorithm | Plan = "auto",
    tolerance: float | None = None,
) -> Num[Array, ...]:
    """Apply the exact adjoint of `jconv.conv` with the same kernel and options.

    For every `u` and `x` of fitting sizes,

        sum(conv(u, kernel, **options) * x) == sum(u * conv_transpose(x, kernel, **options))

    Each input pixel is spread over the output, weighted by the kernel, `stride` pixels apart.
    Several sizes of `u` may give an `x` of one size; unless `output_size` says which is meant, the
    output has `n * stride` pixels for the paddings SAME, SAME_LOWER and CAUSAL, and the least,
    `(n - 1) * stride + dilation * (k - 1) + 1 - pads`, for others, plus `output_padding`.

    Other libraries, in these terms:

    - torch's `conv_transpose2d(x, w, stride=s, padding=p, output_padding=q, groups=g, dilation=d)`
      is `conv_transpose(x, w, layout="NCHW", stride=s, padding=p, output_padding=q, groups=g,
      dilation=d)`, with the same weight `(in, out / g, rows, columns)`.
    - Keras's `Conv2DTranspose(filters, k, strides=s, padding="same")` is
      `conv_transpose(x, kernel, stride=s)`, with the same kernel `(rows, columns, out, in)`; for
      `padding="valid"`, `padding="VALID", output_size=n * s + max(k - s, 0)`.
    - `lax.conv_transpose(x, w, strides=s, padding=P)`, `P` a name, is
      `conv_transpose(x, w.swapaxes(-1, -2), stride=s, padding=P, flip=True)`; with
      `transpose_kernel=True`, `conv_transpose(x, w, stride=s, padding=P)`. Where `P` is pairs, they
      pad the dilated input: `conv(x, w, input_dilation=s, padding=P)`.

    Args:
      x: the input, `(n, *space, co)`: an output of `jconv.conv`.
      kernel: `(*space, ci / groups, co)`, that of `jconv.conv`; `(co, ci / groups, *space)` with
        `layout="NCHW"`.
      stride: pixels of the output between neighbouring inputs.
      padding: as in `jconv.conv`; more padding there makes a smaller output here.
      output_padding: pixels added after the output; one for all axes, or one for each. Less than
        stride or dilation.
      output_size: pixels of the output, in place of `output_padding`.
      dilation: pixels between neighbouring taps.
      groups: as in `jconv.conv`, like all that follow.
      padding_mode: its adjoint adds the padding back to the pixels that were copied there.
      layout: of input, kernel and output, in this order.
      flip: reverse the kernel along every spatial axis.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      algorithm: the algorithm of this convolution; in a `jconv.Plan`, `forward` is this one's.
      tolerance: as in `jconv.conv`.

    Returns:
      The output, `(n, *space, ci)` in the layout of the input.

    Raises:
      ValueError: if an argument is invalid; the message names it and the allowed values.

    Reference: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2016),
    chapter 4.

    >>> x = jnp.arange(1.0, 4).reshape(1, 3, 1)
    >>> conv_transpose(x, jnp.array([1.0, 10]).reshape(2, 1, 1), stride=2).ravel()
    Array([ 1., 10.,  2., 20.,  3., 30.], dtype=float32)
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    options = TransposeOptions(
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        output_size=output_size,
        dilation=dilation,
        groups=groups,
        padding_mode=padding_mode,
        layout=layout,
        flip=flip,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    spec = make_spec(x, kernel, options)
    return _apply_transpose(x, kernel, spec, make_plan(algorithm), make_selector(tolerance))


class TransposeOptions(NamedTuple):
    """The options of `jconv.conv_transpose` that do not depend on the algorithm."""

    stride: Any
    padding: Any
    output_padding: Any
    output_size: Any
    dilation: Any
    groups: Any
    padding_mode: Any
    layout: Any
    flip: Any
    precision: Any
    preferred_element_type: Any

    def resolve(self, x_shape: Sizes, kernel_shape: Sizes, dtype: jnp.dtype) -> ConvSpec:
        """Return the specification of the `jconv.conv` whose adjoint is applied.

        Its window is that of the adjoint.

        Raises:
          ValueError: if an argument is invalid; the message names it and the allowed values.
        """
        rank = check_ranks(x_shape, kernel_shape)
        layout = resolve_layout(self.layout, rank)
        batch, feature, *space = layout.lhs_spec
        out, into, *taps = layout.rhs_spec
        if x_shape[feature] != kernel_shape[out]:
            raise ValueError(
                f"`kernel` must give the channels that `x` has, as in the convolution whose "
                f"adjoint is applied: {x_shape[feature]}. Received: a kernel of shape "
                f"{tuple(kernel_shape)}, which gives {kernel_shape[out]}. Swap its axes of input "
                f"and output, or check `layout`."
            )
        n, k = [x_shape[axis] for axis in space], [kernel_shape[axis] for axis in taps]
        stride = per_axis("stride", self.stride, rank)
        dilation = per_axis("dilation", self.dilation, rank)
        span = tuple(map(dilated_size, k, dilation))
        min_size = _min_size(n, stride, span, self.padding)
        size = _output_size(self, min_size, stride, dilation)
        if min(size) < 0:
            raise ValueError(
                f"`padding` must leave something of the output. Received: "
                f"padding={self.padding!r}, which leaves {size} pixels. Use less."
            )
        u_shape = [0] * (rank + 2)
        u_batch, u_feature, *u_space = layout.out_spec
        u_shape[u_batch] = x_shape[batch]
        u_shape[u_feature] = kernel_shape[into] * check_int("groups", self.groups, min=1)
        for axis, pixels in zip(u_space, size, strict=True):
            u_shape[axis] = pixels
        forward = ConvOptions(
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            padding_mode=self.padding_mode,
            layout=layout._replace(lhs_spec=layout.out_spec, out_spec=layout.lhs_spec),
            flip=self.flip,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            may_be_empty=True,
        )
        spec = forward.resolve(tuple(u_shape), kernel_shape, dtype)
        if self.output_size is not None and spec.window.output != tuple(n):
            raise ValueError(
                f"`output_size` must be one that `jconv.conv` takes to the {tuple(n)} pixels of "
                f"`x`: at least {tuple(min_size)}, and at most stride - 1 = "
                f"{tuple(s - 1 for s in stride)} more. Received: "
                f"output_size={self.output_size!r}, which it takes to {spec.window.output}."
            )
        return replace(spec, window=spec.window.input_gradient(tuple(n)))


def _min_size(n, stride: Sizes, span: Sizes, padding) -> list[int]:
    """Return the pixels of the output without `output_padding`."""
    pads = resolve_padding(padding, tuple(n), span, stride)
    if isinstance(padding, str) and padding.upper() in ("SAME", "SAME_LOWER", "CAUSAL"):
        sizes = [pixels * step for pixels, step in zip(n, stride, strict=True)]
    else:
        sizes = [
            (pixels - 1) * step + extent - sum(pair) if pixels else 0
            for pixels, step, extent, pair in zip(n, stride, span, pads, strict=True)
        ]
    for axis, size in enumerate(sizes):
        if size > MAX_DIM:
            raise ValueError(
                f"`stride`, `dilation` and `padding` must leave at most {MAX_DIM:,} pixels of "
                f"output along an axis, the most that XLA counts. Received along axis {axis}: "
                f"stride={stride[axis]}, padding={padding!r}, which make {size}. Use less of them."
            )
    return sizes


def _output_size(
    options: TransposeOptions, min_size: list[int], stride: Sizes, dilation: Sizes
) -> Sizes:
    """Return the pixels of the output, from `output_size` or `output_padding`."""
    rank = len(min_size)
    extra = per_axis("output_padding", options.output_padding, rank, min=0)
    if options.output_size is not None:
        if any(extra):
            raise ValueError(
                f"`output_padding` must be 0 where `output_size` is given. Received: "
                f"output_padding={options.output_padding!r}, "
                f"output_size={options.output_size!r}. Give one."
            )
        return per_axis("output_size", options.output_size, rank)
    for added, step, gap in zip(extra, stride, dilation, strict=True):
        if added >= max(step, gap):
            raise ValueError(
                f"`output_padding` must be smaller than stride or dilation. Received: "
                f"output_padding={options.output_padding!r} with stride={stride}, "
                f"dilation={dilation}. Pad the result with `jnp.pad` if zeros are wanted."
            )
    return tuple(size + added for size, added in zip(min_size, extra, strict=True))


@functools.partial(jax.jit, static_argnums=(2, 3, 4), inline=True)
def _apply_transpose(x, kernel, spec: ConvSpec, plan: Plan, selector: Selector):
    u_spec, kernel_spec, x_spec = spec.layout
    x, kernel = x.astype(spec.dtype), kernel.astype(spec.dtype)
    if spec.flip:
        kernel = jnp.flip(kernel, kernel_spec[2:])
    x = canonical_input(x, x_spec, spec.groups)
    kernel = canonical_kernel(kernel, kernel_spec, spec.groups)
    u = convolve(
        x,
        transposed_kernel(kernel),
        window=spec.window,
        **plan.parameters,
        selector=selector,
        precision=spec.precision,
        preferred_element_type=spec.preferred_element_type,
    )
    if spec.mode_padding:
        u = pad_border_adjoint(u, spec.mode_padding, spec.padding_mode)
    return from_canonical(u, u_spec)
