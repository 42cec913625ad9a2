"""The algorithms of parametrized tests, by name."""

import jax
import pytest

import jconv

on_a_cpu = pytest.mark.skipif(
    jax.default_backend() != "cpu",
    reason="depends on the cost model or the exact arithmetic of the CPU",
)

ENTRIES = {**jconv.ALGORITHMS, "auto": "auto"}
# Small blocks, so that small cases need many of them.
VARIANTS = {
    "xla-for-cudnn": jconv.Xla(cudnn=True),
    "im2col-blocks": jconv.Im2col(workspace=256),
    "winograd-f2-blocks": jconv.Winograd(tile=2, block=512),
    "fft-blocks": jconv.FFT(block=512),
    "overlap_add-blocks": jconv.OverlapAdd(length=4, block=512),
    "phases-of-direct": jconv.Phases(jconv.Direct()),
    "split-loops": jconv.Split(unroll=1),
    "direct-loops": jconv.Direct(unroll=2),
}

# The code around an algorithm is shared, so the quick run tests it with three algorithms only.
QUICK = ("auto", "direct", "winograd")
every_algorithm = pytest.mark.parametrize("algorithm", ENTRIES)


def any_algorithm(value=lambda name: name):
    """Parametrize a test by algorithm, and mark those that are not in `QUICK` as slow.

    Args:
      value: maps the name of an algorithm to the argument of the test.
    """
    slow = {name: () if name in QUICK else pytest.mark.slow for name in ENTRIES}
    return pytest.mark.parametrize(
        "algorithm", [pytest.param(value(n), id=n, marks=marks) for n, marks in slow.items()]
    )
