"""Convolution layers: Flax's, with the algorithm and the border to choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Num

from jconv._core.conv_spec import resolve_precision
from jconv._core.geometry import PADDINGS, resolve_padding, resolve_padding_mode
from jconv._core.validation import (
    as_array,
    as_listed,
    check_int,
    common_dtype,
    hashable,
    per_axis,
    received,
    rename_arguments,
)
from jconv.algorithms import Algorithm
from jconv.functional.conv import conv
from jconv.functional.lax_compat import resharded
from jconv.selection.plan import Plan, make_plan

FLAX_BORDERS = ("CIRCULAR", "REFLECT")  # that `nnx.Conv` adds itself

FLAX_NAMES = {
    "x": "inputs",
    "stride": "strides",
    "dilation": "kernel_dilation",
    "groups": "feature_group_count",
}


class Conv(nnx.Conv):
    """`nnx.Conv` by jconv's algorithms: `(n, *space, in)` to `(n, *space, out)`.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the kernel, one for each spatial axis; an int is one axis.
      strides: pixels between neighbouring outputs.
      padding: as in `nnx.Conv`, and any other name that `jconv.conv` takes.
      padding_mode: what lies beyond the border; see `jconv.conv`.
      algorithm: how to convolve; see `jconv.ALGORITHMS` and `jconv.Plan`.
      rngs: draws the initial kernel.
      **options: whatever else `nnx.Conv` takes.

    Raises:
      ValueError: for an argument that no input could go with; when called, as `jconv.conv`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        padding: Any = "SAME",
        padding_mode: str = "zeros",
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
        **options,
    ):
        if "conv_general_dilated" in options:
            raise ValueError(
                "`conv_general_dilated` must not be given: the layer's convolution is jconv's. "
                "Choose with `algorithm`, or use `nnx.Conv`."
            )
        in_features = check_int("in_features", in_features, min=1)
        out_features = check_int("out_features", out_features, min=1)
        kernel_size = axis_sizes("kernel_size", kernel_size)
        rank = len(kernel_size)
        padding = _padding(padding, rank)
        resolve_padding_mode(padding_mode)
        if padding_mode != "zeros" and padding in FLAX_BORDERS:
            raise ValueError(
                f"`padding` must be a size where `padding_mode` says what lies there. Received: "
                f"padding={padding!r} with padding_mode={padding_mode!r}. Use padding='SAME'."
            )
        for name in ("input_dilation", "kernel_dilation"):
            if name in options:
                options[name] = _per_axis(name, options[name], rank)
        groups = _groups(options.get("feature_group_count", 1), in_features, out_features)
        options["feature_group_count"] = groups
        _check_numerics(rngs, options)
        mask, shape = options.get("mask"), (*kernel_size, in_features // groups, out_features)
        if mask is not None and getattr(mask, "shape", None) != shape:
            raise ValueError(
                f"`mask` must be None or an array of the kernel's shape {shape}. "
                f"Received: {getattr(mask, 'shape', type(mask).__name__)}."
            )
        super().__init__(
            in_features,
            out_features,
            kernel_size,
            _per_axis("strides", strides, rank),
            padding=padding,
            rngs=rngs,
            conv_general_dilated=_Convolution(algorithm, padding_mode),
            **options,
        )

    def __call__(self, inputs, out_sharding=None) -> jax.Array:
        inputs = as_array("inputs", inputs)
        rank = len(self.kernel_size)
        if inputs.ndim <= rank or inputs.shape[-1] != self.in_features:
            raise ValueError(
                f"`inputs` must end in {rank} axes of space and one of {self.in_features} "
                f"channels, as `kernel_size` and `in_features` say. Received: "
                f"inputs.shape={inputs.shape}. Move or add axes, or make another layer."
            )
        if self.dtype is None:
            common_dtype("inputs", inputs, "kernel", self.kernel[...])
        return super().__call__(inputs, out_sharding)


def axis_sizes(name: str, sizes: Any) -> tuple[int, ...]:
    """Pixels along each spatial axis; an int is one axis."""
    listed = as_listed(hashable(sizes))
    also = ", or one for each spatial axis"
    checked = tuple(
        check_int(name, n, min=1, hint=also) for n in ((sizes,) if listed is None else listed)
    )
    if not checked:
        raise ValueError(f"`{name}` must have at least one spatial axis. {received(name, sizes)}")
    return checked


def _per_axis(name: str, value: Any, rank: int) -> tuple[int, ...]:
    """As `nnx.Conv` takes them: None is 1."""
    return per_axis(name, 1 if value is None else hashable(value), rank)


def _padding(padding: Any, rank: int) -> Any:
    """What `nnx.Conv` takes, from whatever `jconv.conv` takes, or a border that Flax adds."""
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
    return padding.upper() if isinstance(padding, str) else list(pads)


def _groups(groups: Any, in_features: int, out_features: int) -> int:
    count = check_int("feature_group_count", groups, min=1)
    for name, channels in (("in_features", in_features), ("out_features", out_features)):
        if channels % count:
            raise ValueError(
                f"`feature_group_count` must divide `{name}`. Received: "
                f"feature_group_count={count} with {name}={channels}. Change one of them."
            )
    return count


def _check_numerics(rngs: Any, options: dict[str, Any]) -> None:
    """Whatever would fail inside of Flax or JAX."""
    if not hasattr(rngs, "params"):
        raise ValueError(f"`rngs` must be `nnx.Rngs(seed)`. {received('rngs', rngs)}")
    resolve_precision(hashable(options.get("precision")))
    kinds = {"dtype": jnp.inexact, "param_dtype": jnp.inexact, "preferred_element_type": jnp.number}
    for name, kind in kinds.items():
        given = options.get(name)
        if given is None and (name != "param_dtype" or name not in options):
            continue
        try:
            known = given is not None and jnp.issubdtype(jnp.dtype(given), kind)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise ValueError(
                f"`{name}` must be a dtype of {'floats' if kind is jnp.inexact else 'numbers'}, "
                f"such as jnp.float32. {received(name, given)}"
            )
    for name in ("kernel_init", "bias_init", "promote_dtype"):
        if name in options and not callable(options[name]):
            raise ValueError(
                f"`{name}` must be a function, such as those of `jax.nn.initializers`. "
                f"{received(name, options[name])}"
            )
    if not isinstance(options.get("use_bias", True), bool):
        raise ValueError(
            f"`use_bias` must be True or False. {received('use_bias', options['use_bias'])}"
        )


@dataclass(frozen=True)
class _Convolution:
    """What `nnx.Conv` calls in place of `lax.conv_general_dilated`; equal where its fields are."""

    algorithm: str | Algorithm | Plan
    padding_mode: str

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
        out_sharding=None,
        **numerics,
    ) -> jax.Array:
        try:
            y = conv(
                x,
                kernel,
                stride=strides,
                padding=padding,
                dilation=rhs_dilation,
                input_dilation=lhs_dilation,
                groups=feature_group_count,
                layout=dimension_numbers,
                algorithm=self.algorithm,
                padding_mode=self.padding_mode,
                **numerics,
            )
        except ValueError as error:
            error.args = (rename_arguments(error, FLAX_NAMES),)
            raise
        return y if out_sharding is None else resharded(y, out_sharding)


