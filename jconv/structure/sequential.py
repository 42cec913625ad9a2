"""One convolution after another, as one convolution.

What decides is the border: zeros that are padded between two convolutions are not what the first
one makes of zeros further out.

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
from jconv.structure.affine import Affine, NotMergeable, of_constant, pads_any, regrouped, widened

Pair = tuple[int, int]  # pixels before and after an axis


def of_the_same_channels(first: Affine, second: Affine) -> tuple[Affine, Affine]:
    """Both, where either may stand for any number of channels.

    Raises:
      NotMergeable: where `second` sees another number of channels than `first` makes.
    """
    if second.each:
        second = widened(second, len(first.bias))
    elif first.each and second.inputs % len(first.bias) == 0:
        first = widened(first, second.inputs // len(first.bias))
    if second.inputs != len(first.bias):
        raise NotMergeable(f"{len(first.bias)} channels come out and {second.inputs} go in")
    return first, second


def compose(first: Affine, second: Affine) -> Affine:
    """`second(first(x))`, of what `of_the_same_channels` gave.

    Raises:
      NotMergeable: where `second` pads what `first` would not have made of zeros.
    """
    pads, mode = _composed_border(first, second)
    groups = math.gcd(first.groups, second.groups)
    a, b = regrouped(first, groups), regrouped(second, groups)
    stride = tuple(s * t for s, t in zip(a.stride, b.stride, strict=True))
    bias = of_constant(b.kernel, a.bias, groups)
    offset = of_constant(b.magnitude, a.offset, groups)
    return Affine(
        _convolved(a.kernel, b.kernel, a.stride, groups),
        bias + b.bias,
        stride,
        pads,
        groups,
        _convolved(a.magnitude, b.magnitude, a.stride, groups),
        offset + b.offset,
        _convolved(
            a.seen[..., None, None] + 0.0, b.seen[..., None, None] + 0.0, a.stride, 1
        )[..., 0, 0] > 0,
        mode,
        first.each,
    )  # fmt: skip


def _composed_border(first: Affine, second: Affine) -> tuple[Pads | str, str]:
    """What both pad together, and of what."""
    own, more = first.pads, second.pads
    if pads_any(more) and second.mode == "zeros" and np.any(first.bias):
        raise NotMergeable("zeros are padded where the bias of what comes before would be")
    if second.is_pointwise:
        return own, first.mode
    if first.is_pointwise:
        return more, second.mode
    if isinstance(own, str):
        raise NotMergeable("the border of what comes before depends on the input's size")
    if isinstance(more, str):
        raise NotMergeable("its border depends on the size of what comes before it")
    mode = first.mode
    if _continues_input(first, second, own, more):
        if pads_any(own) and pads_any(more) and first.mode != second.mode:
            raise NotMergeable(
                f"its border, {second.mode!r}, is not that of before, {first.mode!r}"
            )
        mode = second.mode if pads_any(more) else first.mode
    elif not _continues_zeros(first, second, own, more):
        _check_padded(first, second, own, more)
    pads = tuple(
        (low + step * more_low, high + step * more_high)
        for (low, high), (more_low, more_high), step in zip(own, more, first.stride, strict=True)
    )
    return pads, mode if pads_any(pads) else "zeros"


def _continues_input(first: Affine, second: Affine, own: Pads, more: Pads) -> bool:
    """Whether the border of `second` is what `first` makes of the same border of the input: along
    each axis that has one, as `first` does nothing there, or both continue a period."""
    periods = first.mode == second.mode == "circular"
    for sides, pads, taps, step in zip(more, own, first.taps, first.stride, strict=True):
        does_nothing = taps == step == 1 and pads == (0, 0)
        keeps_period = periods and step == 1 and sum(pads) == taps - 1
        if max(sides) > 0 and not (does_nothing or keeps_period):
            return False
    return True


def _continues_zeros(first: Affine, second: Affine, own: Pads, more: Pads) -> bool:
    """Whether all that `second` repeats at its border is what `first` makes of padded zeros, and
    would be so further out."""
    if first.mode != "zeros" or second.mode == "zeros":
        return False
    for (low, high), sides, taps, step in zip(own, more, first.taps, first.stride, strict=True):
        # Outermost places where `first` sees zeros alone, whatever the input's size.
        before = max(0, (low - taps) // step + 1)
        after = max(0, (high - taps - (step - 1)) // step + 1)
        match second.mode:
            case "replicate":
                repeated = [min(side, 1) for side in sides]
            case "circular":
                repeated = [*reversed(sides)]
            case _:  # mirrored: all but the outermost place
                repeated = [side + 1 if side > 0 else 0 for side in sides]
        crops = min(sides) < 0 and second.mode != "replicate"
        if max(sides) > 0 and (crops or before < repeated[0] or after < repeated[1]):
            return False
        if _sees_pixels_beyond((low, high), sides, taps, step):
            return False
    return True


def _check_padded(first: Affine, second: Affine, own: Pads, more: Pads) -> None:
    """One place further out on either side, all that `first` sees must be zeros."""
    if second.mode != "zeros":
        raise NotMergeable(
            f"its border, {second.mode!r}, continues what comes before, not the input"
        )
    if first.mode != "zeros":
        raise NotMergeable(
            f"zeros are padded where the border of what comes before is {first.mode!r}"
        )
    for (low, high), (more_low, more_high), taps, step in zip(
        own, more, first.taps, first.stride, strict=True
    ):
        if _sees_pixels_beyond((low, high), (more_low, more_high), taps, step):
            raise NotMergeable("zeros are padded where what comes before sees pixels of the border")


def _sees_pixels_beyond(own: Pair, more: Pair, taps: int, step: int) -> bool:
    """Whether one place further out, on a side that is padded again, is other than zeros."""
    return (more[0] > 0 and own[0] < taps - step) or (more[1] > 0 and own[1] < taps - 1)


def _convolved(a: np.ndarray, b: np.ndarray, stride: Sequence[int], groups: int) -> np.ndarray:
    """The kernel of `b` after `a`: its taps lie `stride` pixels apart."""
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
        place = tuple(
            slice(t * step, t * step + n) for t, step, n in zip(tap, stride, a.shape, strict=False)
        )
        kernel[place] += np.einsum("...cgm,mgo->...cgo", a, b[tap])
    return kernel.reshape(*sizes, a.shape[rank], groups * outputs)
