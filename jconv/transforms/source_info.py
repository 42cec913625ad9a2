"""The source position of an equation: the line of user code that it comes from."""

from __future__ import annotations

import re
from pathlib import Path

from jax.extend import source_info_util
from jax.extend.core import JaxprEqn

PACKAGE = Path(__file__).parent.parent

# Files between a layer and the primitive. The position of a convolution is where its layer is
# called: in a network, in a block of `jconv.nn`, or in the caller's code.
FUNCTIONS = ("_core", "algorithms", "functional", "transforms")
LAYERS = ("conv", "conv_norm", "conv_transpose", "local_conv", "sequential", "branches")
for _path in (
    *(PACKAGE / folder for folder in FUNCTIONS),
    *(PACKAGE / "nn" / f"{name}.py" for name in LAYERS),
):
    source_info_util.register_exclusion(str(_path))

FRAME = re.compile(r"(?P<path>.+?):(?P<line>\d+)(:\d+)? \((?P<function>.+)\)")
# JAX marks what it has transposed by an entry of this type. A `named_scope` that the user calls
# "transpose" is an entry of another type.
(TRANSPOSED,) = source_info_util.new_name_stack().transform("transpose").stack


def source_position(eqn: JaxprEqn) -> str:
    """Return `file.py:line (function)` of the innermost frame outside of libraries, or `""`."""
    summary = source_info_util.summarize(eqn.source_info, num_frames=50)
    frames = [match for line in summary.split("\n")[::-1] if (match := FRAME.fullmatch(line))]
    user_frames = [frame for frame in frames if _is_user_code(frame["path"])]
    for frame in (user_frames or frames)[:1]:
        return f"{Path(frame['path']).name}:{frame['line']} ({frame['function']})"
    return ""


def named_scopes(eqn: JaxprEqn) -> tuple[str, ...]:
    """Return the names of the `jax.named_scope` contexts of an equation, outermost first."""
    names = eqn.source_info.name_stack.stack
    return tuple(name.name for name in names if type(name) is not type(TRANSPOSED))


def is_transposed(eqn: JaxprEqn) -> bool:
    """Return whether an equation belongs to a gradient."""
    names = eqn.source_info.name_stack.stack
    return any(type(name) is type(TRANSPOSED) and name == TRANSPOSED for name in names)


def _is_user_code(path: str) -> bool:
    # The blocks and networks of an installed jconv count as user code.
    return "site-packages" not in path or Path(path).is_relative_to(PACKAGE)
