"""The only place in which jconv modifies JAX: hooks around the convolutions of `lax`.

JAX has no public hook for replacing a primitive while a function is traced. An interpreter of
traced programs would need a rule for every primitive that holds a program (`scan`, `while`, `cond`,
`shard_map`, ...), and would lose donation, sharding and the state of Flax. Replacing the functions
of `lax` would miss code that has imported them by name. So three attributes of JAX are replaced:

- `lax.conv_general_dilated_p.bind`: every convolution of `lax` passes through it, at any depth,
  since JAX traces the bodies of `jit`, `scan`, `cond`, `checkpoint` and so on by calling them.
- `jax.custom_jvp.__call__` and `jax.custom_vjp.__call__`: JAX may trace the derivative rules of
  such functions long after the call, when no handler is active any more. The hook replaces the
  rules by rules that are traced under the handler of the call.

The hooks are installed by the first `intercept_convolutions` and change nothing while no handler is
active. `uninstall` restores the attributes.

The handler is a `jax.make_user_context`, which is part of the key of JAX's caches: a function that
was jitted before is traced again under a handler, and the program without one is kept.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
from jax import lax

# Takes the operands and parameters of `lax.conv_general_dilated_p` and returns the convolution, or
# None to leave it to `lax`. It must be hashable: equal handlers share what JAX has traced.
Handler = Callable[..., jax.Array | None]

_handler = jax.make_user_context(None)

# The attributes of `jax.custom_jvp` and `jax.custom_vjp` that hold functions which are traced
# later than the call, or tuples of such functions.
DEFERRED_RULES = ("fun", "fwd", "bwd", "jvp", "remat_rules")

_MISSING: Any = object()


@dataclass(frozen=True)
class _Patch:
    """One replaced attribute.

    Attributes:
      owner: the object or class that has the attribute.
      name: the attribute's name.
      original: the attribute before; `_MISSING` where the owner inherited it.
      hook: the attribute now.
    """

    owner: Any
    name: str
    original: Any
    hook: Any


_patches: list[_Patch] = []
_lock = threading.Lock()


@contextlib.contextmanager
def intercept_convolutions(handler: Handler) -> Iterator[None]:
    """Pass every convolution of `lax` that is traced inside to `handler`.

    Args:
      handler: called as `handler(lhs, rhs, **params)` with the operands and parameters of
        `lax.conv_general_dilated_p`. It returns the result, or None to leave the convolution to
        `lax`. It must be hashable, and equal handlers must do the same. While it runs it is still
        active: what it computes by `lax` must be computed under `without_interception()`.
    """
    install()
    with _handler(handler):
        yield


def without_interception() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which `lax` is left as it is, also inside `intercept_convolutions`."""
    return _handler(None)


def is_installed() -> bool:
    """Return whether the attributes of JAX are replaced at present."""
    return bool(_patches)


def install() -> None:
    """Replace the attributes listed in the module's docstring, unless they are replaced already."""
    with _lock:
        if _patches:
            return
        primitive: Any = lax.conv_general_dilated_p
        _replace(primitive, "bind", _hooked_bind(primitive.bind))
        for wrapper in (jax.custom_jvp, jax.custom_vjp):
            _replace(wrapper, "__call__", _hooked_call(wrapper.__call__))


def uninstall() -> None:
    """Restore the attributes of JAX that `install` replaced; do nothing if there are none.

    Programs that JAX has traced already stay as they are. The next `intercept_convolutions`, also
    that of a derivative rule which was deferred, installs the hooks again.

    Raises:
      RuntimeError: inside `intercept_convolutions`, or if another library has replaced one of the
        attributes since, because restoring the original would drop its change.
    """
    if _handler.value is not None:
        raise RuntimeError(
            "`uninstall` must be called outside of `jconv.accelerated()` and accelerated "
            "functions. Received: a call while convolutions are intercepted."
        )
    with _lock:
        for patch in _patches:
            if vars(patch.owner).get(patch.name, _MISSING) is not patch.hook:
                raise RuntimeError(
                    f"`uninstall` must find jconv's hook at `{patch.name}` of {patch.owner!r}. "
                    f"Received: an attribute that another library has replaced since. Undo that "
                    f"change first."
                )
        while _patches:
            patch = _patches.pop()
            if patch.original is _MISSING:
                delattr(patch.owner, patch.name)
            else:
                setattr(patch.owner, patch.name, patch.original)


def _replace(owner: Any, name: str, hook: Any) -> None:
    _patches.append(_Patch(owner, name, vars(owner).get(name, _MISSING), hook))
    setattr(owner, name, hook)


def _hooked_bind(bind: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `bind` that offers each convolution to the active handler first."""

    def hooked(lhs, rhs, **params):
        handler = _handler.value
        y = None if handler is None else handler(lhs, rhs, **params)
        return bind(lhs, rhs, **params) if y is None else y

    return hooked


def _hooked_call(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `__call__` of `custom_jvp` or `custom_vjp` whose deferred rules keep the handler."""

    @functools.wraps(call)
    def hooked(function, /, *args, **kwargs):
        handler = _handler.value
        kept = function if handler is None else _with_handler(handler, function)
        return call(kept, *args, **kwargs)

    return hooked


def _with_handler(handler: Handler, function: Any) -> Any:
    """Return a copy of a wrapped function, all rules of which are traced under `handler`."""
    copy = object.__new__(type(function))
    vars(copy).update(vars(function))
    for name in DEFERRED_RULES:
        if name in vars(copy):
            setattr(copy, name, _rules_with_handler(handler, vars(copy)[name]))
    return copy


def _rules_with_handler(handler: Handler, rule: Any) -> Any:
    """Return a rule, or a tuple with rules in it, traced under `handler`; keep all else."""
    if isinstance(rule, tuple):
        return tuple(_rules_with_handler(handler, part) for part in rule)
    if not callable(rule):
        return rule

    @functools.wraps(rule)
    def traced(*args, **kwargs):
        with intercept_convolutions(handler):
            return rule(*args, **kwargs)

    return traced
