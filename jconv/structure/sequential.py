"""Merging of consecutive convolutions into one convolution.

The border decides whether this is exact: where the second convolution pads zeros, the output of
the first one beyond its border must be zero too.

References: Ding et al., "Diverse Branch Block" (2021), transforms I, III and V, here for any
window; for strides, the noble identities in Vaidyanathan, "Multirate Systems and Filter Banks"
(1993).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from jconv._core.geometry import Pads
from jconv.structure.affine import (
    Affine,
    NotMergeable,
    apply_to_constant,
    expand_channels,
    has_padding,
    reduce_groups,
)

Pair = tuple[int, int]  # The pixels before and after an axis.


def match_channels(first: Affine, second: Affine) -> tuple[Affine, Affine]:
    """Return both with the per-channel map among them expanded to the channels of the other.

    Raises:
      NotMergeable: if `second` takes another number of channels than `first` returns.
    """
    if second.per_channel:
        second = expand_channels(second, first.out_channels)
    elif first.per_channel and second.in_channels % first.out_channels == 0:
        first = expand_channels(first, second.in_channels // first.out_channels)
    if second.in_channels != first.out_channels:
        raise NotMergeable(
            f"it takes {second.in_channels} channels and the preceding layer returns "
            f"{first.out_channels}"
        )
    return first, second


def compose_affine(first: Affine, second: Affine) -> Affine:
    """Return `second(first(x))`, for arguments returned by `match_channels`.

    Raises:
      NotMergeable: if the padding of `second` differs from the output of `first` beyond its border.
    """
    padding, padding_mode = _compose_padding(first, second)
    groups = math.gcd(first.groups, second.groups)
    a, b = reduce_groups(first, groups), reduce_groups(second, groups)
    bias = apply_to_constant(b.kernel, a.bias, groups)
    bias_magnitude = apply_to_constant(b.kernel_magnitude, a.bias_magnitude, groups)
    # The support is composed as if it were a kernel of one channel.
    a_support, b_support = (1.0 * affine.support[..., None, None] for affine in (a, b))
    return Affine(
        kernel=_compose_kernels(a.kernel, b.kernel, a.stride, groups),
        bias=bias + b.bias,
        stride=tuple(s * t for s, t in zip(a.stride, b.stride, strict=True)),
        padding=padding,
        groups=groups,
        kernel_magnitude=_compose_kernels(a.kernel_magnitude, b.kernel_magnitude, a.stride, groups),
        bias_magnitude=bias_magnitude + b.bias_magnitude,
        support=_compose_kernels(a_support, b_support, a.stride, 1)[..., 0, 0] > 0,
        padding_mode=padding_mode,
        per_channel=first.per_channel,
    )


def _compose_padding(first: Affine, second: Affine) -> tuple[Pads | str, str]:
    """Return the padding and the padding mode of `second(first(x))`."""
    inner, outer = first.padding, second.padding
    if has_padding(outer) and second.padding_mode == "zeros" and np.any(first.bias):
        raise NotMergeable(
            "it pads zeros, and the preceding layer has a bias, which is not zero beyond the border"
        )
    if second.is_pointwise:
        return inner, first.padding_mode
    if first.is_pointwise:
        return outer, second.padding_mode
    if isinstance(inner, str):
        raise NotMergeable("the padding of the preceding layer depends on the input size")
    if isinstance(outer, str):
        raise NotMergeable("its padding depends on the output size of the preceding layer")
    mode = first.padding_mode
    if _extends_input(first, second, inner, outer):
        if has_padding(outer):
            mode = second.padding_mode
            if has_padding(inner) and first.padding_mode != mode:
                raise NotMergeable(
                    f"its padding mode {mode!r} differs from {first.padding_mode!r} of the "
                    f"preceding layer"
                )
    elif not _extends_zeros(first, second, inner, outer):
        _check_zeros_beyond_border(first, second, inner, outer)
    padding = tuple(
        (low + step * outer_low, high + step * outer_high)
        for (low, high), (outer_low, outer_high), step in zip(
            inner, outer, first.stride, strict=True
        )
    )
    return padding, mode if has_padding(padding) else "zeros"


def _extends_input(first: Affine, second: Affine, inner: Pads, outer: Pads) -> bool:
    """Return whether padding the output of `first` equals padding its input in the same mode.

    This holds along an axis that `second` does not pad, that `first` leaves unchanged, or that is
    periodic for both.
    """
    circular = first.padding_mode == second.padding_mode == "circular"
    for sides, (low, high), taps, step in zip(outer, inner, first.taps, first.stride, strict=True):
        unchanged = taps == step == 1 and (low, high) == (0, 0)
        keeps_period = circular and step == 1 and low + high == taps - 1
        if max(sides) > 0 and not (unchanged or keeps_period):
            return False
    return True


def _extends_zeros(first: Affine, second: Affine, inner: Pads, outer: Pads) -> bool:
    """Return whether the border of `second` repeats only outputs of `first` that are zero.

    These outputs are computed from padded zeros alone, and so would be the outputs further out.
    """
    if first.padding_mode != "zeros" or second.padding_mode == "zeros":
        return False
    for (low, high), sides, taps, step in zip(inner, outer, first.taps, first.stride, strict=True):
        # Outermost outputs of `first` computed from zeros alone, at every input size.
        zeros_before = max(0, (low - taps) // step + 1)
        zeros_after = max(0, (high - taps - (step - 1)) // step + 1)
        match second.padding_mode:
            case "replicate":
                repeated = [min(side, 1) for side in sides]
            case "circular":
                repeated = [*reversed(sides)]
            case _:  # A reflection repeats all but the outermost output.
                repeated = [side + 1 if side > 0 else 0 for side in sides]
        crops = min(sides) < 0 and second.padding_mode != "replicate"
        repeats_others = zeros_before < repeated[0] or zeros_after < repeated[1]
        if max(sides) > 0 and (crops or repeats_others):
            return False
        if _overlaps_input_beyond_border((low, high), sides, taps, step):
            return False
    return True


def _check_zeros_beyond_border(first: Affine, second: Affine, inner: Pads, outer: Pads) -> None:
    """Check that `second` pads zeros and that `first` is zero beyond its border."""
    if second.padding_mode != "zeros":
        raise NotMergeable(
            f"its padding mode {second.padding_mode!r} extends the output of the preceding layer, "
            f"which differs from extending the input"
        )
    if first.padding_mode != "zeros":
        raise NotMergeable(
            f"it pads zeros, and the padding mode of the preceding layer is {first.padding_mode!r}"
        )
    for pads, outer_pads, taps, step in zip(inner, outer, first.taps, first.stride, strict=True):
        if _overlaps_input_beyond_border(pads, outer_pads, taps, step):
            raise NotMergeable(
                "it pads zeros where the window of the preceding layer still overlaps the input"
            )


def _overlaps_input_beyond_border(inner: Pair, outer: Pair, taps: int, step: int) -> bool:
    """Return whether the first window beyond a border that is padded again overlaps the input."""
    return (outer[0] > 0 and inner[0] < taps - step) or (outer[1] > 0 and inner[1] < taps - 1)


def _compose_kernels(
    a: np.ndarray, b: np.ndarray, stride: Sequence[int], groups: int
) -> np.ndarray:
    """Return the kernel of `b` after `a`, whose taps lie `stride` input pixels apart."""
    rank = a.ndim - 2
    sizes = [
        n + step * (m - 1)
        for n, m, step in zip(a.shape[:rank], b.shape[:rank], stride, strict=True)
    ]
    outputs = b.shape[-1] // groups
    kernel = np.zeros((*sizes, a.shape[-2], groups, outputs))
    a = a.reshape(*a.shape[:-1], groups, -1)
    b = b.reshape(*b.shape[:-1], groups, outputs)
    for tap in itertools.product(*map(range, b.shape[:rank])):
        window = tuple(
            slice(t * step, t * step + n) for t, step, n in zip(tap, stride, a.shape, strict=False)
        )
        kernel[window] += np.einsum("...cgm,mgo->...cgo", a, b[tap])
    return kernel.reshape(*sizes, a.shape[rank], groups * outputs)
