"""Depthwise separable convolution: filter each channel by itself, then mix the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, ArrayLike, Num

from jconv._core.layout import resolve_layout
from jconv._core.validation import as_array, check_ranks, hashable, rename_arguments
from jconv.algorithms import Algorithm
from jconv.functional.conv import conv
from jconv.functional.depthwise_conv import depthwise_conv
from jconv.selection.plan import Plan


def separable_conv(
    x: Num[ArrayLike, ...],
    depthwise: Num[ArrayLike, ...],
    pointwise: Num[ArrayLike, ...],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
    flip: bool = False,
    precision: Any = None,
    preferred_element_type: Any = None,
    algorithm: str | Algorithm | Plan = "auto",
    tolerance: float | None = None,
) -> Num[Array, ...]:
    """Convolve each channel with separate kernels, then mix the channels of each pixel.

    A k x k kernel from `ci` to `co` channels costs `1/co + 1/k^2` of the dense one.
    `jconv.kernels.factorise` gives the two kernels of a dense kernel.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      depthwise: `(*space, c, multiplier)`, as in `jconv.depthwise_conv`.
      pointwise: `(c * multiplier, co)`, or the same with a 1 for every spatial axis before it.
      stride: as in `jconv.conv`, like all that follow; of the depthwise convolution.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      padding_mode: what lies beyond the border.
      layout: of input and output; the layout of the kernels is fixed.
      flip: reverse the depthwise kernel along every spatial axis.
      precision: as in `lax.conv_general_dilated`, of both.
      preferred_element_type: dtype of both results.
      algorithm: the algorithm of both, or a `jconv.Plan`.
      tolerance: the largest error bound of an algorithm that `"auto"` selects.

    Returns:
      `(n, *space, co)`.

    Raises:
      ValueError: as in `jconv.conv`.

    Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017).
    """
    x = as_array("x", x)
    depthwise, pointwise = as_array("depthwise", depthwise), as_array("pointwise", pointwise)
    rank = check_ranks(x.shape, depthwise.shape, "depthwise")
    mixed = depthwise.shape[-2] * depthwise.shape[-1]
    ones = (1,) * rank
    if pointwise.shape[:-1] not in ((mixed,), (*ones, mixed)):
        raise ValueError(
            f"`pointwise` must have the shape ({mixed}, out), or {(*ones, mixed, 'out')}: "
            f"channels * multiplier of `depthwise` come in. "
            f"Received: pointwise.shape={pointwise.shape}, depthwise.shape={depthwise.shape}."
        )
    pointwise = pointwise.reshape(*ones, mixed, pointwise.shape[-1])
    resolved = resolve_layout(hashable(layout), rank)
    # The depthwise convolution has brought its output to the layout of the output already.
    pointwise_layout = resolved._replace(
        lhs_spec=resolved.out_spec, rhs_spec=resolve_layout(None, rank).rhs_spec
    )
    failing = "depthwise"  # the kernel that an error is about
    try:
        y = depthwise_conv(
            x,
            depthwise,
            stride=stride,
            padding=padding,
            dilation=dilation,
            input_dilation=input_dilation,
            padding_mode=padding_mode,
            layout=layout,
            flip=flip,
            precision=precision,
            preferred_element_type=preferred_element_type,
            algorithm=algorithm,
            tolerance=tolerance,
        )
        failing = "pointwise"
        return conv(
            y,
            pointwise,
            padding="VALID",
            layout=pointwise_layout,
            precision=precision,
            preferred_element_type=preferred_element_type,
            algorithm=algorithm,
            tolerance=tolerance,
        )
    except ValueError as error:
        error.args = (rename_arguments(error, {"kernel": failing}),)
        raise
