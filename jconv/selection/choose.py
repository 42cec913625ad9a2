"""The public `jconv.choose`: the choice of `algorithm="auto"` for given shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jconv._core.conv_spec import ConvOptions, make_spec
from jconv._core.validation import received
from jconv.selection.choice import Choice
from jconv.selection.select import make_selector, select_algorithm

GRADIENTS = ("input", "kernel")
PLATFORMS = ("cpu", "gpu", "tpu")


def choose(
    x: jax.Array | jax.ShapeDtypeStruct | Sequence[int],
    kernel: jax.Array | jax.ShapeDtypeStruct | Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    dilation: int | Sequence[int] = 1,
    input_dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
    layout: Any = None,
    preferred_element_type: Any = None,
    tolerance: float | None = None,
    gradient: str | None = None,
    platform: str | None = None,
) -> Choice:
    """Return the algorithm that `jconv.conv` selects by itself, the alternatives, and the reason.

    Args:
      x: the input, or its shape; its values do not matter. A shape stands for float32.
      kernel: the kernel, or its shape.
      stride: as in `jconv.conv`, like all that follow up to `tolerance`.
      padding: a name, an int, or for each axis an int or a pair (before, after).
      dilation: pixels between neighbouring taps.
      input_dilation: pixels between neighbouring inputs, zeros between them.
      groups: the number of groups of channels.
      padding_mode: what lies beyond the border.
      layout: of input, kernel and output.
      preferred_element_type: dtype of the result.
      tolerance: the largest error bound allowed, unless that of `"xla"` is larger.
      gradient: None for the forward pass, `"input"` or `"kernel"` for a derivative: each is a
        separate convolution, whose algorithm is chosen separately.
      platform: `"cpu"`, `"gpu"` or `"tpu"`; that of the default device if None.

    Returns:
      The choice: `algorithm`, `reason`, `seconds`, `error_bound`, `runners_up`, `excluded`. It
      prints as a table.

    Raises:
      ValueError: as `jconv.conv`, and for an unknown `gradient` or `platform`.

    >>> choose((4, 56, 56, 128), (3, 3, 1, 128), groups=128, platform="cpu").algorithm
    'direct'
    """
    if gradient is not None and not (isinstance(gradient, str) and gradient in GRADIENTS):
        raise ValueError(
            f"`gradient` must be None, for the forward pass, or one of {list(GRADIENTS)}. "
            f"{received('gradient', gradient)}"
        )
    if platform is not None and not (isinstance(platform, str) and platform in PLATFORMS):
        raise ValueError(
            f"`platform` must be None or one of {list(PLATFORMS)}. {received('platform', platform)}"
        )
    selector = make_selector(tolerance)
    x, kernel = _abstract("x", x), _abstract("kernel", kernel)
    options = ConvOptions(
        stride=stride,
        padding=padding,
        dilation=dilation,
        input_dilation=input_dilation,
        groups=groups,
        padding_mode=padding_mode,
        layout=layout,
        preferred_element_type=preferred_element_type,
    )
    problem = make_spec(x, kernel, options).problem(x.shape, kernel.shape)
    if gradient == "input":
        problem = problem.input_gradient()
    elif gradient == "kernel":
        problem = problem.kernel_gradient()
    return select_algorithm(problem, platform or jax.default_backend(), selector.tolerance)


def _abstract(name: str, array: Any) -> jax.ShapeDtypeStruct:
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        return jax.ShapeDtypeStruct(array.shape, array.dtype)
    if isinstance(array, Sequence) and all(isinstance(n, int) and n >= 0 for n in array):
        return jax.ShapeDtypeStruct(tuple(array), jnp.float32)
    raise ValueError(
        f"`{name}` must be an array or its shape, such as (4, 28, 28, 8). {received(name, array)}"
    )
