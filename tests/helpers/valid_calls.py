"""Public functions and layers with valid default arguments, and the check of an error.

A test replaces single arguments by others.
"""

import jax
import numpy as np
import pytest
from flax import nnx

import jconv

X = np.ones((2, 6, 6, 4), np.float32)
KERNEL = np.ones((3, 3, 4, 8), np.float32)
TRANSPOSED_KERNEL = KERNEL.swapaxes(-1, -2)  # for `conv_transpose`, from 4 channels to 8
LHS, RHS = X.transpose(0, 3, 1, 2), KERNEL.transpose(3, 2, 0, 1)
DEPTHWISE, POINTWISE = np.ones((3, 3, 4, 2), np.float32), np.ones((8, 5), np.float32)
RANDOM_KEYS = jax.random.split(jax.random.key(0), X.size).reshape(X.shape)
TOO_LARGE = 2**31  # The largest int of a convolution's geometry is one less.


def conv(x=X, kernel=KERNEL, **options):
    return jconv.conv(x, kernel, **options)


def conv_transpose(x=X, kernel=TRANSPOSED_KERNEL, **options):
    return jconv.conv_transpose(x, kernel, **options)


def depthwise_conv(x=X, kernel=DEPTHWISE, **options):
    return jconv.depthwise_conv(x, kernel, **options)


def separable_conv(x=X, depthwise=DEPTHWISE, pointwise=POINTWISE, **options):
    return jconv.separable_conv(x, depthwise, pointwise, **options)


def conv_general_dilated(lhs=LHS, rhs=RHS, window_strides=(1, 1), padding="SAME", **options):
    return jconv.conv_general_dilated(lhs, rhs, window_strides, padding, **options)


def output_shape(x_shape=X.shape, kernel_shape=KERNEL.shape, **options):
    return jconv.output_shape(x_shape, kernel_shape, **options)


def output_size(input=9, kernel=3, **options):
    return jconv.output_size(input, kernel, **options)


def make_layer(in_features=4, out_features=8, kernel_size=(3, 3), strides=1, **options):
    """Create a layer `Conv`."""
    options = {"rngs": nnx.Rngs(0)} | options
    return jconv.nn.Conv(in_features, out_features, kernel_size, strides, **options)


def call_layer(inputs, **options):
    """Create a layer `Conv` and call it."""
    return make_layer(**options)(inputs)


def call_pool(x, window_shape=(2, 2), **options):
    """Create a layer `MaxPool` and call it."""
    return jconv.nn.MaxPool(window_shape, **options)(x)


def assert_error(function, options, allowed, received):
    """Assert that a call raises a `ValueError` whose message contains two texts.

    The error must be raised in jconv, not in JAX or Flax.

    Args:
      function: what is called.
      options: its keyword arguments.
      allowed: the part of the message that states the allowed values.
      received: the part that states the received value.
    """
    with pytest.raises(ValueError) as error:
        function(**options)
    assert "jconv" in error.traceback[-1].path.parts
    message = str(error.value)
    assert allowed in message
    assert received in message
