"""A convolution as numbers, of which `compose` and `beside` make others.

    y[o, f] = bias[f] + sum over t, c of x[o * stride + t - before, c] kernel[t, c, f]

Everything is exact in real numbers, for every input, or refused. Numbers are kept in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from jconv._core.geometry import Pads


class NotMergeable(ValueError):
    """Raised where layers cannot be merged into one convolution, with the reason."""


@dataclass(frozen=True, eq=False)
class Affine:
    """A convolution with a bias, its dilation written out as zeros.

    Attributes:
      kernel: `(*taps, in / groups, out)`.
      bias: `(out,)`.
      stride: of each axis.
      pads: pixels before and after each axis; a name where they depend on the input's size.
      groups: of channels.
      magnitude: the kernel as sums of absolute products: what its rounding errors are relative to.
      offset: the same of the bias.
      seen: `(*taps,)`, the taps that may be other than zero.
      mode: what is padded, as in `jconv.conv`; `"zeros"` where nothing is.
      each: whether it stands for the same on each of any number of channels, and is written for
        one; what kernel `b` makes of channel `c` is then channel `b * channels + c`.
    """

    kernel: np.ndarray
    bias: np.ndarray
    stride: tuple[int, ...]
    pads: Pads | str
    groups: int
    magnitude: np.ndarray
    offset: np.ndarray
    seen: np.ndarray
    mode: str = "zeros"
    each: bool = False

    @classmethod
    def of(
        cls,
        kernel,
        bias,
        stride,
        pads: Pads | str,
        *,
        groups: int = 1,
        dilation=None,
        mode: str = "zeros",
        each: bool = False,
    ) -> Affine:
        """From a layer's own numbers."""
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        rank = kernel.ndim - 2
        seen = np.ones(kernel.shape[:rank], bool)
        if dilation is not None:
            kernel, seen = (_dilated(a, dilation) for a in (kernel, seen))
        magnitude, offset = np.abs(kernel), np.abs(bias)
        mode = mode if pads_any(pads) else "zeros"
        return cls(kernel, bias, tuple(stride), pads, groups, magnitude, offset, seen, mode, each)

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
    def is_identity(self) -> bool:
        """Whether each channel stays as it is."""
        alone = self.kernel.shape[-2] == 1 and self.inputs == len(self.bias)
        ones = self.is_pointwise and bool(np.all(self.kernel == 1))
        return alone and ones and not np.any(self.bias)

    @property
    def products(self) -> float:
        """Multiply-adds for each pixel of the input."""
        each = self.kernel.shape[-2] * len(self.bias)
        return self.seen.sum() * each / math.prod(self.stride)


def pointwise(scale, shift, rank: int) -> Affine:
    """A scale and a shift of each channel."""
    scale = np.asarray(scale, np.float64).reshape((1,) * rank + (1, -1))
    groups = scale.shape[-1]
    return Affine.of(scale, shift, (1,) * rank, ((0, 0),) * rank, groups=groups)


def identity(rank: int, channels: int | None = None) -> Affine:
    """What leaves each channel as it is: of so many, or of any number."""
    ones = np.ones(channels or 1)
    return replace(pointwise(ones, 0 * ones, rank), each=channels is None)


def widened(part: Affine, channels: int) -> Affine:
    """What stands for any number of channels, written out for so many."""
    kernels = len(part.bias)
    grouped = kernels == 1 and channels > 1

    def written(kernel: np.ndarray) -> np.ndarray:
        if grouped:
            return np.repeat(kernel, channels, -1)
        own = np.einsum("...ib,cd->...cbd", kernel, np.eye(channels))
        return own.reshape(*kernel.shape[:-2], channels, kernels * channels)

    return replace(
        part,
        kernel=written(part.kernel),
        bias=np.repeat(part.bias, channels),
        magnitude=written(part.magnitude),
        offset=np.repeat(part.offset, channels),
        groups=channels if grouped else 1,
        each=False,
    )


def of_constant(kernel: np.ndarray, value: np.ndarray, groups: int) -> np.ndarray:
    """What a kernel makes of channels that are the same everywhere."""
    weights = kernel.sum(tuple(range(kernel.ndim - 2)))
    weights = weights.reshape(len(weights), groups, -1)
    return np.einsum("mgo,gm->go", weights, value.reshape(groups, -1)).ravel()


def pads_any(pads: Pads | str) -> bool:
    """Whether anything is padded; what has a name may be."""
    return isinstance(pads, str) or any(side > 0 for pair in pads for side in pair)


def regrouped(part: Affine, groups: int) -> Affine:
    """The same convolution with fewer groups, a divisor of its own; zeros between them."""
    if groups == part.groups:
        return part
    joined = part.groups // groups

    def filled(kernel: np.ndarray) -> np.ndarray:
        *taps, inputs, outputs = kernel.shape
        wide = np.zeros((*taps, joined, inputs, groups, joined, outputs // part.groups))
        kernel = kernel.reshape(*taps, inputs, groups, joined, outputs // part.groups)
        for i in range(joined):
            wide[..., i, :, :, i, :] = kernel[..., i, :]
        return wide.reshape(*taps, joined * inputs, outputs)

    return replace(
        part, kernel=filled(part.kernel), magnitude=filled(part.magnitude), groups=groups
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
