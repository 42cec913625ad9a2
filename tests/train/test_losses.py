import jax.numpy as jnp
import numpy as np
import pytest

from jconv.train.losses import cross_entropy, mean_squared_error


def test_mean_squared_error():
    assert float(mean_squared_error(jnp.array([[1.0], [4.0]]), jnp.array([[0.0], [2.0]]))) == 2.5


def test_mean_squared_error_of_class_labels_takes_them_as_one_hot():
    assert float(mean_squared_error(jnp.array([[1.0, 1.0]]), jnp.array([1]))) == 0.5


def test_cross_entropy():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    assert float(cross_entropy(logits, jnp.array([1]))) == pytest.approx(np.log(4))
