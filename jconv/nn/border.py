"""What lies beyond the border, for layers whose convolutions know zeros only."""

from typing import Any

import jax.numpy as jnp

from jconv._core.geometry import Sizes, dilated_size, resolve_padding
from jconv.functional.conv import JNP_MODES


def bordered(x, padding: Any, mode: str, size: Sizes, strides: Sizes, dilation: Sizes):
    """`x` (n, *space, c) continued by `mode`, and the padding that is left to be done."""
    if mode == "zeros":
        return x, padding
    span = tuple(map(dilated_size, size, dilation))
    pads = resolve_padding(padding, x.shape[1:-1], span, strides)
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode=JNP_MODES[mode]), "VALID"
