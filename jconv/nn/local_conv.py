"""A convolution layer with a separate kernel for every output position."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from flax.nnx.nn.linear import default_bias_init
from jaxtyping import Num

from jconv._core.geometry import Window, dilated_size, resolve_padding, resolve_padding_mode
from jconv._core.validation import as_array, hashable, per_axis
from jconv.functional.conv import output_shape
from jconv.functional.conv_local import conv_local
from jconv.nn.border import apply_padding
from jconv.nn.layer_arguments import (
    AnyArray,
    axis_sizes,
    check_features,
    check_parameters,
    errors_in_flax_names,
    flax_names,
    is_channels_first,
    over_batch_axes,
    per_axis_or_one,
)


class LocalConv(nnx.Module):
    """Convolution without weight sharing, by `jconv.conv_local`.

    An input `(*batch, *input_size, in)` becomes `(*batch, *output, out)`.

    Args:
      in_features: channels of the input.
      out_features: channels of the output.
      kernel_size: size of each kernel in pixels along each spatial axis; an int is one axis.
      input_size: pixels of the input along each spatial axis.
      strides: pixels between neighbouring outputs; None is 1.
      padding: as in `jconv.conv`.
      input_dilation: pixels between neighbouring inputs, with zeros between them; None is 1.
      kernel_dilation: pixels between neighbouring taps; None is 1.
      feature_group_count: number of groups into which the channels are split.
      use_bias: whether to add a bias, one for each position and channel.
      dtype: dtype of the computation; None to infer it from inputs and parameters.
      param_dtype: dtype of kernels and bias.
      precision: as in `jconv.conv_local`.
      preferred_element_type: dtype of the result, before the bias is added.
      kernel_init: initializer of the kernels, `(*output, *kernel_size, in / groups, out)`; None
        for LeCun's, with the variance that a shared kernel would have.
      bias_init: initializer of the bias, `(*output, out)`.
      padding_mode: values beyond the border; see `jconv.conv`.
      layout: None for channels last, or a name such as `"NCHW"`, of input and output.
      rngs: random streams for the initial parameters.
      kernel_metadata: metadata of the kernels' variable.
      bias_metadata: metadata of the bias's variable.

    Raises:
      ValueError: for arguments that fit no input; when called, as `jconv.conv_local`.

    Reference: Taigman et al., "DeepFace" (2014), section 3.
    """

    @flax_names
    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        input_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        input_dilation: int | Sequence[int] | None = 1,
        kernel_dilation: int | Sequence[int] | None = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        preferred_element_type: Any = None,
        kernel_init: nnx.Initializer | None = None,
        bias_init: nnx.Initializer = default_bias_init,
        padding_mode: str = "zeros",
        layout: str | None = None,
        rngs: nnx.Rngs,
        kernel_metadata: Mapping[str, Any] = MappingProxyType({}),
        bias_metadata: Mapping[str, Any] = MappingProxyType({}),
    ):
        self.in_features, self.out_features, groups = check_features(
            in_features, out_features, feature_group_count
        )
        self.kernel_size = axis_sizes("kernel_size", kernel_size)
        rank = len(self.kernel_size)
        kernel_init = kernel_init or nnx.initializers.lecun_normal(batch_axis=tuple(range(rank)))
        check_parameters(
            rngs,
            use_bias=use_bias,
            kernel_init=kernel_init,
            bias_init=bias_init,
            param_dtype=param_dtype,
            dtype=dtype,
            precision=precision,
            preferred_element_type=preferred_element_type,
        )
        is_channels_first(layout, rank)
        self.input_size = per_axis("input_size", input_size, rank)
        self.strides = per_axis_or_one("strides", strides, rank)
        self.input_dilation = per_axis_or_one("input_dilation", input_dilation, rank)
        self.kernel_dilation = per_axis_or_one("kernel_dilation", kernel_dilation, rank)
        self.padding, self.padding_mode = hashable(padding), resolve_padding_mode(padding_mode)
        self.feature_group_count, self.layout, self.dtype = groups, layout, dtype
        self.precision, self.preferred_element_type = precision, preferred_element_type
        shape = (*self.kernel_size, self.in_features // groups, self.out_features)
        with errors_in_flax_names():
            output = output_shape(
                (1, *self.input_size, self.in_features),
                shape,
                stride=self.strides,
                padding=padding,
                dilation=self.kernel_dilation,
                input_dilation=self.input_dilation,
                groups=groups,
                padding_mode=padding_mode,
            )[1:-1]
        self.kernel = nnx.Param(
            kernel_init(rngs.params(), (*output, *shape), param_dtype), **kernel_metadata
        )
        self.bias = (
            nnx.Param(
                bias_init(rngs.params(), (*output, out_features), param_dtype), **bias_metadata
            )
            if use_bias
            else None
        )

    @property
    def geometry(self) -> Window:
        """Window of the layer, for `jconv.analysis`, which cannot derive it from a gather."""
        span = tuple(map(dilated_size, self.kernel_size, self.kernel_dilation))
        dilated = tuple(map(dilated_size, self.input_size, self.input_dilation))
        return Window(
            input=self.input_size,
            taps=self.kernel_size,
            stride=self.strides,
            padding=resolve_padding(self.padding, dilated, span, self.strides),
            dilation=self.kernel_dilation,
            input_dilation=self.input_dilation,
        )

    def __call__(self, x: Any) -> Num[AnyArray, "..."]:
        """Return the convolution of `x`, which must have the pixels of `input_size`."""
        x = as_array("x", x)
        rank = len(self.kernel_size)
        return over_batch_axes("x", self._convolve, x, rank, self.in_features, self.layout)

    def _convolve(self, x):
        """Return the output of the layer for an input `(n, *space, in)`."""
        if x.shape[1:-1] != self.input_size:
            raise ValueError(
                f"`x` must have {self.input_size} pixels, as `input_size` says: there is a kernel "
                f"for each position. Received: {x.shape[1:-1]} pixels."
            )
        bias = None if self.bias is None else self.bias[...]
        x, kernel, bias = promote_dtype((x, self.kernel[...], bias), dtype=self.dtype)
        x, padding = apply_padding(
            x, self.padding, self.padding_mode, self.kernel_size, self.strides, self.kernel_dilation
        )
        y = conv_local(
            x,
            kernel,
            stride=self.strides,
            padding=padding,
            dilation=self.kernel_dilation,
            input_dilation=self.input_dilation,
            groups=self.feature_group_count,
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        return y if bias is None else y + bias
