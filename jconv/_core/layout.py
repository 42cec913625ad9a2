"""Layouts: the axes of batch, channels and space, and conversion to the canonical form.

The canonical form has every axis that a convolution and its derivatives need: `b` pairs of an
input and its kernel, `n` images, `g` groups, `c` input and `f` output channels per group.

    x (b, n, *input, g, c)    kernel (b, *taps, g, c, f)    y (b, n, *output, g, f)
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jconv._core.geometry import Sizes
from jconv._core.validation import received

SPACE = {1: "W", 2: "HW", 3: "DHW"}
LAYOUTS = tuple(
    name for space in SPACE.values() for name in (f"N{space}C", f"NC{space}")
)  # fmt: skip


def resolve_layout(layout: Any, rank: int) -> lax.ConvDimensionNumbers:
    """Return the axis numbers of input, kernel and output, from a name or a triple of `lax`.

    `None` is channels-last with kernels `(*space, in, out)`, in any number of dimensions. A name
    such as `NCHW` stands for the kernel layout that goes with it: `OIHW`.
    """
    shape = (1,) * (rank + 2)
    space = SPACE.get(rank, "".join(chr(ord("a") + axis) for axis in range(rank)))
    if layout is None:
        layout = f"N{space}C"
    if isinstance(layout, lax.ConvDimensionNumbers):
        if not all(_holds_every_axis(spec, rank) for spec in layout):
            raise ValueError(
                f"{_allowed(rank)} {received('layout', layout)} Each of its three must hold every "
                f"axis from 0 to {rank + 1} once."
            )
        return lax.ConvDimensionNumbers(*(tuple(map(int, spec)) for spec in layout))
    if isinstance(layout, str):
        kernel = {f"N{space}C": f"{space}IO", f"NC{space}": f"OI{space}"}.get(layout)
        if kernel is None:
            raise ValueError(f"{_allowed(rank)} {received('layout', layout)}")
        layout = (layout, kernel, layout)
    if not isinstance(layout, Sequence) or len(layout) != 3:
        raise ValueError(f"{_allowed(rank)} {received('layout', layout)}")
    try:
        return lax.conv_dimension_numbers(shape, shape, tuple(layout))
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{_allowed(rank)} Received: layout={layout!r} ({error}).") from None


def _holds_every_axis(spec: Any, rank: int) -> bool:
    listed = isinstance(spec, Sequence) and all(isinstance(a, numbers.Integral) for a in spec)
    return listed and sorted(spec) == list(range(rank + 2))


def _allowed(rank: int) -> str:
    space = SPACE.get(rank)
    names = f"'N{space}C', 'NC{space}'" if space else "None (channels last)"
    example = "('NHWC', 'HWIO', 'NHWC')"
    return (
        f"`layout` must be {names}, or a triple of layouts for input, kernel and output as "
        f"`lax.conv_dimension_numbers` takes, such as {example}; "
        f"the kernel has {rank} spatial {'axis' if rank == 1 else 'axes'}."
    )


def spatial_sizes(shape: Sizes, spec: Sequence[int]) -> Sizes:
    """Return the spatial sizes of an array whose axis numbers are `spec`."""
    return tuple(shape[axis] for axis in spec[2:])


def canonical_input(x, spec: Sequence[int], groups: int):
    """Convert `x` to (1, n, *input, g, c)."""
    batch, feature, *space = spec
    x = jnp.transpose(x, (batch, *space, feature))
    return x.reshape(1, *x.shape[:-1], groups, x.shape[-1] // groups)


def canonical_kernel(kernel, spec: Sequence[int], groups: int):
    """Convert `kernel` to (1, *taps, g, c, f)."""
    out, into, *space = spec
    kernel = kernel.transpose(*space, into, out)
    kernel = kernel.reshape(1, *kernel.shape[:-1], groups, kernel.shape[-1] // groups)
    return kernel.swapaxes(-3, -2)


def from_canonical(y, spec: Sequence[int]):
    """Convert (1, n, *output, g, f) to the layout of the caller."""
    y = y.reshape(*y.shape[1:-2], y.shape[-2] * y.shape[-1])
    # Canonical axes are (n, *space, channel); `spec` says where each of them goes.
    batch, feature, *space = spec
    order = sorted(range(y.ndim), key=(batch, *space, feature).__getitem__)
    return jnp.transpose(y, order)
