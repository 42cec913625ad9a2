"""Merging of parallel convolutions: their sum or their concatenation as one convolution.

Reference: Ding et al., "Diverse Branch Block" (2021), transforms II, IV and VI, here for any
window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jconv._core.geometry import Pads, resolve_padding
from jconv.structure.affine import (
    Affine,
    NotMergeable,
    expand_channels,
    has_padding,
    increase_groups,
    reduce_groups,
)

Pair = tuple[int, int]  # The values before and after an axis.


def add_affine(branches: Sequence[Affine]) -> Affine:
    """Return the sum of convolutions of one input.

    Raises:
      NotMergeable: if they differ in channels, stride, padding or output size.
    """
    branches = _with_equal_channels(branches)
    _check_equal("numbers of output channels", [branch.out_channels for branch in branches])
    groups = math.gcd(*(branch.groups for branch in branches))
    branches = _with_equal_windows([reduce_groups(branch, groups) for branch in branches])
    return replace(
        branches[0],
        kernel=sum(branch.kernel for branch in branches),
        bias=sum(branch.bias for branch in branches),
        kernel_magnitude=sum(branch.kernel_magnitude for branch in branches),
        bias_magnitude=sum(branch.bias_magnitude for branch in branches),
        support=np.any([branch.support for branch in branches], axis=0),
    )


def concatenate_affine(branches: Sequence[Affine]) -> Affine:
    """Return convolutions of one input, concatenated along the channels.

    Raises:
      NotMergeable: if they differ in input channels, stride, padding or output size.
    """
    branches = _with_equal_channels(branches)
    branches = _with_equal_windows([reduce_groups(branch, 1) for branch in branches])
    return replace(
        branches[0],
        kernel=np.concatenate([branch.kernel for branch in branches], -1),
        bias=np.concatenate([branch.bias for branch in branches]),
        kernel_magnitude=np.concatenate([branch.kernel_magnitude for branch in branches], -1),
        bias_magnitude=np.concatenate([branch.bias_magnitude for branch in branches]),
        support=np.any([branch.support for branch in branches], axis=0),
    )


def split_affine(branches: Sequence[Affine]) -> Affine:
    """Return convolutions of consecutive slices of the input channels, concatenated.

    Raises:
      NotMergeable: as for `concatenate_affine`.
    """
    channels = sum(branch.in_channels for branch in branches)
    start, dense = 0, []
    for branch in branches:
        others = (start, channels - start - branch.in_channels)
        edges = [(0, 0)] * len(branch.taps) + [others, (0, 0)]
        pad = lambda kernel, edges=edges: np.pad(kernel, edges)
        dense.append(reduce_groups(branch, 1).map_kernels(pad))
        start += branch.in_channels
    return increase_groups(concatenate_affine(dense))


def _with_equal_channels(branches: Sequence[Affine]) -> list[Affine]:
    """Return the branches with per-channel maps expanded to the channels of the others."""
    channels = {branch.in_channels for branch in branches if not branch.per_channel}
    if len(channels) != 1:
        return list(branches)
    (n,) = channels
    return [expand_channels(branch, n) if branch.per_channel else branch for branch in branches]


def _with_equal_windows(branches: Sequence[Affine]) -> list[Affine]:
    """Return equal convolutions, all with the smallest window that contains all windows."""
    _check_equal("strides", [branch.stride for branch in branches])
    _check_equal("numbers of input channels", [branch.in_channels for branch in branches])
    modes = [branch.padding_mode for branch in branches if has_padding(branch.padding)]
    _check_equal("padding modes", modes)
    mode = modes[0] if modes else "zeros"
    if any(isinstance(branch.padding, str) for branch in branches):
        padding, edges = _align_named_padding(branches)
    else:
        padding, edges = _align_explicit_padding(branches)
    return [
        _enlarge(branch, sides, padding, mode)
        for branch, sides in zip(branches, edges, strict=True)
    ]


def _check_equal(name: str, values: Sequence) -> None:
    if len(set(values)) > 1:
        raise NotMergeable(f"the branches have different {name}: {list(values)}")


def _align_explicit_padding(branches: Sequence[Affine]) -> tuple[Pads, list[list[Pair]]]:
    """Return the padding of the common window, and each kernel's distance to it on every side."""
    axes = [
        _align_axis(
            [branch.padding[axis] for branch in branches],  # pyright: ignore[reportArgumentType]
            [branch.taps[axis] for branch in branches],
        )
        for axis in range(len(branches[0].taps))
    ]
    edges = [list(sides) for sides in zip(*(sides for _, sides in axes), strict=True)]
    return tuple(padding for padding, _ in axes), edges


def _align_axis(padding: Sequence[Pair], taps: Sequence[int]) -> tuple[Pair, list[Pair]]:
    """Return the padding of the common window along one axis, and the distances to its ends.

    Tap 0 of a kernel lies `low` pixels before the input's first pixel, its end `n - low` after.
    """
    ends = [(low, n - low) for (low, _), n in zip(padding, taps, strict=True)]
    lost = {high - end for (_, high), (_, end) in zip(padding, ends, strict=True)}
    if len(lost) > 1:
        raise NotMergeable("the branches have outputs of different sizes")
    before, after = (max(values) for values in zip(*ends, strict=True))
    return (before, after + lost.pop()), [(before - low, after - end) for low, end in ends]


def _align_named_padding(branches: Sequence[Affine]) -> tuple[str, list[list[Pair]]]:
    """Align windows whose padding has a name; they must be aligned at every input size."""
    message = "the padding of the branches depends on the input size in different ways"
    names = {branch.padding for branch in branches}
    name = names.pop()
    if names or not isinstance(name, str):
        raise NotMergeable(message)
    taps = [max(n) for n in zip(*(branch.taps for branch in branches), strict=True)]
    edges = []
    for branch in branches:
        sides = []
        for largest, n, stride in zip(taps, branch.taps, branch.stride, strict=True):
            lows = named_lows(name, largest, stride), named_lows(name, n, stride)
            shifts = {outer - inner for outer, inner in zip(*lows, strict=True)}
            shift = max(shifts)
            if len(shifts) > 1 or shift > largest - n:
                raise NotMergeable(message)
            sides.append((shift, largest - n - shift))
        edges.append(sides)
    return name, edges


def named_lows(name: str, taps: int, stride: int) -> list[int]:
    """Return the pixels that a padding puts before an axis, for each remainder by the stride."""
    sizes = range(1, stride + 1)
    return [resolve_padding(name, (n,), (taps,), (stride,))[0][0] for n in sizes]


def _enlarge(affine: Affine, edges: list[Pair], padding: Pads | str, mode: str) -> Affine:
    """Return the convolution with zeros around its kernel."""
    return affine.map_kernels(
        lambda kernel: np.pad(kernel, [*edges, (0, 0), (0, 0)]),
        support=np.pad(affine.support, edges),
        padding=padding,
        padding_mode=mode,
    )
