"""What `algorithm="auto"` would choose, asked by shapes."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jconv._core.validation import received
from jconv.functional.conv import conv
from jconv.selection.choose import Choice
from jconv.selection.choose import choose as choose_for
from jconv.transforms.inspect import inspect

DERIVATIVES = ("input", "kernel")


def choose(
    x: jax.Array | jax.ShapeDtypeStruct | Sequence[int],
    kernel: jax.Array | jax.ShapeDtypeStruct | Sequence[int],
    *,
    gradient: str | None = None,
    platform: str | None = None,
    tolerance: float | None = None,
    **options,
) -> Choice:
    """Says which algorithm `jconv.conv(x, kernel, **options)` runs by itself, and why.

    Args:
      x: the input, or its shape; its values do not matter.
      kernel: the kernel, or its shape. A shape stands for float32.
      gradient: None for the forward pass, `"input"` or `"kernel"` for a derivative: each is a
        convolution with a choice of its own.
      platform: `"cpu"`, `"gpu"` or `"tpu"`; that of the default device if None.
      tolerance: as in `jconv.conv`.
      options: stride, padding, dilation and whatever else `jconv.conv` takes.

    Returns:
      The choice: `algorithm`, `reason`, `seconds`, `error_bound`, `runners_up`, `barred`.

    Raises:
      ValueError: as `jconv.conv`, and for a `gradient` or `platform` that there is not.

    >>> choose((4, 56, 56, 128), (3, 3, 1, 128), groups=128, platform="cpu").algorithm
    'direct'
    """
    if gradient is not None and gradient not in DERIVATIVES:
        raise ValueError(
            f"`gradient` must be None, for the forward pass, or one of {list(DERIVATIVES)}. "
            f"{received('gradient', gradient)}"
        )
    platforms = ("cpu", "gpu", "tpu")
    if platform is not None and platform not in platforms:
        raise ValueError(
            f"`platform` must be None or one of {list(platforms)}. {received('platform', platform)}"
        )
    operands = [_described("x", x), _described("kernel", kernel)]
    forward = lambda x, kernel: conv(x, kernel, tolerance=tolerance, **options)

    def backward(x, kernel):
        by_input = gradient == "input"
        of_one = (lambda a: forward(a, kernel)) if by_input else (lambda a: forward(x, a))
        y, pull = jax.vjp(of_one, x if by_input else kernel)
        return pull(y)

    asked = forward if gradient is None else backward
    problem = inspect(asked)(*operands).convolutions[-1].problem
    return choose_for(problem, platform or jax.default_backend(), tolerance)


def _described(name: str, array) -> jax.ShapeDtypeStruct:
    if hasattr(array, "shape") and hasattr(array, "dtype"):
        return jax.ShapeDtypeStruct(array.shape, array.dtype)
    if isinstance(array, Sequence) and all(isinstance(n, int) and n >= 0 for n in array):
        return jax.ShapeDtypeStruct(tuple(array), jnp.float32)
    raise ValueError(
        f"`{name}` must be an array or its shape, such as (4, 28, 28, 8). {received(name, array)}"
    )
