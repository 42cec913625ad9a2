"""The convolution layer: `flax.nnx.Conv` with a choice of algorithm and border."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype as default_promote_dtype
from flax.nnx.nn.linear import default_bias_init, default_kernel_init
from jax import lax

from jconv._core.geometry import PADDINGS, resolve_padding, resolve_padding_mode
from jconv._core.validation import as_array, common_dtype, hashable, received
from jconv.algorithms import Algorithm
from jconv.functional.conv import conv
from jconv.functional.lax_compat import resharded
from jconv.nn.layer_arguments import (
    axis_sizes,
    check_features,
    check_mask,
    check_parameters,
    errors_in_flax_names,
    flax_names,
    is_channels_first,
    per_axis_or_one,
)
from jconv.selection.plan import Plan, make_plan

FLAX_BORDERS = ("CIRCULAR", "REFLECT")  # paddings that `nnx.Conv` applies itself


class Conv(nnx.Conv):
    """`flax.nnx.Conv` computed by jconv: `(*batch, *space, in)` to `(*batch, *space, out)`.

    Every argument of `nnx.Conv` is accepted and means the same. An input may have any number of
    batch axes, or none.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of the kernel in pixels along each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs; None is 1.
      padding: as in `nnx.Conv`, or any other name that `jconv.conv` takes.
      input_dilation: pixels between neighbouring inputs, with zeros between them; None is 1.
      kernel_dilation: pixels between neighbouring taps; None is 1.
      feature_group_count: number of groups into which the channels are split.
      use_bias: whether to add a bias to the output.
      mask: array of the kernel's shape that is multiplied with it; None for none.
      dtype: dtype of the computation; None to infer it from inputs and parameters.
      param_dtype: dtype of kernel and bias.
      precision: as in `jconv.conv`.
      kernel_init: initializer of the kernel, `(*kernel_size, in / groups, out)`.
      bias_init: initializer of the bias.
      conv_general_dilated: another function with the signature of `lax.conv_general_dilated`. The
        layer calls it as `nnx.Conv` does, and the options of jconv below must be left out.
      promote_dtype: function that promotes `(inputs, kernel, bias)` to a `dtype`.
      preferred_element_type: dtype of the convolution's result, before the bias is added.
      padding_mode: values beyond the border; see `jconv.conv`.
      flip: whether to reverse the kernel along every spatial axis.
      layout: None for channels last, or a name such as `"NCHW"`, of input and output. The kernel's
        layout is fixed.
      algorithm: algorithm of the convolution; see `jconv.ALGORITHMS` and `jconv.Plan`.
      tolerance: as in `jconv.conv`.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of the kernel's variable.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: for arguments that fit no input; when called, as `jconv.conv`.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        input_dilation: int | Sequence[int] | None = 1,
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        mask: Any = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        conv_general_dilated: Callable[..., jax.Array] = lax.conv_general_dilated,
        promote_dtype: Any = default_promote_dtype,
        preferred_element_type: Any = None,
        padding_mode: str = "zeros",
        flip: bool = False,
        layout: str | None = None,
        algorithm: str | Algorithm | Plan = "auto",
        tolerance: float | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        in_features, out_features, groups = check_features(
            in_features, out_features, feature_group_count
        )
        kernel_size = axis_sizes("kernel_size", kernel_size)
        rank = len(kernel_size)
        padding = _padding(padding, rank)
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
        check_mask(mask, (*kernel_size, in_features // groups, out_features))
        convolution = ConvGeneralDilated(algorithm, padding_mode, flip, tolerance)
        if padding_mode != "zeros" and padding in FLAX_BORDERS:
            raise ValueError(
                f"`padding` must be a size where `padding_mode` is given. Received: "
                f"padding={padding!r} with padding_mode={padding_mode!r}. Use padding='SAME'."
            )
        if conv_general_dilated is not lax.conv_general_dilated:
            convolution = _injected(conv_general_dilated, convolution)
        is_channels_first(layout, rank)
        self.layout = layout
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            per_axis_or_one("strides", strides, rank),
            padding=padding,
            input_dilation=per_axis_or_one("input_dilation", input_dilation, rank),
            kernel_dilation=per_axis_or_one("kernel_dilation", kernel_dilation, rank),
            feature_group_count=groups,
            use_bias=use_bias,
            mask=mask,
            dtype=dtype,
            param_dtype=param_dtype,
            precision=precision,
            kernel_init=kernel_init,
            bias_init=bias_init,
            conv_general_dilated=convolution,
            promote_dtype=promote_dtype,
            preferred_element_type=preferred_element_type,
            rngs=rngs,
            kernel_metadata=kernel_metadata,
            bias_metadata=bias_metadata,
        )

    def __call__(self, inputs: Any, out_sharding=None) -> jax.Array:
        """Return the convolution of `inputs`.

        Args:
          inputs: `(*batch, *space, in)`, or as `layout` says.
          out_sharding: sharding of the output under explicit sharding, as in `nnx.Conv`.

        Raises:
          ValueError: if `inputs` has other axes or channels than the layer.
        """
        inputs = as_array("inputs", inputs)
        rank = len(self.kernel_size)
        channels_first = is_channels_first(self.layout, rank)
        channel_axis = -rank - 1 if channels_first else -1
        if inputs.ndim <= rank or inputs.shape[channel_axis] != self.in_features:
            raise ValueError(
                f"`inputs` must end in {rank} axes of space and one of {self.in_features} "
                f"channels{' before them' if channels_first else ''}, as `kernel_size` and "
                f"`in_features` say. Received: inputs.shape={inputs.shape}. "
                f"Move or add axes, or make another layer."
            )
        if self.dtype is None:
            common_dtype("inputs", inputs, "kernel", self.kernel[...])
        if not channels_first:
            return super().__call__(inputs, out_sharding)
        if out_sharding is not None:
            raise ValueError(
                f"`out_sharding` must be None where `layout` puts channels first. "
                f"{received('out_sharding', out_sharding)}"
            )
        return jnp.moveaxis(super().__call__(jnp.moveaxis(inputs, -rank - 1, -1)), -1, -rank - 1)


def _padding(padding: Any, rank: int) -> Any:
    """Return the padding in a form that `nnx.Conv` takes, checked."""
    if isinstance(padding, str):
        names = (*PADDINGS, *FLAX_BORDERS)
        if padding.upper() not in names:
            raise ValueError(
                f"`padding` must be one of {list(names)}, an int, or for each of the {rank} "
                f"spatial axes an int or a pair (before, after). {received('padding', padding)}"
            )
        if padding.upper() in FLAX_BORDERS:
            return padding.upper()
    ones = (1,) * rank
    pads = resolve_padding(hashable(padding), ones, ones, ones)
    return padding.upper() if isinstance(padding, str) else pads


def _injected(function: Any, convolution: ConvGeneralDilated) -> Any:
    """Return another convolution for the layer, which excludes the options of jconv's."""
    if not callable(function):
        raise ValueError(
            f"`conv_general_dilated` must be a function with the signature of "
            f"`lax.conv_general_dilated`. {received('conv_general_dilated', function)}"
        )
    if convolution != ConvGeneralDilated():
        raise ValueError(
            f"`conv_general_dilated` must be left out where `algorithm`, `padding_mode`, `flip` or "
            f"`tolerance` is given: they are options of jconv's convolution. "
            f"Received: {function!r} with {convolution!r}."
        )
    return function


@dataclass(frozen=True)
class ConvGeneralDilated:
    """`jconv.conv` with the signature by which `nnx.Conv` calls its convolution.

    Instances with equal options are equal, so that equal layers have equal graphs and `jit`
    compiles them once.
    """

    algorithm: str | Algorithm | Plan = "auto"
    padding_mode: str = "zeros"
    flip: bool = False
    tolerance: float | None = None

    def __post_init__(self):
        make_plan(self.algorithm)
        resolve_padding_mode(self.padding_mode)

    def __call__(
        self,
        x,
        kernel,
        strides,
        padding,
        *,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count,
        precision=None,
        preferred_element_type=None,
        out_sharding=None,
    ) -> jax.Array:
        """Return `jconv.conv` of the arguments of `lax.conv_general_dilated`."""
        with errors_in_flax_names(x="inputs"):
            y = conv(
                x,
                kernel,
                stride=strides,
                padding=padding,
                dilation=rhs_dilation,
                input_dilation=lhs_dilation,
                groups=feature_group_count,
                padding_mode=self.padding_mode,
                layout=dimension_numbers,
                flip=self.flip,
                precision=precision,
                preferred_element_type=preferred_element_type,
                algorithm=self.algorithm,
                tolerance=self.tolerance,
            )
        return y if out_sharding is None else resharded(y, out_sharding)
