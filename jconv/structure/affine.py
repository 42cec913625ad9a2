"""A convolution with a bias as NumPy arrays, and operations that leave the function unchanged.

    y[o, f] = bias[f] + sum over t, c of x[o * stride + t - padding, c] kernel[t, c, f]

Everything is exact in real arithmetic. Arrays are float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jconv._core.geometry import Pads


class NotMergeable(ValueError):
    """Error raised where layers cannot be merged into one convolution.

    Attributes:
      reasons: why each module was not merged, by its path in the model; empty if there is no model.
    """

    def __init__(self, message: str, reasons: Mapping[str, str] | None = None):
        super().__init__(message)
        self.reasons = dict(reasons or {})


@dataclass(frozen=True, eq=False)
class Affine:
    """A convolution with a bias, whose dilation is written out as zeros in the kernel.

    Attributes:
      kernel: array of shape `(*taps, in_channels / groups, out_channels)`.
      bias: array of shape `(out_channels,)`.
      stride: of each axis, in pixels.
      padding: pixels before and after each axis; a name, such as `"SAME"`, where the pixels depend
        on the input size.
      groups: number of channel groups.
      kernel_magnitude: absolute values of the kernel, or sums of the absolute values of the
        products that make up its entries. Rounding errors are relative to it.
      bias_magnitude: the same for the bias.
      support: boolean array of shape `(*taps,)`, False for taps that are always zero.
      padding_mode: as in `jconv.conv`; `"zeros"` if there is no padding.
      per_channel: True for a map that is applied to each channel separately and is therefore
        defined for any number of channels. Its kernel has one input channel. For `n` channels,
        output `b * n + c` is kernel `b` applied to channel `c`.
    """

    kernel: np.ndarray
    bias: np.ndarray
    stride: tuple[int, ...]
    padding: Pads | str
    groups: int
    kernel_magnitude: np.ndarray
    bias_magnitude: np.ndarray
    support: np.ndarray
    padding_mode: str = "zeros"
    per_channel: bool = False

    @classmethod
    def from_arrays(
        cls,
        kernel,
        bias,
        stride,
        padding: Pads | str,
        *,
        groups: int = 1,
        dilation=None,
        padding_mode: str = "zeros",
        per_channel: bool = False,
    ) -> Affine:
        """Return the affine map of a layer's kernel and bias."""
        kernel, bias = np.asarray(kernel, np.float64), np.asarray(bias, np.float64)
        support = np.ones(kernel.shape[:-2], bool)
        if dilation is not None:
            kernel, support = (_dilate(array, dilation) for array in (kernel, support))
        return cls(
            kernel=kernel,
            bias=bias,
            stride=tuple(stride),
            padding=padding,
            groups=groups,
            kernel_magnitude=np.abs(kernel),
            bias_magnitude=np.abs(bias),
            support=support,
            padding_mode=padding_mode if has_padding(padding) else "zeros",
            per_channel=per_channel,
        )

    @property
    def taps(self) -> tuple[int, ...]:
        """Size of the kernel along each axis, dilation included, in pixels."""
        return self.support.shape

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return self.kernel.shape[-2] * self.groups

    @property
    def out_channels(self) -> int:
        """Number of output channels."""
        return len(self.bias)

    @property
    def is_pointwise(self) -> bool:
        """True if each output depends on the input pixel at the same position only."""
        no_padding = self.padding == ((0, 0),) * len(self.taps)
        return {*self.taps, *self.stride} == {1} and no_padding

    @property
    def is_identity(self) -> bool:
        """True if the output equals the input."""
        depthwise = self.kernel.shape[-2] == 1 and self.in_channels == self.out_channels
        ones = self.is_pointwise and bool(np.all(self.kernel == 1))
        return depthwise and ones and not np.any(self.bias)

    @property
    def multiply_adds_per_pixel(self) -> float:
        """Multiply-adds for each pixel of the input."""
        per_tap = self.kernel.shape[-2] * self.out_channels
        return self.support.sum() * per_tap / math.prod(self.stride)

    def map_kernels(self, function: Callable[[np.ndarray], np.ndarray], **changes) -> Affine:
        """Return a copy with `function` applied to `kernel` and to `kernel_magnitude`.

        Args:
          function: maps an array of the kernel's shape to one of its new shape.
          **changes: new values of other attributes.
        """
        kernel, magnitude = function(self.kernel), function(self.kernel_magnitude)
        return replace(self, kernel=kernel, kernel_magnitude=magnitude, **changes)


def scale_and_shift(scale, shift, rank: int) -> Affine:
    """Return the affine map `scale * x + shift` with one scale and shift for each channel."""
    scale = np.asarray(scale, np.float64).reshape((1,) * rank + (1, -1))
    return Affine.from_arrays(scale, shift, (1,) * rank, ((0, 0),) * rank, groups=scale.shape[-1])


