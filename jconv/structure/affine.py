"""The algebra of convolutions: one after another, side by side, and added, as one convolution.

    y[o, f] = bias[f] + sum over t, c of x[o * stride + t - before, c] kernel[t, c, f]

Everything here is exact in real numbers, for every input, or refused. What decides is the border:
zeros that are padded between two convolutions are not what the first one makes of zeros further
out. Numbers are kept in float64.

References: Ding et al., "Diverse Branch Block" (2021), transforms I to VI, here for any window; for
strides, the noble identities in Vaidyanathan, "Multirate Systems and Filter Banks" (1993).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Pads = tuple[tuple[int, int], ...]


class Refused(ValueError):
    """Why something cannot be one convolution."""


@dataclass(frozen=True)
class Border:
    """Padding that is not a fixed number of zeros: it depends on the input's size or pixels.

    Attributes:
      padding: as the layer has it, such as `"SAME"` with strides.
      mode: as in `jconv.conv`.
    """

    padding: object
    mode: str = "zeros"


@dataclass(frozen=True, eq=False)
class Affine:
    """A convolution with a bias, its dilation written out as zeros.

    Attributes:
      kernel: `(*taps, in / groups, out)`.
      bias: `(out,)`.
      stride: of each axis.
      pads: zeros before and after each axis, or another border.
      groups: of channels.
      magnitude: the kernel as sums of absolute products: what its rounding errors are relative to.
      offset: the same of the bias.
      seen: `(*taps,)`, the taps that may be other than zero.
    """

    kernel: np.ndarray
    bias: np.ndarray
    stride: tuple[int, ...]
    pads: Pads | Border
    groups: int
    magnitude: np.ndarray
    offset: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, kernel, bias, stride, pads, groups: int = 1, dilation=None) -> Affine:
        """From a layer's own numbers."""
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        rank = kernel.ndim - 2
        seen = np.ones(kernel.shape[:rank], bool)
        if dilation is not None:
            kernel, seen = (_dilated(a, dilation) for a in (kernel, seen))
        return cls(kernel, bias, tuple(stride), pads, groups, np.abs(kernel), np.abs(bias), seen)

    @property
    def taps(self) -> tuple[int, ...]:
        """Pixels of the kernel along each axis, gaps included."""
        return self.seen.shape

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.kernel.shape[-2] * self.groups

    @property
    def is_pointwise(self) -> bool:
        """Whether an output sees one pixel, at its own place."""
        return {*self.taps, *self.stride} == {1} and self.pads == ((0, 0),) * len(self.taps)

    @property
    def products(self) -> float:
        """Multiply-adds for each pixel of the input."""
        return (
            self.seen.sum()
            * self.kernel[..., :, :].shape[-2]
            * len(self.bias)
            / math.prod(self.stride)
        )


def pointwise(scale, shift, rank: int) -> Affine:
    """A scale and a shift of each channel."""
    scale = np.asarray(scale, np.float64).reshape((1,) * rank + (1, -1))
    shift = np.broadcast_to(np.asarray(shift, np.float64), scale.shape[-1:])
    return Affine.of(scale, shift, (1,) * rank, ((0, 0),) * rank, scale.shape[-1])


def compose(first: Affine, second: Affine) -> Affine:
    """`second(first(x))`.

    Raises:
      Refused: where `second` pads what `first` would not have made of zeros.
    """
    if second.inputs != len(first.bias):
        raise Refused(f"{len(first.bias)} channels come out and {second.inputs} go in")
    pads = _composed_pads(first, second)
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
    )  # fmt: skip


def of_constant(kernel: np.ndarray, value: np.ndarray, groups: int) -> np.ndarray:
    """What a kernel makes of channels that are the same everywhere."""
    weights = kernel.sum(tuple(range(kernel.ndim - 2)))
    weights = weights.reshape(len(weights), groups, -1)
    return np.einsum("mgo,gm->go", weights, value.reshape(groups, -1)).ravel()


