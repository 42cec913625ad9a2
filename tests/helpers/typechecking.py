"""The check of annotated arrays at run time, which the tests switch on for all of jconv."""

import re
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

ARRAYS = re.compile(r"\b(Array|ArrayLike|Float|Int|Num|Shaped|Bool|UInt8|Inexact|Complex)\b")


def check_arrays(function: Callable) -> Callable:
    """Check the dtypes and shapes of a function's arrays in each call.

    Other arguments are left to the function: what it refuses, and in which words, is tested too.
    """
    if not isinstance(function, type):
        annotations = {
            name: hint if ARRAYS.search(hint if isinstance(hint, str) else repr(hint)) else Any
            for name, hint in function.__annotations__.items()
        }
        function.__annotations__ = annotations
        if set(annotations.values()) <= {Any}:
            return function
    return beartype(conf=BeartypeConf(is_pep484_tower=True))(function)
