"""Depthwise convolution: each channel has separate kernels, and channels are not mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array, ArrayLike, Num

from jconv._core.layout import resolve_layout
from jconv._core.validation import as_array, check_ranks, hashable
from jconv.algorithms import Algorithm
from jconv.functional.conv import conv
from jconv.selection.plan import Plan


def depthwise_conv(
    x: Num[ArrayLike, ...],
    kernel: Num[ArrayLike, ...],
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
    """Convolve each channel with separate kernels, without mixing channels.

    Args:
      x: the input, `(n, *space, c)`, or as `layout` says.
      kernel: `(*space, c, multiplier)` in every layout: `multiplier` kernels for each channel.
      stride: as in `jconv.conv`, like all that follow.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      padding_mode: what lies beyond the border.
      layout: of input and output; the layout of the kernel is fixed.
      flip: reverse the kernel along every spatial axis.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result.
      algorithm: the algorithm, or a `jconv.Plan`.
      tolerance: the largest error bound of an algorithm that `"auto"` selects.

    Returns:
      `(n, *space, c * multiplier)`. Output channel `i * multiplier + m` is input channel `i`
      convolved with its kernel `m`.

    Raises:
      ValueError: as in `jconv.conv`.
    """
    x, kernel = as_array("x", x), as_array("kernel", kernel)
    rank = check_ranks(x.shape, kernel.shape)
    layout = resolve_layout(hashable(layout), rank)
    channels, multiplier = kernel.shape[-2:]
    if x.shape[layout.lhs_spec[1]] != channels:
        raise ValueError(
            f"`kernel` must have the shape (*space, channels, multiplier), with the "
            f"{x.shape[layout.lhs_spec[1]]} channels of `x`. Received: kernel.shape="
            f"{kernel.shape}, x.shape={x.shape}."
        )
    if channels == 0:
        raise ValueError(
            f"`kernel` and `x` must have at least one channel. Received: "
            f"kernel.shape={kernel.shape}, x.shape={x.shape}."
        )
    channels_last = resolve_layout(None, rank)
    return conv(
        x,
        kernel.reshape(*kernel.shape[:-2], 1, channels * multiplier),
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        padding_mode=padding_mode,
        groups=channels,
        layout=layout._replace(rhs_spec=channels_last.rhs_spec),
        flip=flip,
        precision=precision,
        preferred_element_type=preferred_element_type,
        algorithm=algorithm,
        tolerance=tolerance,
    )