def _composed_pads(first: Affine, second: Affine) -> Pads | Border:
    if second.is_pointwise:
        return first.pads
    if isinstance(second.pads, Border):
        if not first.is_pointwise:
            raise Refused("its border depends on the size or the pixels of what comes before it")
        if second.pads.mode == "zeros" and np.any(first.bias):
            raise Refused("zeros are padded where the bias of what comes before would be")
        return second.pads
    if isinstance(first.pads, Border):
        raise Refused("the border of what comes before depends on the input's size or pixels")
    if any(low > 0 or high > 0 for low, high in second.pads) and np.any(first.bias):
        raise Refused("zeros are padded where the bias of what comes before would be")
    for (low, high), (more_low, more_high), taps, step in zip(
        first.pads, second.pads, first.taps, first.stride, strict=True
    ):
        # One place further out on either side, all that `first` sees must be padding.
        if (more_low > 0 and low < taps - step) or (more_high > 0 and high < taps - 1):
            raise Refused("zeros are padded where what comes before sees pixels of the border")
    return tuple(
        (low + step * more_low, high + step * more_high)
        for (low, high), (more_low, more_high), step in zip(
            first.pads, second.pads, first.stride, strict=True
        )
    )


def add(parts: Sequence[Affine]) -> Affine:
    """The sum of what convolutions make of one input.

    Raises:
      Refused: where they differ in shape or in stride, or a border has no fixed size.
    """
    if len({len(part.bias) for part in parts}) > 1:
        raise Refused(f"branches have {[len(part.bias) for part in parts]} channels")
    groups = math.gcd(*(part.groups for part in parts))
    parts = _aligned([regrouped(part, groups) for part in parts])
    return replace(
        parts[0],
        kernel=sum(part.kernel for part in parts),
        bias=sum(part.bias for part in parts),
        magnitude=sum(part.magnitude for part in parts),
        offset=sum(part.offset for part in parts),
        seen=np.any([part.seen for part in parts], axis=0),
    )


def concatenate(parts: Sequence[Affine]) -> Affine:
    """What convolutions make of one input, side by side as channels.

    Raises:
      Refused: where they differ in stride, or a border has no fixed size.
    """
    parts = _aligned([regrouped(part, 1) for part in parts])
    return replace(
        parts[0],
        kernel=np.concatenate([part.kernel for part in parts], -1),
        bias=np.concatenate([part.bias for part in parts]),
        magnitude=np.concatenate([part.magnitude for part in parts], -1),
        offset=np.concatenate([part.offset for part in parts]),
        seen=np.any([part.seen for part in parts], axis=0),
    )


def split(parts: Sequence[Affine]) -> Affine:
    """What convolutions make of one share of the channels each, side by side.

    Raises:
      Refused: as `concatenate`.
    """
    inputs = sum(part.inputs for part in parts)
    start, placed = 0, []
    for part in parts:
        dense = regrouped(part, 1)
        edges = (start, inputs - start - part.inputs)
        pads = [(0, 0)] * len(part.taps) + [edges, (0, 0)]
        placed.append(
            replace(
                dense,
                kernel=np.pad(dense.kernel, pads),
                magnitude=np.pad(dense.magnitude, pads),
            )
        )
        start += part.inputs
    return fewest_products(concatenate(placed))


