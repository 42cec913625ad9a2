"""Checks of arguments that many functions share, and the wording of their errors.

Every error names the argument, what is allowed, what was received, and what to do instead.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

MAX_DIM = 2**31 - 1  # the largest size of an axis that XLA can count


def check_int(name: str, value: Any, *, min: int, hint: str = "") -> int:
    """Return `value` as an int, checked to lie between `min` and `MAX_DIM`.

    Args:
      name: name of the argument, for the error.
      value: what the caller passed.
      min: the smallest value allowed.
      hint: what else is allowed, appended to the allowed range in the error.

    Raises:
      ValueError: if `value` is not an int in this range.
    """
    if not is_integer(value) or not min <= value <= MAX_DIM:
        raise ValueError(
            f"`{name}` must be an int of at least {min} (and at most {MAX_DIM:,}){hint}. "
            f"{received(name, value)}"
        )
    return int(value)


def per_axis(name: str, value: int | Sequence[int], rank: int, *, min: int = 1) -> tuple[int, ...]:
    """Return one int, at least `min`, for each of `rank` spatial axes.

    Args:
      name: name of the argument, for errors.
      value: one int for all axes, or one for each.
      rank: the number of spatial axes.
      min: the smallest value allowed.

    Raises:
      ValueError: if `value` is neither.
    """
    values = as_listed(value)
    if values is None:
        values = (value,) * rank
    elif len(values) != rank:
        raise ValueError(
            f"`{name}` must be one int, or one for each of the {rank} spatial axes. "
            f"Received: {name}={value!r}, which has {len(values)}."
        )
    hint = ", or one for each spatial axis"
    return tuple(check_int(name, v, min=min, hint=hint) for v in values)


def check_divides(name: str, groups: int, counts: dict[str, int]) -> None:
    """Check that `groups` divides every count, such as the channels of input and output.

    Raises:
      ValueError: if `groups` does not divide a count, which the message names.
    """
    for counted, count in counts.items():
        if count % groups:
            raise ValueError(
                f"`{name}` must divide the {counted}. Received: {name}={groups} with {count} "
                f"{counted}."
            )


def as_listed(value: Any) -> tuple | None:
    """Return the entries of a tuple, list or array, or None if `value` is not a sequence."""
    if isinstance(value, np.ndarray) and value.ndim:
        return tuple(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return tuple(value)
    return None


def is_integer(value: Any) -> bool:
    """Return whether `value` is an int of Python or NumPy; booleans are not ints here."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_real(value: Any) -> bool:
    """Return whether `value` is a real number; booleans are not numbers here."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def received(name: str, value: Any) -> str:
    """Return the end of an error: what was received, and the remedy if it is a tracer."""
    if is_traced(value):
        return (
            f"Received: {name}={value!r}, which is traced, and shapes cannot depend on values. "
            f"Mark it static, with `static_argnames` of `jax.jit`."
        )
    return f"Received: {name}={value!r}."


def is_traced(value: Any) -> bool:
    """Return whether `value` is a tracer, or a sequence that contains one."""
    return isinstance(value, Tracer) or any(map(is_traced, as_listed(value) or ()))


def as_array(name: str, value: Any) -> jax.Array:
    """Return `value` as a JAX array.

    Raises:
      ValueError: if `value` is not an array of numbers that JAX can hold.
    """
    if isinstance(value, jax.Array):
        return value
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"`{name}` must be an array of numbers, or nested lists of them, that JAX can hold. "
            f"Received: {_described(value)}"
        ) from None


def as_numbers(name: str, value: Any) -> jax.Array:
    """Return `value` as a JAX array of floats, integers or complex numbers.

    Raises:
      ValueError: if `value` is not such an array; booleans are not numbers.
    """
    array = as_array(name, value)
    if not jnp.issubdtype(array.dtype, jnp.number):
        raise ValueError(
            f"`{name}` must be numbers: floats, integers or complex. Received: {array.dtype}. "
            f"Convert with `.astype(jnp.float32)`."
        )
    return array


def _described(value: Any) -> str:
    """Describe a value that is not an array, and how to convert it."""
    if isinstance(value, np.ma.MaskedArray):
        return "a masked array. Fill its gaps with `.filled(0)`."
    if not isinstance(value, np.ndarray):
        return f"{type(value).__name__}. Convert it with `jnp.asarray`, or read it first."
    if not value.dtype.isnative:
        return (
            f"an array of {value.dtype.str!r}, whose bytes are in another order than this "
            f"machine's. Convert with `.astype({value.dtype.name!r})`."
        )
    return f"an array of {value.dtype}. Convert with `.astype('float32')` if it holds numbers."


def common_dtype(x_name: str, x: Any, kernel_name: str, kernel: Any) -> jnp.dtype:
    """Return the dtype to which JAX promotes two operands.

    Raises:
      ValueError: if there is none.
    """
    try:
        return jnp.result_type(x, kernel)
    except (TypeError, ValueError):
        pass  # The errors below name the caller's arguments.
    for name, value in ((x_name, x), (kernel_name, kernel)):
        if jnp.issubdtype(value.dtype, jax.dtypes.extended):
            raise ValueError(
                f"`{name}` must be an array of numbers. Received: an array of {value.dtype}. "
                f"Draw numbers with it, as in `jax.random.normal(key, shape)`."
            )
    raise ValueError(
        f"`{x_name}` and `{kernel_name}` must have dtypes that JAX promotes to one, or the same. "
        f"Received: {x_name}.dtype={x.dtype}, {kernel_name}.dtype={kernel.dtype}. "
        f"Convert one of them with `.astype`."
    )


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool.

    Raises:
      ValueError: if `value` is not True or False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` must be True or False. {received(name, value)}")
    return bool(value)


def check_ranks(
    x_shape: Sequence[int],
    kernel_shape: Sequence[int],
    kernel_name: str = "kernel",
    x_name: str = "x",
) -> int:
    """Return the number of spatial axes of an input and a kernel.

    Raises:
      ValueError: if their numbers of axes do not fit together.
    """
    rank = len(kernel_shape) - 2
    if rank < 1:
        raise ValueError(
            f"`{kernel_name}` must have at least one spatial axis and two of channels, such as "
            f"(rows, columns, in, out). Received: shape {tuple(kernel_shape)}. "
            f"Add channels to a bare kernel with `[..., None, None]`."
        )
    if len(x_shape) != rank + 2:
        hint = (
            f"Add the batch axis with `{x_name}[None]`."
            if len(x_shape) == rank + 1
            else f"Fold further batch axes into one, or use `jax.vmap` over {x_name}."
            if len(x_shape) > rank + 2
            else f"Add the missing axes, such as `{x_name}[None, ..., None]`."
        )
        raise ValueError(
            f"`{x_name}` must have as many axes as `{kernel_name}`: batch, {rank} of space, "
            f"channels. Received: {x_name}.shape={tuple(x_shape)} with "
            f"{kernel_name}.shape={tuple(kernel_shape)}. {hint}"
        )
    return rank


def rename_arguments(error: ValueError, names: Mapping[str, str]) -> str:
    """Return the message of `error` with argument names replaced by those of another signature.

    A name is replaced where messages write arguments: before a backtick, `=`, `.` or `[`.
    """
    pattern = rf"(?<![\w.])({'|'.join(names)})(?=[`=.\[])"
    return re.sub(pattern, lambda match: names[match[1]], str(error))


def hashable(value: Any) -> Any:
    """Return lists and arrays as tuples, so that the value can be the key of a cache."""
    if type(value) in (int, str, bool, float, type(None)):
        return value
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if type(value) is tuple or isinstance(value, list | range | np.ndarray):
        return tuple(map(hashable, as_listed(value) or ()))
    return value
