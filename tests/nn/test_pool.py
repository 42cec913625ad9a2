"""Pooling layers against the functions that they call."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv import avg_pool, lp_pool, max_pool, nn

LAYERS = {nn.MaxPool: max_pool, nn.AvgPool: avg_pool, nn.LpPool: lp_pool}


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_is_the_function(layer, rng):
    x = rng.normal(size=(2, 3, 7, 6, 2)).astype("float32")
    made = layer((3, 2), (2, 2), padding=1, window_dilation=(1, 2), ceil_mode=True)
    y = made(x)
    assert y.shape[:2] == (2, 3)
    expected = LAYERS[layer](x[1], (3, 2), stride=2, padding=1, dilation=(1, 2), ceil_mode=True)
    np.testing.assert_array_equal(y[1], expected)
    np.testing.assert_array_equal(made(x[1, 2]), y[1, 2])
    assert made(x[:0]).shape == (0, *y.shape[1:])


def test_options_of_one_layer(rng):
    x = rng.normal(size=(2, 7, 6, 2)).astype("float32")
    y = nn.AvgPool((2, 2), padding="SAME", count_include_pad=False)(x)
    np.testing.assert_array_equal(y, avg_pool(x, 2, padding="SAME", count_include_pad=False))
    np.testing.assert_array_equal(nn.LpPool((2, 2), p=3)(x), lp_pool(x, 2, p=3))


def test_max_pool_with_indices_and_channels_first(rng):
    x = rng.normal(size=(2, 3, 4, 6, 5)).astype("float32")
    maxima, indices = nn.MaxPool((2, 2), return_indices=True)(x)
    assert maxima.shape == indices.shape == (2, 3, 2, 3, 5)
    flat = x.reshape(2, 3, 24, 5)
    taken = np.take_along_axis(flat, np.asarray(indices).reshape(2, 3, 6, 5), axis=2)
    np.testing.assert_array_equal(maxima.reshape(2, 3, 6, 5), taken)
    y = nn.MaxPool((2, 2), layout="NCHW")(np.moveaxis(x, -1, -3))
    np.testing.assert_array_equal(np.moveaxis(y, -3, -1), maxima)


def test_average_pool_counts_the_padding_by_default():
    x = jnp.ones((1, 3, 1))
    y = nn.AvgPool(3, 1, "SAME")(x)
    np.testing.assert_allclose(y, nnx.avg_pool(x, (3,), (1,), "SAME"))
    np.testing.assert_allclose(y[0, :, 0], [2 / 3, 1, 2 / 3])
    np.testing.assert_allclose(nn.AvgPool(3, 1, "SAME", count_include_pad=False)(x), x)