def identity(rank: int, channels: int | None = None) -> Affine:
    """Return the identity, for a number of channels or, if None, for any number."""
    ones = np.ones(channels or 1)
    return replace(scale_and_shift(ones, 0 * ones, rank), per_channel=channels is None)


def expand_channels(affine: Affine, channels: int) -> Affine:
    """Return a `per_channel` map as a convolution of a fixed number of channels."""
    multiplier = affine.out_channels
    depthwise = multiplier == 1 and channels > 1

    def expand(kernel: np.ndarray) -> np.ndarray:
        if depthwise:
            return np.repeat(kernel, channels, -1)
        dense = np.einsum("...ib,cd->...cbd", kernel, np.eye(channels))
        return dense.reshape(*kernel.shape[:-2], channels, multiplier * channels)

    return affine.map_kernels(
        expand,
        bias=np.repeat(affine.bias, channels),
        bias_magnitude=np.repeat(affine.bias_magnitude, channels),
        groups=channels if depthwise else 1,
        per_channel=False,
    )


def apply_to_constant(kernel: np.ndarray, value: np.ndarray, groups: int) -> np.ndarray:
    """Return the output of a kernel for an input with the same `value` at all positions.

    Args:
      kernel: array of shape `(*taps, in_channels / groups, out_channels)`.
      value: array of shape `(in_channels,)`.
      groups: number of channel groups.

    Returns:
      An array of shape `(out_channels,)`.
    """
    weights = kernel.sum(tuple(range(kernel.ndim - 2)))
    weights = weights.reshape(len(weights), groups, -1)
    return np.einsum("mgo,gm->go", weights, value.reshape(groups, -1)).ravel()


def has_padding(padding: Pads | str) -> bool:
    """Return whether a border is padded; a padding with a name may always pad."""
    return isinstance(padding, str) or any(side > 0 for pair in padding for side in pair)


def reduce_groups(affine: Affine, groups: int) -> Affine:
    """Return the same convolution with fewer groups, by zeros between the joined groups.

    Args:
      affine: the convolution.
      groups: a divisor of `affine.groups`.
    """
    if groups == affine.groups:
        return affine
    joined = affine.groups // groups

    def join(kernel: np.ndarray) -> np.ndarray:
        *taps, inputs, outputs = kernel.shape
        outputs //= affine.groups
        blocks = kernel.reshape(*taps, inputs, groups, joined, outputs)
        joined_kernel = np.zeros((*taps, joined, inputs, groups, joined, outputs))
        for i in range(joined):
            joined_kernel[..., i, :, :, i, :] = blocks[..., i, :]
        return joined_kernel.reshape(*taps, joined * inputs, groups * joined * outputs)

    return affine.map_kernels(join, groups=groups)


def increase_groups(affine: Affine) -> Affine:
    """Return the same convolution with as many groups as the zeros of its kernel allow."""
    max_groups = math.gcd(affine.in_channels, affine.out_channels)
    for groups in range(max_groups, affine.groups, -1):
        if max_groups % groups or groups % affine.groups:
            continue
        grouped = _keep_diagonal_blocks(affine, groups)
        dense = reduce_groups(grouped, affine.groups)
        if np.array_equal(dense.kernel_magnitude, affine.kernel_magnitude):
            return grouped
    return affine


def _keep_diagonal_blocks(affine: Affine, groups: int) -> Affine:
    """Return a convolution of more groups, without the weights between the new groups."""
    parts = groups // affine.groups

    def keep(kernel: np.ndarray) -> np.ndarray:
        *taps, inputs, outputs = kernel.shape
        blocks = kernel.reshape(*taps, parts, inputs // parts, affine.groups, parts, -1)
        diagonal = np.stack([blocks[..., i, :, :, i, :] for i in range(parts)], -2)
        return diagonal.reshape(*taps, inputs // parts, outputs)

    return affine.map_kernels(keep, groups=groups)


def infer_dilation(support: np.ndarray) -> tuple[int, ...]:
    """Return the largest dilation along each axis whose taps include the whole support."""
    dilation = []
    for axis in range(support.ndim):
        other_axes = tuple(a for a in range(support.ndim) if a != axis)
        taps = np.flatnonzero(support.any(other_axes))
        spacing = math.gcd(*(taps - taps[0]).tolist()) if len(taps) > 1 else 1
        fills_window = taps[0] == 0 and taps[-1] == support.shape[axis] - 1
        dilation.append(spacing if fills_window else 1)
    return tuple(dilation)


def _dilate(array: np.ndarray, dilation: Sequence[int]) -> np.ndarray:
    """Return the array with `dilation - 1` zeros between the entries of each leading axis."""
    rank = len(dilation)
    sizes = [(n - 1) * d + 1 for n, d in zip(array.shape, dilation, strict=False)]
    dilated = np.zeros((*sizes, *array.shape[rank:]), array.dtype)
    dilated[tuple(slice(None, None, d) for d in dilation)] = array
    return dilated
