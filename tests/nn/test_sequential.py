import jax.numpy as jnp
import pytest
from flax import nnx

import jconv


def test_sequential_takes_one_list_of_layers():
    layers = [jconv.nn.Flatten(), nnx.Linear(4, 2, rngs=nnx.Rngs(0))]
    assert jconv.nn.Sequential(layers)(jnp.ones((3, 2, 2, 1))).shape == (3, 2)
    with pytest.raises(ValueError, match=r"must be one list.*Sequential\(\[Flatten, Linear\]\)"):
        jconv.nn.Sequential(*layers)
    with pytest.raises(ValueError, match="must be one list"):
        jconv.nn.Sequential(layers[0])
    with pytest.raises(ValueError, match="must be one list.*2 arguments"):
        jconv.nn.Sequential([layers[0]], [layers[1]])
    with pytest.raises(ValueError, match="3 at place 1"):
        jconv.nn.Sequential([layers[0], 3])


def test_concatenate_takes_a_list_of_arrays():
    with pytest.raises(ValueError, match="list of arrays"):
        jconv.nn.Concatenate()(jnp.ones((1, 2, 2, 1)))
