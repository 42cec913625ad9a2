"""The transposed convolution layer: `flax.nnx.ConvTranspose`, or the exact adjoint of `Conv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init

from jconv._core.geometry import Pads, Sizes, dilated_size, resolve_padding, resolve_padding_mode
from jconv._core.validation import as_array, common_dtype, hashable, received
from jconv.algorithms import Algorithm
from jconv.functional.conv import conv
from jconv.functional.conv_transpose import conv_transpose
from jconv.nn.layer_arguments import (
    axis_sizes,
    check_features,
    check_mask,
    check_parameters,
    errors_in_flax_names,
    flax_names,
    is_channels_first,
    over_batch_axes,
    per_axis_or_one,
)
from jconv.selection.plan import Plan, make_plan

PADDINGS = ("SAME", "VALID", "CIRCULAR")  # names that `nnx.ConvTranspose` takes


class ConvTranspose(nnx.ConvTranspose):
    """`flax.nnx.ConvTranspose` computed by jconv, and the adjoint of `Conv` as an option.

    Every argument of `nnx.ConvTranspose` is accepted and means the same: an input
    `(*batch, *space, in)`, with any number of batch axes or none, becomes
    `(*batch, *space * strides, out)` with `padding="SAME"`. Integer paddings are added to the
    dilated input, and the kernel is not flipped.

    With `adjoint=True` the layer is `jconv.conv_transpose`, the exact adjoint of `Conv` with the
    same arguments, as in torch and Keras: padding is that of the convolution, and more of it makes
    a smaller output.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of the kernel in pixels along each spatial axis; an int is one axis.
      strides: pixels of the output between neighbouring inputs; None is 1.
      padding: `"SAME"`, `"VALID"` or `"CIRCULAR"`, an int, or for each axis an int or a pair
        (before, after). With `adjoint=True`, as in `jconv.conv_transpose`.
      kernel_dilation: pixels between neighbouring taps; None is 1.
      use_bias: whether to add a bias to the output.
      mask: array of the kernel's shape that is multiplied with it; None for none.
      dtype: dtype of the computation; None to infer it from inputs and parameters.
      param_dtype: dtype of kernel and bias.
      precision: as in `jconv.conv`.
      kernel_init: initializer of the kernel. With `adjoint=True` the default takes the kernel's
        last axis as the inputs, so that the variance of an output is about that of an input.
      bias_init: initializer of the bias.
      transpose_kernel: whether the kernel is that of the convolution from the output to the input,
        `(*kernel_size, out / groups, in)`, whose spatial axes are flipped. Otherwise the kernel is
        `(*kernel_size, in / groups, out)`.
      promote_dtype: function that promotes `(inputs, kernel, bias)` to a `dtype`.
      preferred_element_type: dtype of the convolution's result, before the bias is added.
      adjoint: whether to compute `jconv.conv_transpose`; implies `transpose_kernel=True`.
      output_padding: pixels added after the output; needs `adjoint=True`.
      output_size: pixels of the output, in place of `output_padding`; needs `adjoint=True`.
      feature_group_count: number of groups into which the channels are split.
      padding_mode: border of the convolution whose adjoint is computed; other borders than
        `"zeros"` need `adjoint=True`.
      flip: whether to reverse the kernel along every spatial axis.
      layout: None for channels last, or a name such as `"NCHW"`, of input and output. The kernel's
        layout is fixed.
      algorithm: algorithm of the convolution; see `jconv.ALGORITHMS` and `jconv.Plan`.
      tolerance: as in `jconv.conv`.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of the kernel's variable.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: for arguments that fit no input; when called, as `jconv.conv` and
        `jconv.conv_transpose`.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = None,
        *,
        padding: Any = "SAME",
        kernel_dilation: int | Sequence[int] | None = None,
        use_bias: bool = True,
        mask: Any = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        transpose_kernel: bool = False,
        promote_dtype: Any = default_promote_dtype,
        preferred_element_type: Any = None,
        adjoint: bool = False,
        output_padding: int | Sequence[int] = 0,
        output_size: int | Sequence[int] | None = None,
        feature_group_count: int = 1,
        padding_mode: str = "zeros",
        flip: bool = False,
        layout: str | None = None,
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.in_features, self.out_features, self.feature_group_count = check_features(
            in_features, out_features, feature_group_count
        )
        self.kernel_size = axis_sizes("kernel_size", kernel_size)
        rank = len(self.kernel_size)
        check_parameters(
            rngs,
            use_bias=use_bias,
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            dtype=dtype,
            precision=precision,
            preferred_element_type=preferred_element_type,
            promote_dtype=promote_dtype,
        )
        make_plan(algorithm)
        is_channels_first(layout, rank)
        resolve_padding_mode(padding_mode)
        self.strides = per_axis_or_one("strides", strides, rank)
        self.kernel_dilation = per_axis_or_one("kernel_dilation", kernel_dilation, rank)
        self.padding = hashable(padding)
        self.output_padding, self.output_size = hashable(output_padding), hashable(output_size)
        self.adjoint, self.transpose_kernel = adjoint, transpose_kernel or adjoint
        self.padding_mode, self.flip, self.layout = padding_mode, flip, layout
        if not adjoint:
            _check_without_adjoint(self.output_padding, self.output_size, padding_mode)
            lax_padding(self.padding, self.kernel_size, self.strides, self.kernel_dilation)
        self.use_bias, self.mask = use_bias, mask
        self.dtype, self.param_dtype, self.promote_dtype = dtype, param_dtype, promote_dtype
        self.precision, self.preferred_element_type = precision, preferred_element_type
        self.algorithm, self.tolerance = algorithm, tolerance

        groups = self.feature_group_count
        channels = (out_features // groups, in_features)
        if not self.transpose_kernel:
            channels = (in_features // groups, out_features)
        self.kernel_shape = (*self.kernel_size, *channels)
        check_mask(mask, self.kernel_shape)
        if adjoint and kernel_init is default_kernel_init:
            kernel_init = nnx.initializers.lecun_normal(in_axis=-1, out_axis=-2)
        self.kernel = nnx.Param(
            kernel_init(rngs.params(), self.kernel_shape, param_dtype), **kernel_metadata
        )
        self.bias = nnx.data(None)
        if use_bias:
            self.bias = nnx.Param(
                bias_init(rngs.params(), (out_features,), param_dtype), **bias_metadata
            )

    def __call__(self, inputs: Any) -> jax.Array:
        """Return the transposed convolution of `inputs`, `(*batch, *space, in)`.

        Raises:
          ValueError: if `inputs` has other axes or channels than the layer.
        """
        return over_batch_axes(
            "inputs",
            self._transpose,
            as_array("inputs", inputs),
            len(self.kernel_size),
            self.in_features,
            self.layout,
        )

    def _transpose(self, x: jax.Array) -> jax.Array:
        """Return the output of the layer for an input `(n, *space, in)`."""
        kernel = self.kernel[...]
        if self.dtype is None:
            common_dtype("inputs", x, "kernel", kernel)
        if self.mask is not None:
            kernel *= self.mask
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = self.promote_dtype((x, kernel, bias), dtype=self.dtype)
        options: dict[str, Any] = dict(
            dilation=self.kernel_dilation,
            groups=self.feature_group_count,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
            algorithm=self.algorithm,
            tolerance=self.tolerance,
        )
        compute = self._adjoint if self.adjoint else self._lax
        with errors_in_flax_names(x="inputs", input_dilation="strides"):
            y = compute(x, kernel, options)
        return y if bias is None else y + bias

    def _adjoint(self, x, kernel, options: dict[str, Any]) -> jax.Array:
        return conv_transpose(
            x,
            kernel,
            stride=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            output_size=self.output_size,
            padding_mode=self.padding_mode,
            flip=self.flip,
            **options,
        )

    def _lax(self, x, kernel, options: dict[str, Any]) -> jax.Array:
        """Return what `lax.conv_transpose` computes, wrapped around for circular padding."""
        if self.transpose_kernel:
            kernel = _swap_channels(kernel, self.feature_group_count)
        y = conv(
            x,
            kernel,
            input_dilation=self.strides,
            padding=lax_padding(self.padding, self.kernel_size, self.strides, self.kernel_dilation),
            flip=bool(self.flip) != self.transpose_kernel,
            **options,
        )
        if self.padding == "CIRCULAR":
            for axis, step in enumerate(self.strides, start=1):
                y = _wrap_around(y, axis, x.shape[axis] * step, self.transpose_kernel)
        return y


def _check_without_adjoint(output_padding, output_size, padding_mode: str) -> None:
    """Check that the options of the exact adjoint have their defaults."""
    given = {
        "output_padding": (output_padding, 0),
        "output_size": (output_size, None),
        "padding_mode": (padding_mode, "zeros"),
    }
    for name, (value, default) in given.items():
        if value != default:
            raise ValueError(
                f"`{name}` must be {default!r} unless `adjoint=True`: the padding of "
                f"`flax.nnx.ConvTranspose` is that of its dilated input. "
                f"{received(name, value)} Add adjoint=True, and see there what `padding` means."
            )


def lax_padding(padding: Any, size: Sizes, strides: Sizes, dilation: Sizes) -> Pads:
    """Return the pixels that `lax.conv_transpose` adds before and after its dilated input.

    Args:
      padding: `"SAME"`, `"VALID"` or `"CIRCULAR"`, an int, or for each axis an int or a pair.
      size: taps of the kernel along each axis.
      strides: pixels of the output between neighbouring inputs.
      dilation: pixels between neighbouring taps.

    Raises:
      ValueError: for another padding.
    """
    span = tuple(map(dilated_size, size, dilation))
    if not isinstance(padding, str):
        return resolve_padding(padding, span, span, strides)
    match padding:
        case "SAME":
            totals = [extent + step - 2 for extent, step in zip(span, strides, strict=True)]
            before = [
                extent - 1 if step >= extent else (total + 1) // 2
                for extent, step, total in zip(span, strides, totals, strict=True)
            ]
            return tuple((low, total - low) for low, total in zip(before, totals, strict=True))
        case "VALID" | "CIRCULAR":
            return tuple(
                (extent - 1, max(extent, step) - 1)
                for extent, step in zip(span, strides, strict=True)
            )
    raise ValueError(
        f"`padding` must be one of {list(PADDINGS)}, an int, or for each of the {len(size)} "
        f"spatial axes an int or a pair (before, after). {received('padding', padding)} "
        f"The other names of `jconv.conv_transpose` need adjoint=True."
    )


def _swap_channels(kernel, groups: int) -> jax.Array:
    """Return a kernel `(*taps, out / groups, in)` as `(*taps, in / groups, out)`."""
    *taps, outputs, inputs = kernel.shape
    kernel = kernel.reshape(*taps, outputs, groups, inputs // groups).swapaxes(-3, -1)
    return kernel.reshape(*taps, inputs // groups, groups * outputs)


def _wrap_around(y, axis: int, period: int, transpose_kernel: bool) -> jax.Array:
    """Sum the pixels of `y` that coincide when one axis is periodic.

    The surplus is split evenly between both ends. An odd pixel goes where Flax puts it, which
    depends on `transpose_kernel`.
    """
    surplus = -(y.shape[axis] - period) % (2 * period)
    start = (surplus + (not transpose_kernel)) // 2 % period
    pads = [(0, 0)] * y.ndim
    pads[axis] = (start, -(start + y.shape[axis]) % period)
    y = jnp.pad(y, pads)
    return y.reshape(*y.shape[:axis], -1, period, *y.shape[axis + 1 :]).sum(axis)
