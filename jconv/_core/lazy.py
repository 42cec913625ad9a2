"""Packages whose public names are loaded on first use (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


def attach(
    package: str, defined_in: Mapping[str, str], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that imports its names on first use.

    Args:
      package: the `__name__` of the package.
      defined_in: for each function or class of the package the module that defines it.
      submodules: submodules that are attributes of the package without being imported.
    """
    module = sys.modules[package]

    def __getattr__(name: str) -> Any:
        if name in defined_in:
            value = getattr(importlib.import_module(defined_in[name]), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}", name=name, obj=module
            )
        module.__dict__[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*module.__dict__, *defined_in, *submodules})

    class Package(ModuleType):
        """Type of the package: keeps a function from being hidden by a module of its name.

        The import system binds every imported submodule in its parent. Without this class,
        importing the module `jconv.walkthrough` would replace the function `jconv.walkthrough`.
        """

        def __setattr__(self, name: str, value: Any) -> None:
            if not (isinstance(value, ModuleType) and name in defined_in):
                super().__setattr__(name, value)

    module.__class__ = Package
    return __getattr__, __dir__
