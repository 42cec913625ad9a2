"""Padding by the input's pixels, for functions that pad with zeros only."""

from typing import Any

import jax.numpy as jnp

from jconv._core.geometry import Sizes, dilated_size, resolve_padding
from jconv.functional.padding import JNP_MODES


def apply_padding(x, padding: Any, mode: str, size: Sizes, strides: Sizes, dilation: Sizes):
    """Pad `x` `(n, *space, c)` by `mode`, and return it with the padding that is left to apply."""
    if mode == "zeros":
        return x, padding
    span = tuple(map(dilated_size, size, dilation))
    pads = resolve_padding(padding, x.shape[1:-1], span, strides)
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode=JNP_MODES[mode]), "VALID"
