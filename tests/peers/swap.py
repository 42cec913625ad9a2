"""Puts `jconv.conv_general_dilated` in the place of JAX's own.

In a test: `with swapped("direct") as calls`. For a peer's whole test suite, as a pytest plugin:
`JCONV_ALGORITHM=direct pytest -p swap ...`, which ends with the number of calls that were taken.
"""

import contextlib
import os
import sys
import types

import jax._src.lax.convolution as lax_convolution
import pytest
from jax import lax

import jconv

_CALLS = pytest.StashKey()


@contextlib.contextmanager
def swapped(algorithm):
    """Everything that convolves by `lax`, `lax.conv_transpose` included, convolves by jconv.

    Yields a list that grows by one with every call.
    """
    calls = []

    def conv_general_dilated(*args, **kwargs):
        calls.append(None)
        return jconv.conv_general_dilated(*args, **kwargs, algorithm=algorithm)

    # jconv itself keeps JAX's.
    untouched = types.SimpleNamespace(**vars(lax))
    ours = [module for name, module in list(sys.modules.items()) if name.startswith("jconv.")]
    with pytest.MonkeyPatch.context() as patch:
        for module in ours:
            if getattr(module, "lax", None) is lax:
                patch.setattr(module, "lax", untouched)
        patch.setattr(lax, "conv_general_dilated", conv_general_dilated)
        patch.setattr(lax_convolution, "conv_general_dilated", conv_general_dilated)
        yield calls


def pytest_configure(config):
    algorithm = os.environ.get("JCONV_ALGORITHM")
    if algorithm:
        stack = contextlib.ExitStack()
        config.stash[_CALLS] = stack.enter_context(swapped(algorithm))
        config.add_cleanup(stack.close)


def pytest_terminal_summary(terminalreporter, config):
    if _CALLS in config.stash:
        terminalreporter.write_line(f"{len(config.stash[_CALLS])} calls taken by jconv")
