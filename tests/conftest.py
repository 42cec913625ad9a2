import itertools
import os
import shutil
import tempfile
from collections import defaultdict

import helpers.typechecking  # noqa: F401, the hook below takes it by name
import jaxtyping
import numpy as np
import pytest
from helpers.compiler import FAST_FLAGS, add_xla_flags

# Measurements of this device that a user has stored must not change what is tested.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jconv-tests-")

# All processes of a test run share the programs that take long to compile.
PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
MADE_HERE = PROGRAMS not in os.environ
if MADE_HERE:
    os.environ[PROGRAMS] = tempfile.mkdtemp(prefix="jconv-tests-programs-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"

# Annotated arrays are checked in every call, in all of jconv.
jaxtyping.install_import_hook("jconv", "helpers.typechecking.check_arrays")


@pytest.fixture
def unchecked():
    """Switch the check of annotated arrays off, for tests of the errors that users see."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_configure(config):
    # XLA reads its flags once, so no other conftest.py may start a JAX backend on import.
    if "not slow" in config.option.markexpr:
        os.environ["XLA_FLAGS"] = add_xla_flags(FAST_FLAGS)

    import jax  # It reads the variables above.
    import jaxtyping._decorator
    from jax.extend import source_info_util

    # The position of an equation is a line of user code, not one of the run-time type check.
    source_info_util.register_exclusion(jaxtyping._decorator.__file__)

    if jax.default_backend() != "cpu":
        # By default accelerators round the factors of products to 10 bits or fewer.
        jax.config.update("jax_default_matmul_precision", "highest")


def pytest_unconfigure():
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
    if MADE_HERE:
        shutil.rmtree(os.environ[PROGRAMS], ignore_errors=True)


@pytest.fixture
def rng(request):
    """A random generator that is seeded with the name of the test."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def pytest_terminal_summary(terminalreporter):
    """Print how many of the conformance cases each algorithm supports."""
    shares = defaultdict(dict)
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, value in getattr(report, "user_properties", ()):
            if name == "share":
                algorithm, case, supported = value
                shares[algorithm][case] = supported
    for algorithm, cases in sorted(shares.items()):
        supported = sum(cases.values())
        terminalreporter.write_line(
            f"{algorithm:<20} supports {supported:>4} of {len(cases):>4} cases"
        )
