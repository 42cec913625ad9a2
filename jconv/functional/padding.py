"""Padding modes: values beyond the border, and the adjoint of making them up."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jconv._core.geometry import Pads

JNP_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad_border(x: jax.Array, pads: Pads, mode: str) -> jax.Array:
    """Continue a canonical input (b, n, *input, g, c) beyond its border.

    Args:
      x: the input.
      pads: pixels before and after each spatial axis.
      mode: a padding mode other than zeros.
    """
    return jnp.pad(x, [(0, 0), (0, 0), *pads, (0, 0), (0, 0)], mode=JNP_MODES[mode])


def pad_border_adjoint(x: jax.Array, pads: Pads, mode: str) -> jax.Array:
    """Add the padding of a canonical array back to the pixels that `pad_border` copied there.

    Args:
      x: the padded array.
      pads: pixels before and after each spatial axis.
      mode: a padding mode other than zeros.
    """
    inner = [n - sum(pair) for n, pair in zip(x.shape[2:-2], pads, strict=True)]
    shape = jax.ShapeDtypeStruct((*x.shape[:2], *inner, *x.shape[-2:]), x.dtype)
    return jax.linear_transpose(functools.partial(pad_border, pads=pads, mode=mode), shape)(x)[0]
