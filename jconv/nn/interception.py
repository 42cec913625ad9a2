"""Evaluation views of a network, and interception of its modules' calls."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flax import nnx


def eval_view(model: nnx.Module) -> Any:
    """Return a view of `model` in evaluation mode that shares its variables.

    Dropout is off in the view, and batch normalisation uses its running statistics.
    """
    return nnx.view(model, deterministic=True, use_running_average=True, raise_if_not_found=False)


@contextlib.contextmanager
def intercept_calls(model: nnx.Module, around: Callable) -> Iterator[None]:
    """Pass each call of a module of `model` through `around` while the context is active.

    Args:
      model: the network.
      around: called as `around(path, module, call, *args, **kwargs)`; `call(*args, **kwargs)` runs
        the intercepted call. A module's call of `super().__call__` is not intercepted again.
    """
    paths = {id(module): path for path, module in nnx.iter_modules(model)}
    stack: list[nnx.Module] = []

    def intercepted(method):
        def call(module, *args, **kwargs):
            if id(module) not in paths or any(module is active for active in stack):
                return method(module, *args, **kwargs)
            stack.append(module)
            try:
                bound = lambda *args, **kwargs: method(module, *args, **kwargs)
                return around(paths[id(module)], module, bound, *args, **kwargs)
            finally:
                stack.pop()

        return call

    # Python looks up `__call__` on the class, so the method is replaced there and restored at exit.
    classes = {type(module) for _, module in nnx.iter_modules(model) if callable(module)}
    defined = {cls: vars(cls).get("__call__") for cls in classes}  # None where it is inherited
    methods = {cls: cls.__call__ for cls in classes}
    try:
        for cls in classes:
            type.__setattr__(cls, "__call__", intercepted(methods[cls]))
        yield
    finally:
        for cls, method in defined.items():
            if method is None:
                del cls.__call__
            else:
                type.__setattr__(cls, "__call__", method)
