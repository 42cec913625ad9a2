"""Convolution by its definition: plain loops in float64, the yardstick of every other test.

Nothing here is shared with jconv: padding names, border modes and groups are worked out anew.
"""

import itertools

import numpy as np


def wide(array):
    """The array in the widest dtype of its kind."""
    array = np.asarray(array)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(np.float64)


def per_axis(value, rank):
    return (value,) * rank if np.isscalar(value) else tuple(value)


def pads_by_definition(padding, sizes, taps, stride, dilation, gaps):
    """(before, after) for each axis."""
    pads = []
    for axis, (n, k, s, d, g) in enumerate(zip(sizes, taps, stride, dilation, gaps, strict=True)):
        n = n + (n - 1) * (g - 1)
        reach = d * (k - 1)
        if padding == "VALID":
            pads.append((0, 0))
        elif padding == "FULL":
            pads.append((reach, reach))
        elif padding == "CAUSAL":
            pads.append((reach, 0))
        elif padding in ("SAME", "SAME_LOWER"):
            wanted = int(np.ceil(n / s))
            total = max(0, s * (wanted - 1) + reach + 1 - n)
            less, more = int(np.floor(total / 2)), int(np.ceil(total / 2))
            pads.append((less, more) if padding == "SAME" else (more, less))
        elif isinstance(padding, int):
            pads.append((padding, padding))
        else:
            entry = padding[axis]
            pads.append((entry, entry) if isinstance(entry, int) else tuple(entry))
    return pads


def index_beyond(i, n, mode):
    """The pixel that stands at place `i` of an axis with `n` pixels; None where there is none."""
    if 0 <= i < n:
        return i
    if mode == "circular":
        return i % n
    if mode == "replicate":
        return min(max(i, 0), n - 1)
    if mode == "reflect":
        while not 0 <= i < n:
            i = -i if i < 0 else 2 * (n - 1) - i
            if n == 1:
                return 0
        return i
    return None


def conv_by_definition(
    x,
    kernel,
    *,
    stride=1,
    padding="SAME",
    dilation=1,
    input_dilation=1,
    groups=1,
    padding_mode="zeros",
    flip=False,
):
    """(n, *space, ci) and (*space, ci / groups, co) to (n, *space, co)."""
    x, kernel = wide(x), wide(kernel)
    rank = x.ndim - 2
    sizes, taps = x.shape[1:-1], kernel.shape[:rank]
    stride, dilation, gaps = (per_axis(v, rank) for v in (stride, dilation, input_dilation))
    pads = pads_by_definition(padding, sizes, taps, stride, dilation, gaps)
    outputs = []
    for n, k, s, d, g, (low, high) in zip(sizes, taps, stride, dilation, gaps, pads, strict=True):
        dilated = n + (n - 1) * (g - 1) if n else 0
        outputs.append(max(0, (dilated + low + high - d * (k - 1) - 1) // s + 1))
    if flip:
        kernel = kernel[tuple(slice(None, None, -1) for _ in range(rank))]

    co, ci = kernel.shape[-1], x.shape[-1]
    y = np.zeros((x.shape[0], *outputs, co), np.result_type(x, kernel))
    for o in itertools.product(*map(range, outputs)):
        for t in itertools.product(*map(range, taps)):
            place = [o[a] * stride[a] + t[a] * dilation[a] - pads[a][0] for a in range(rank)]
            if any(p % g for p, g in zip(place, gaps, strict=True)):
                continue
            i = tuple(
                index_beyond(p // g, n, padding_mode)
                for p, g, n in zip(place, gaps, sizes, strict=True)
            )
            if None in i:
                continue
            for group in range(groups):
                into = slice(group * ci // groups, (group + 1) * ci // groups)
                out = slice(group * co // groups, (group + 1) * co // groups)
                pixel = x[(slice(None), *i, into)]
                y[(slice(None), *o, out)] += pixel @ kernel[(*t, slice(None), out)]
    return y
