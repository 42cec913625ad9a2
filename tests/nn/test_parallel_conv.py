import numpy as np
from flax import nnx

import jconv
from jconv.analysis import summarize


def test_shape_parameters_and_multiply_adds():
    """Three branches of 64 kernels, 1x1, 3x3 and 5x5, map 224x224x3 to 224x224x192."""
    block = jconv.nn.ParallelConv(3, {1: 64, 3: 64, 5: 64}, rngs=nnx.Rngs(0))
    summary = summarize(block, (224, 224, 3))
    assert summary.layers[-1].output_shape == (224, 224, 192)
    assert summary.parameters == 6_912
    assert summary.multiply_adds == 337_182_720


def test_output_concatenates_the_branches(rng):
    block = jconv.nn.ParallelConv(3, {1: 2, 3: 4, 5: 3}, rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 7, 6, 3)).astype("float32")
    y = block(x)
    assert y.shape == (2, 7, 6, 9)
    start = 0
    for branch, width in zip(block.branches, (2, 4, 3), strict=True):
        expected = np.maximum(jconv.conv(x, branch.kernel[...]) + branch.bias[...], 0)
        np.testing.assert_allclose(y[..., start : start + width], expected, rtol=1e-5, atol=1e-5)
        start += width
