"""Errors of convolution and pooling layers, and of their calls."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.valid_calls import (
    RANDOM_KEYS,
    TOO_LARGE,
    X,
    assert_error,
    call_layer,
    call_pool,
    make_layer,
)

import jconv

INVALID_CALLS = [
    (make_layer, dict(in_features=0), "`in_features` must be an int of at least 1",
     "in_features=0"),
    (make_layer, dict(in_features=4.0), "`in_features` must be an int", "in_features=4.0"),
    (make_layer, dict(out_features="8"), "`out_features` must be an int", "out_features='8'"),
    (make_layer, dict(out_features=True), "`out_features` must be an int", "out_features=True"),
    (make_layer, dict(kernel_size=(3, 0)), "`kernel_size` must be an int", "kernel_size=0"),
    (make_layer, dict(kernel_size=()), "`kernel_size` must have at least one", "kernel_size=()"),
    (make_layer, dict(kernel_size="33"), "`kernel_size` must be an int", "kernel_size='33'"),
    (make_layer, dict(kernel_size=3.0), "`kernel_size` must be an int", "kernel_size=3.0"),
    (make_layer, dict(strides=0), "`strides` must be an int of at least 1", "strides=0"),
    (make_layer, dict(strides=(1, 2, 3)), "`strides` must be one int, or one for each",
     "which has 3"),
    (make_layer, dict(kernel_dilation="2"), "`kernel_dilation` must be an int", "='2'"),
    (make_layer, dict(input_dilation=(1,)), "`input_dilation` must be one int", "which has 1"),
    (make_layer, dict(padding="SAEM"), "'CIRCULAR', 'REFLECT']", "padding='SAEM'"),
    (make_layer, dict(padding=1.5), "`padding` must be one of", "padding=1.5"),
    (make_layer, dict(padding=[(1, 1)]), "`padding` must be one of", "which has 1"),
    (make_layer, dict(padding="CAUSAL"), "one spatial axis", "2 spatial axes"),
    (make_layer, dict(padding=TOO_LARGE), "`padding` must be one of", "2147483648"),
    (make_layer, dict(padding="reflect", padding_mode="circular"), "`padding` must be a size",
     "'REFL"),
    (make_layer, dict(padding_mode="mirror"), "`padding_mode` must be one of", "'mirror'"),
    (make_layer, dict(algorithm="fast"), "`algorithm` must be 'auto'", "'fast'"),
    (make_layer, dict(algorithm=None), "`algorithm` must be 'auto'", "algorithm=None"),
    (make_layer, dict(feature_group_count=0), "`feature_group_count` must be an int", "=0"),
    (make_layer, dict(feature_group_count=3), "`feature_group_count` must divide `in_features`",
     "=4"),
    (make_layer, dict(feature_group_count=4, out_features=6), "must divide `out_features`", "=6"),
    (make_layer, dict(mask=np.ones((3, 3))), "`mask` must be None or an array", "(3, 3)"),
    (make_layer, dict(dtype="float33"), "`dtype` must be a dtype of floats", "'float33'"),
    (make_layer, dict(dtype="int8"), "`dtype` must be a dtype of floats", "dtype='int8'"),
    (make_layer, dict(param_dtype=None), "`param_dtype` must be a dtype of floats", "=None"),
    (make_layer, dict(preferred_element_type=bool), "`preferred_element_type` must be", "bool"),
    (make_layer, dict(precision={}), "`precision` must be None", "precision={}"),
    (make_layer, dict(kernel_init=1), "`kernel_init` must be a function", "kernel_init=1"),
    (make_layer, dict(use_bias="no"), "`use_bias` must be True or False", "use_bias='no'"),
    (make_layer, dict(rngs=0), "`rngs` must be `nnx.Rngs(seed)`", "rngs=0"),
    (make_layer, dict(conv_general_dilated="fft"), "`conv_general_dilated` must be a function",
     "'fft'"),
    (make_layer, dict(conv_general_dilated=jnp.dot, flip=True),
     "`conv_general_dilated` must be left out where", "flip=True"),
    (call_layer, dict(inputs=X[..., :3]), "`inputs` must end in 2 axes of space", "(2, 6, 6, 3)"),
    (call_layer, dict(inputs=X[0, 0]), "`inputs` must end in 2 axes of space", "(6, 4)"),
    (call_layer, dict(inputs="photo.png"), "`inputs` must be an array of numbers", "str"),
    (call_layer, dict(inputs=RANDOM_KEYS), "`inputs` must be an array of numbers", "key<fry>"),
    (call_layer, dict(inputs=jnp.asarray(X, "int4")), "`inputs` and `kernel` must have", "int4"),
    (call_layer, dict(inputs=X, kernel_dilation=TOO_LARGE - 1), "`kernel_dilation`", "=2147483647"),
    (call_layer, dict(inputs=X, kernel_size=(7, 7), padding="VALID"), "does not fit", "(kernel 7,"),
    (call_layer, dict(inputs=X, input_dilation=2, padding_mode="reflect"), "where `input_dilation`",
     "input_dilation=(2, 2)"),
    (jconv.nn.DepthwiseConv, dict(in_features=4, kernel_size=3, multiplier=0, rngs=nnx.Rngs(0)),
     "`multiplier` must be an int of at least 1", "multiplier=0"),
    (jconv.nn.DepthwiseConv, dict(in_features=None, kernel_size=3, rngs=nnx.Rngs(0)),
     "`in_features` must be an int of at least 1", "in_features=None"),
    (jconv.nn.SeparableConv, dict(in_features=4, out_features=0, kernel_size=3, rngs=nnx.Rngs(0)),
     "`out_features` must be an int of at least 1", "out_features=0"),
    (jconv.nn.MaxPool, dict(window_shape=(2, 0)), "`window_shape` must be an int of at least 1",
     "window_shape=0"),
    (jconv.nn.MaxPool, dict(window_shape=()), "`window_shape` must have at least one",
     "window_shape=()"),
    (jconv.nn.AvgPool, dict(window_shape=(2, 2), strides=(1,)), "the 2 spatial axes",
     "strides=(1,)"),
    (call_pool, dict(x=X[0, 0]), "`x` must end in 2 axes of space", "x.shape=(6, 4)"),
    (call_pool, dict(x=X, window_shape=(9, 9)), "`window_shape` must fit", "window_shape=(9, 9)"),
    (call_pool, dict(x="photo.png"), "`x` must be an array of numbers", "str"),
]  # fmt: skip
every_invalid_call = pytest.mark.parametrize(
    "function, options, allowed, received",
    INVALID_CALLS,
    ids=[f"{function.__name__}-{i}" for i, (function, *_) in enumerate(INVALID_CALLS)],
)


@pytest.mark.usefixtures("unchecked")
@every_invalid_call
def test_error_states_the_allowed_and_the_received_value(function, options, allowed, received):
    assert_error(function, options, allowed, received)
