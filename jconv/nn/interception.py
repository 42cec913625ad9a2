"""Calling a network: in evaluation, and with an eye on the calls of its modules."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flax import nnx


def in_evaluation(model: nnx.Module) -> Any:
    """A view of a network, of the same variables, that drops nothing and keeps its statistics."""
    return nnx.view(model, deterministic=True, use_running_average=True, raise_if_not_found=False)


@contextlib.contextmanager
def calls_through(model: nnx.Module, around: Callable) -> Iterator[None]:
    """While this lasts, each call of a module of `model` goes through `around`.

    Args:
      model: the network.
      around: called as `around(path, module, call, *args, **kwargs)`; `call(*args, **kwargs)` is
        the call itself. What a module calls of its own class's parents is not another call.
    """
    paths = {id(module): path for path, module in nnx.iter_modules(model)}
    stack: list[nnx.Module] = []

    def watched(call):
        def through(module, *args, **kwargs):
            if id(module) not in paths or any(module is other for other in stack):
                return call(module, *args, **kwargs)
            stack.append(module)
            try:
                own = lambda *args, **kwargs: call(module, *args, **kwargs)
                return around(paths[id(module)], module, own, *args, **kwargs)
            finally:
                stack.pop()

        return through

    # Python looks a call up on the class, so it is replaced there, and put back.
    classes = {type(module) for _, module in nnx.iter_modules(model) if callable(module)}
    own = {cls: vars(cls).get("__call__") for cls in classes}
    calls_of = {cls: cls.__call__ for cls in classes}
    try:
        for cls in classes:
            type.__setattr__(cls, "__call__", watched(calls_of[cls]))
        yield
    finally:
        for cls, call in own.items():
            if call is None:
                del cls.__call__
            else:
                type.__setattr__(cls, "__call__", call)