def _aligned(parts: Sequence[Affine]) -> list[Affine]:
    """The same convolutions, all with the smallest window that holds theirs."""
    if len({part.stride for part in parts}) > 1:
        raise Refused(f"branches have strides {[part.stride for part in parts]}")
    if len({part.inputs for part in parts}) > 1:
        raise Refused(f"branches take {[part.inputs for part in parts]} channels")
    if any(isinstance(part.pads, Border) for part in parts):
        if len({(part.pads, part.taps) for part in parts}) > 1:
            raise Refused("their borders depend on the input's size or pixels, and differ")
        return list(parts)
    fixed: list[Any] = [part.pads for part in parts]
    rank = len(parts[0].taps)
    lows, highs, lost = [], [], []
    for axis in range(rank):
        ends = [(own[axis], part.taps[axis]) for own, part in zip(fixed, parts, strict=True)]
        if len({low + high - taps for (low, high), taps in ends}) > 1:
            raise Refused("branches have outputs of different sizes")
        lows.append(max(low for (low, _), _ in ends))
        highs.append(max(taps - low for (low, _), taps in ends))
        (low, high), taps = ends[0]
        lost.append(low + high - taps)
    found = []
    for part, own in zip(parts, fixed, strict=True):
        edges = [
            (lows[axis] - own[axis][0], highs[axis] - part.taps[axis] + own[axis][0])
            for axis in range(rank)
        ]
        channels = [(0, 0), (0, 0)]
        found.append(
            replace(
                part,
                kernel=np.pad(part.kernel, edges + channels),
                magnitude=np.pad(part.magnitude, edges + channels),
                seen=np.pad(part.seen, edges),
                pads=tuple(
                    (low, cut + high) for low, high, cut in zip(lows, highs, lost, strict=True)
                ),
            )
        )
    return found


def regrouped(part: Affine, groups: int) -> Affine:
    """The same convolution with fewer groups, a divisor of its own; zeros between them."""
    if groups == part.groups:
        return part
    joined = part.groups // groups

    def widened(kernel: np.ndarray) -> np.ndarray:
        *taps, inputs, outputs = kernel.shape
        wide = np.zeros((*taps, joined, inputs, groups, joined, outputs // part.groups))
        kernel = kernel.reshape(*taps, inputs, groups, joined, outputs // part.groups)
        for i in range(joined):
            wide[..., i, :, :, i, :] = kernel[..., i, :]
        return wide.reshape(*taps, joined * inputs, outputs)

    return replace(
        part, kernel=widened(part.kernel), magnitude=widened(part.magnitude), groups=groups
    )


def fewest_products(part: Affine) -> Affine:
    """The same convolution with as many groups as its zeros between channels allow."""
    for groups in range(math.gcd(part.inputs, len(part.bias)), part.groups, -1):
        if math.gcd(part.inputs, len(part.bias)) % groups or groups % part.groups:
            continue
        narrow = _narrowed(part, groups)
        if np.array_equal(regrouped(narrow, part.groups).magnitude, part.magnitude):
            return narrow
    return part


def _narrowed(part: Affine, groups: int) -> Affine:
    joined = groups // part.groups

    def own(kernel: np.ndarray) -> np.ndarray:
        *taps, inputs, outputs = kernel.shape
        wide = kernel.reshape(*taps, joined, inputs // joined, part.groups, joined, -1)
        parts = [wide[..., i, :, :, i, :] for i in range(joined)]
        return np.stack(parts, -2).reshape(*taps, inputs // joined, outputs)

    return replace(part, kernel=own(part.kernel), magnitude=own(part.magnitude), groups=groups)


def dilation_of(seen: np.ndarray) -> tuple[int, ...]:
    """The widest spacing of taps along each axis that misses none of those that are seen."""
    spacing = []
    for axis in range(seen.ndim):
        places = np.flatnonzero(seen.any(tuple(a for a in range(seen.ndim) if a != axis)))
        gap = math.gcd(*(places - places[0]).tolist()) if len(places) > 1 else 1
        reaches = places[0] == 0 and places[-1] == seen.shape[axis] - 1
        spacing.append(gap if reaches else 1)
    return tuple(spacing)


def _dilated(array: np.ndarray, dilation: Sequence[int]) -> np.ndarray:
    rank = len(dilation)
    sizes = [(n - 1) * d + 1 for n, d in zip(array.shape, dilation, strict=False)]
    wide = np.zeros((*sizes, *array.shape[rank:]), array.dtype)
    wide[tuple(slice(None, None, d) for d in dilation)] = array
    return wide


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
