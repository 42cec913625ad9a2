"""Convolution by its definition: plain loops in float64, the reference of all other tests.

Padding names, padding modes and groups are implemented here independently of jconv.
"""

import itertools

import numpy as np


def widest_dtype(array):
    """Return the array in the widest dtype of its kind."""
    array = np.asarray(array)
    if array.dtype.kind == "c":
        return array.astype(np.complex128)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(np.float64)


def per_axis(value, rank):
    """Return a value for each of `rank` axes."""
    return (value,) * rank if np.isscalar(value) else tuple(value)


def pads_by_definition(padding, sizes, taps, stride, dilation, gaps):
    """Return the padding (before, after) of each axis."""
    pads = []
    for axis, (n, k, s, d, g) in enumerate(zip(sizes, taps, stride, dilation, gaps, strict=True)):
        n = n + (n - 1) * (g - 1)
        extent = d * (k - 1)
        if padding == "VALID":
            pads.append((0, 0))
        elif padding == "FULL":
            pads.append((extent, extent))
        elif padding == "CAUSAL":
            pads.append((extent, 0))
        elif padding in ("SAME", "SAME_LOWER"):
            outputs = int(np.ceil(n / s))
            total = max(0, s * (outputs - 1) + extent + 1 - n)
            smaller, larger = int(np.floor(total / 2)), int(np.ceil(total / 2))
            pads.append((smaller, larger) if padding == "SAME" else (larger, smaller))
        elif isinstance(padding, int):
            pads.append((padding, padding))
        else:
            entry = padding[axis]
            pads.append((entry, entry) if isinstance(entry, int) else tuple(entry))
    return pads


def source_index(i, n, mode):
    """Return the index of the pixel that padding repeats at `i`; None for a padding of zeros.

    `i` may be outside of the `n` pixels of the axis.
    """
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
    """Convolve `x` `(n, *space, ci)` with `kernel` `(*taps, ci / groups, co)`.

    The options are those of `jconv.conv`.
    """
    x, kernel = widest_dtype(x), widest_dtype(kernel)
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
            position = [o[a] * stride[a] + t[a] * dilation[a] - pads[a][0] for a in range(rank)]
            if any(p % g for p, g in zip(position, gaps, strict=True)):
                continue
            i = tuple(
                source_index(p // g, n, padding_mode)
                for p, g, n in zip(position, gaps, sizes, strict=True)
            )
            if None in i:
                continue
            for group in range(groups):
                into = slice(group * ci // groups, (group + 1) * ci // groups)
                out = slice(group * co // groups, (group + 1) * co // groups)
                pixel = x[(slice(None), *i, into)]
                y[(slice(None), *o, out)] += pixel @ kernel[(*t, slice(None), out)]
    return y
