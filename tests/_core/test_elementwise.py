"""Detection of elementwise functions from their jaxpr."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv._core.jaxpr import is_elementwise, is_identity


@pytest.mark.parametrize(
    "function, expected",
    [
        (nnx.relu, True),
        (jax.nn.gelu, True),
        (nnx.silu, True),
        (jnp.tanh, True),
        (nnx.relu6, True),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), True),
        (nnx.softmax, False),
        (lambda x: x - x.mean(), False),
        (lambda x: x[..., ::-1], False),
        (lambda x: x * jnp.arange(5.0), False),
        (lambda x: x.sum(), False),
    ],
)
def test_is_elementwise(function, expected):
    assert is_elementwise(function) is expected


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda x: x, True),
        (lambda x: x + 0, False),
        (lambda x: (x, x), False),
        (lambda x: x.undefined_attribute, False),
    ],
)
def test_is_identity(function, expected):
    assert is_identity(function) is expected
