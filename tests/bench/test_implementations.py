"""All implementations of a layer in the benchmark compute the same function."""

import jax
import numpy as np
import pytest
from helpers.bench_layers import every_small_layer

from jconv.bench.implementations import (
    jconv_convolution,
    lax_convolution,
    passes,
    problems_of,
)
from jconv.bench.torch_layers import torch_passes


@every_small_layer
def test_jconv_and_lax_agree(layer):
    by_jconv = passes(layer, jconv_convolution(layer))
    by_lax = passes(layer, lax_convolution(layer))
    for which in ("forward", "gradients"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
            by_jconv[which](),
            by_lax[which](),
        )


@every_small_layer
def test_jconv_and_torch_agree(layer):
    pytest.importorskip("torch", reason="pip install 'jconv[bench]'")
    by_jconv, by_torch = passes(layer, jconv_convolution(layer)), torch_passes(layer)
    if layer.per_example_gradients:
        assert not by_torch
        return
    y, x_bar, kernel_bar = map(np.asarray, by_jconv["gradients"]())
    if layer.kernels:
        y, kernel_bar = (np.concatenate(list(a), axis=-1) for a in (y, kernel_bar))
    reverse = (slice(None, None, -1 if layer.input_dilation > 1 else 1),) * layer.rank
    order = (-2, -1) if layer.input_dilation > 1 else (-1, -2)
    expected = [np.moveaxis(y, -1, 1), np.moveaxis(x_bar, -1, 1),
                np.moveaxis(kernel_bar[reverse], order, (0, 1))]  # fmt: skip
    for wanted, tensor in zip(expected, by_torch["gradients"](), strict=True):
        actual = tensor.detach().cpu().numpy()
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4)
    forward = by_torch["forward"]().cpu().numpy()
    np.testing.assert_allclose(forward, expected[0], rtol=1e-4, atol=1e-4)


@every_small_layer
def test_a_layer_has_one_problem_for_each_pass(layer):
    problems = problems_of(layer)
    assert len(problems) == (2 if layer.per_example_gradients else 3)
    assert problems[0].window.taps == layer.kernel[: layer.rank]
