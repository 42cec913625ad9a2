"""Published networks without the cost of their initialisers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv.models import PUBLISHED
from jconv.models.weight_formats import JCONV_FORMAT, weight_entries
from jconv.models.weight_io import _initialise_rngs

# Tracing these takes jax 0.10 many seconds.
LARGE = ("inception_v4", "inception_resnet_v2")


@functools.cache
def abstract_network(name, **options):
    """Return a network whose variables have shapes and no values."""
    return nnx.eval_shape(lambda: PUBLISHED[name].make(**options, rngs=nnx.Rngs(0)))


def zero_network(name, **options):
    """Return a network in evaluation whose weights are all zero."""
    model = nnx.clone(abstract_network(name, **options))
    for entry in weight_entries(model, JCONV_FORMAT):
        entry.variable.set_value(jnp.zeros(entry.variable.shape, jnp.float32))
    _initialise_rngs(model)
    model.eval()
    return model


def random_weights(name, weight_format, rng, **options):
    """Return random tensors of a network, under a library's names and in its layouts."""
    model = abstract_network(name, **weight_format.options, **options)
    return {
        entry.name: rng.normal(size=entry.shape).astype("float32")
        for entry in weight_entries(model, weight_format)
        if entry.fill_value is None
    }


def logits_shape(model, *shape):
    """Return the shape of a network's logits for images of some shape."""
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x).shape


def num_parameters(model):
    """Return the number of trainable values."""
    return sum(np.size(x) for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


def slow_if_large(name, *values):
    """Return parameters of a test, marked as slow for a large network."""
    return pytest.param(name, *values, marks=[pytest.mark.slow] * (name in LARGE))
