import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv


def test_sequential_takes_layers_one_by_one_or_in_a_list():
    layers = [jconv.nn.Flatten(), nnx.Linear(4, 2, rngs=nnx.Rngs(0))]
    x = jnp.ones((3, 2, 2, 1))
    expected = nnx.Sequential(*layers)(x)
    for model in (jconv.nn.Sequential(*layers), jconv.nn.Sequential(layers)):
        np.testing.assert_array_equal(model(x), expected)
    assert jconv.nn.Sequential(layers[0])(x).shape == (3, 4)
    with pytest.raises(ValueError, match=r"one by one or in a single list.* at position 0"):
        jconv.nn.Sequential([layers[0]], [layers[1]])
    with pytest.raises(ValueError, match="3 at position 1"):
        jconv.nn.Sequential([layers[0], 3])


def test_concatenate_takes_a_list_of_arrays():
    with pytest.raises(ValueError, match="list of arrays"):
        jconv.nn.Concatenate()(jnp.ones((1, 2, 2, 1)))
