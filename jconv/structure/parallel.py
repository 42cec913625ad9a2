"""Convolutions of one input, added or side by side as channels, as one convolution.

Reference: Ding et al., "Diverse Branch Block" (2021), transforms II, IV and VI, here for any
window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jconv._core.geometry import Pads, resolve_padding
from jconv.structure.affine import (
    Affine,
    NotMergeable,
    fewest_products,
    pads_any,
    regrouped,
    widened,
)


def add(parts: Sequence[Affine]) -> Affine:
    """The sum of what convolutions make of one input.

    Raises:
      NotMergeable: where they differ in shape, in stride or in border.
    """
    parts = _as_many(parts)
    if len({len(part.bias) for part in parts}) > 1:
        raise NotMergeable(f"branches have {[len(part.bias) for part in parts]} channels")
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
      NotMergeable: where they differ in stride or in border.
    """
    parts = _aligned([regrouped(part, 1) for part in _as_many(parts)])
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
      NotMergeable: as `concatenate`.
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


def _as_many(parts: Sequence[Affine]) -> list[Affine]:
    """The same, those that stand for any number of channels written out for that of the others."""
    known = {part.inputs for part in parts if not part.each}
    if len(known) != 1:
        return list(parts)
    (channels,) = known
    return [widened(part, channels) if part.each else part for part in parts]


def _aligned(parts: Sequence[Affine]) -> list[Affine]:
    """The same convolutions, all with the smallest window that holds theirs."""
    if len({part.stride for part in parts}) > 1:
        raise NotMergeable(f"branches have strides {[part.stride for part in parts]}")
    if len({part.inputs for part in parts}) > 1:
        raise NotMergeable(f"branches take {[part.inputs for part in parts]} channels")
    modes = {part.mode for part in parts if pads_any(part.pads)} or {"zeros"}
    if len(modes) > 1:
        raise NotMergeable(f"branches differ in what they pad: {sorted(modes)}")
    parts = [replace(part, mode=min(modes)) for part in parts]
    if any(isinstance(part.pads, str) for part in parts):
        return _aligned_by_name(parts)
    fixed: list[Any] = [part.pads for part in parts]
    lows, highs, lost = [], [], []
    for axis in range(len(parts[0].taps)):
        ends = [(own[axis], part.taps[axis]) for own, part in zip(fixed, parts, strict=True)]
        if len({low + high - taps for (low, high), taps in ends}) > 1:
            raise NotMergeable("branches have outputs of different sizes")
        lows.append(max(low for (low, _), _ in ends))
        highs.append(max(taps - low for (low, _), taps in ends))
        (low, high), taps = ends[0]
        lost.append(low + high - taps)
    pads = tuple((low, cut + high) for low, high, cut in zip(lows, highs, lost, strict=True))
    found = []
    for part, own in zip(parts, fixed, strict=True):
        edges = [
            (low - before, high - taps + before)
            for low, high, taps, (before, _) in zip(lows, highs, part.taps, own, strict=True)
        ]
        found.append(_enlarged(part, edges, pads))
    return found


def _aligned_by_name(parts: Sequence[Affine]) -> list[Affine]:
    """The same where padding has a name: windows keep their places in the largest at all sizes."""
    reason = "their borders depend on the input's size, and differ"
    names = {part.pads for part in parts if isinstance(part.pads, str)}
    if len(names) > 1 or not all(isinstance(part.pads, str) for part in parts):
        raise NotMergeable(reason)
    (name,) = names
    taps = [max(sizes) for sizes in zip(*(part.taps for part in parts), strict=True)]
    found = []
    for part in parts:
        edges = []
        for most, own, step in zip(taps, part.taps, part.stride, strict=True):
            both = zip(named_lows(name, most, step), named_lows(name, own, step), strict=True)
            shifts = {outer - inner for outer, inner in both}
            if len(shifts) > 1 or max(shifts) > most - own:
                raise NotMergeable(reason)
            edges.append((max(shifts), most - own - max(shifts)))
        found.append(_enlarged(part, edges, name))
    return found


def named_lows(name: str, taps: int, stride: int) -> list[int]:
    """Pixels that a named padding puts before an axis, for a size of each remainder by stride."""
    sizes = range(1, stride + 1)
    return [resolve_padding(name, (n,), (taps,), (stride,))[0][0] for n in sizes]


def _enlarged(part: Affine, edges: list[tuple[int, int]], pads: Pads | str) -> Affine:
    channels = [(0, 0), (0, 0)]
    return replace(
        part,
        kernel=np.pad(part.kernel, edges + channels),
        magnitude=np.pad(part.magnitude, edges + channels),
        seen=np.pad(part.seen, edges),
        pads=pads,
    )
