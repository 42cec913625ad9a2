"""Checks of arguments that many functions share, and the wording of their errors.

Every error names the argument, what is allowed, what was received, and what to do instead.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

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
      ValueError: naming the count that it does not divide.
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
