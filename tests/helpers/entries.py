"""The algorithms that tests go through, by name."""

import jax
import pytest

import jconv

on_a_cpu = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="is about the CPU: what is known of it, or its bits"
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

# What is done around an algorithm is the same for all: tests of that ask three in the quick run.
QUICK = ("auto", "direct", "winograd")
every_algorithm = pytest.mark.parametrize("algorithm", ENTRIES)


def any_algorithm(value=lambda name: name):
    """Parametrizes by algorithm, as its name or its value."""
    slow = {name: () if name in QUICK else pytest.mark.slow for name in ENTRIES}
    return pytest.mark.parametrize(
        "algorithm", [pytest.param(value(n), id=n, marks=marks) for n, marks in slow.items()]
    )
