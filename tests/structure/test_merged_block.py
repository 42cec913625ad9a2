"""Cost, error bound and printed form of merged blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.blocks import normed
from helpers.structures import SHAPE, create, rngs

from jconv import nn
from jconv.structure import merge


def make_parallel_conv():
    return nn.ParallelConv(8, {1: 64, 3: 64, 5: 64}, rngs=rngs())


def test_cost_of_one_kernel_for_parallel_1x1_3x3_and_5x5():
    """One kernel over the largest window has 3 * 25 taps instead of 1 + 9 + 25."""
    (block,) = merge(create(make_parallel_conv), (28, 28, 8)).blocks
    assert block.multiply_adds_ratio == pytest.approx(75 / 35)
    assert block.multiply_adds == (28 * 28 * 8 * 64 * 35, 28 * 28 * 8 * 64 * 75)
    if jax.default_backend() == "cpu":  # There is a cost model of CPUs.
        assert block.seconds is not None and block.seconds_with_gradients is not None
        times = zip(block.seconds, block.seconds_with_gradients, strict=True)
        assert all(forward < with_gradients for forward, with_gradients in times)


def test_cost_without_an_input_shape():
    (block,) = merge(create(make_parallel_conv)).blocks
    assert block.multiply_adds_ratio == pytest.approx(75 / 35)
    assert block.seconds is block.seconds_with_gradients is None


def test_merging_prints_as_a_table(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    merged = merge(create(make_parallel_conv), (28, 28, 8))
    text = repr(merged)
    assert "ParallelConv" in text and "5x5x8x192" in text
    assert "2.14 times" in text and "with gradients" in text
    assert "2.14 times" in merged._repr_html_()


def test_merging_prints_the_reasons():
    merged = merge(
        create(
            lambda: nn.Sequential(
                [nn.ConvNorm(4, 4, 3, rngs=rngs()), nn.Conv(4, 2, (1, 1), rngs=rngs())]
            )
        )
    )
    text = repr(merged)
    assert "layers.0" in text and "1.00 times" in text
    assert "model" in text and "the activation relu precedes it" in text


def test_error_bound_includes_terms_that_cancel():
    """The bias cancels the mean, but the rounding errors of the mean remain."""
    net = create(lambda: normed(nn.Conv(4, 4, (1, 1), rngs=rngs())))
    norm = net.layers[1]
    for variable, value in ((norm.mean, 1e5), (norm.bias, 1e5), (norm.var, 1.0)):
        variable.set_value(jnp.full(4, value))
    x = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), "float32")
    merged = merge(net)
    error = np.abs(merged(x) - merged.original(x)).max((0, 1, 2))
    assert error.max() > 1e-3
    assert np.all(error <= merged.blocks[0].error_bound(x))
