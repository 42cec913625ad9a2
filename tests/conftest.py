import itertools
import os
import shutil
import tempfile
from collections import defaultdict

import helpers.typechecking  # noqa: F401, the hook below takes it by name
import jaxtyping
import numpy as np
import pytest

# What someone has measured on this device must not decide what is tested.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jconv-tests-")

# All processes of a run of the tests share what took them long to compile.
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


def pytest_configure():
    import jax  # which reads the variables above

    if jax.default_backend() != "cpu":
        # Accelerators round what they multiply to 10 bits or fewer, unless they are told not to.
        jax.config.update("jax_default_matmul_precision", "highest")


def pytest_unconfigure():
    shutil.rmtree(os.environ["XDG_CACHE_HOME"], ignore_errors=True)
    if MADE_HERE:
        shutil.rmtree(os.environ[PROGRAMS], ignore_errors=True)


@pytest.fixture
def rng(request):
    """Random numbers that are the same in every run, and differ from test to test."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


def pytest_terminal_summary(terminalreporter):
    """Prints the share of the conformance cases that each algorithm takes."""
    shares = defaultdict(dict)
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, value in getattr(report, "user_properties", ()):
            if name == "share":
                algorithm, case, taken = value
                shares[algorithm][case] = taken
    for algorithm, cases in sorted(shares.items()):
        taken = sum(cases.values())
        terminalreporter.write_line(
            f"{algorithm:<20} takes {taken:>4} of {len(cases):>4} cases ({taken / len(cases):.0%})"
        )
