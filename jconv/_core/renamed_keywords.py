"""Errors for keywords that another library, or an earlier release, spells differently."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def reject_renamed(
    names: Mapping[str, tuple[str, ...]],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a decorator that raises a helpful error where a keyword has another name.

    The decorated function raises the ordinary `TypeError` for every other unknown keyword.

    Args:
      names: the accepted spellings of each rejected keyword. The error names the first spelling
        that the decorated function takes; a keyword with none of them is left to Python.

    >>> @reject_renamed({"stride": ("strides",)})
    ... def layer(strides=1): ...
    >>> layer(stride=2)
    Traceback (most recent call last):
        ...
    TypeError: `stride` is spelled `strides` here. Received: stride=2. Write strides=2.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        accepted = {
            old: next((new for new in spellings if new in parameters), None)
            for old, spellings in names.items()
            if old not in parameters
        }

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in kwargs.items():
                if new := accepted.get(name):
                    raise TypeError(
                        f"`{name}` is spelled `{new}` here. Received: {name}={value!r}. "
                        f"Write {new}={value!r}."
                    )
            return function(*args, **kwargs)

        return checked

    return decorate