class DepthwiseConv(Conv):
    """Gives every channel `multiplier` kernels of its own: `(n, *space, c)` to `c * multiplier`.

    Args:
      in_features: channels.
      kernel_size: pixels of the kernels, one for each spatial axis.
      strides: pixels between neighbouring outputs.
      multiplier: kernels a channel.
      rngs: draws the initial kernels.
      **options: as in `Conv`.
    """

    def __init__(
        self,
        in_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        multiplier: int = 1,
        rngs: nnx.Rngs,
        **options,
    ):
        in_features = check_int("in_features", in_features, min=1)
        multiplier = check_int("multiplier", multiplier, min=1)
        super().__init__(
            in_features,
            in_features * multiplier,
            kernel_size,
            strides,
            feature_group_count=in_features,
            rngs=rngs,
            **options,
        )


OF_BOTH_PASSES = (
    "dtype",
    "param_dtype",
    "precision",
    "preferred_element_type",
    "promote_dtype",
    "kernel_init",
    "kernel_metadata",
)


class SeparableConv(nnx.Module):
    """Filters each channel by itself, then mixes the channels pixel by pixel.

    With a multiplier of 1 it has `1/out + 1/k^2` of the kernel and of the multiply-adds of a
    dense `k x k` convolution. One bias, after the mixing.

    Args:
      in_features: input channels.
      out_features: output channels.
      kernel_size: pixels of the depthwise kernels, one for each spatial axis.
      strides: pixels between neighbouring outputs.
      multiplier: kernels a channel before mixing.
      use_bias: whether to add a bias to the output.
      algorithm: how both passes convolve.
      rngs: draws the initial kernels.
      **options: as in `Conv`; dtypes, precision and the kernels' initialisation are those of
        both passes, the bias's of the second, and all others of the first.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] | None = 1,
        *,
        multiplier: int = 1,
        use_bias: bool = True,
        algorithm: str | Algorithm | Plan = "auto",
        rngs: nnx.Rngs,
        **options,
    ):
        check_int("out_features", out_features, min=1)
        both: dict[str, Any] = {name: options[name] for name in OF_BOTH_PASSES if name in options}
        bias = {n: options.pop(n) for n in ("bias_init", "bias_metadata") if n in options}
        self.depthwise = DepthwiseConv(
            in_features,
            kernel_size,
            strides,
            multiplier=multiplier,
            use_bias=False,
            algorithm=algorithm,
            rngs=rngs,
            **options,
        )
        self.pointwise = Conv(
            self.depthwise.out_features,
            out_features,
            (1,) * len(self.depthwise.kernel_size),
            use_bias=use_bias,
            algorithm=algorithm,
            rngs=rngs,
            **both,
            **bias,
        )

    def __call__(self, x: Num[Array, "..."]) -> Num[Array, "..."]:
        return self.pointwise(self.depthwise(x))
