"""Errors of the pooling functions."""

import math

import numpy as np
import pytest
from helpers.valid_calls import assert_error

from jconv.functional.pooling import avg_pool, lp_pool, max_pool

X = np.ones((2, 6, 5, 3), np.float32)
INVALID_CALLS = [
    (dict(x=X[0, :, :, 0]), "`x` must have a batch axis", "x.shape=(6, 5)"),
    (
        dict(x=X[0], window_shape=(2, 2)),
        "Add a missing batch axis with `x[None]`",
        "window_shape=(2, 2)",
    ),
    (
        dict(x=X[None], window_shape=(2, 2)),
        "map over further ones with `jax.vmap`",
        "(1, 2, 6, 5, 3)",
    ),
    (dict(x=X > 0), "`x` must be numbers", "bool"),
    (dict(x="photo"), "`x` must be an array", "str"),
    (
        dict(window_shape=(2, 2, 2)),
        "`window_shape` must be one int, or one for each",
        "window_shape=(2, 2, 2)",
    ),
    (dict(window_shape=0), "`window_shape` must be an int of at least 1", "window_shape=0"),
    (dict(window_shape=(2, -1)), "`window_shape` must be an int of at least 1", "window_shape=-1"),
    (dict(window_shape="3"), "`window_shape` must be an int", "window_shape='3'"),
    (dict(window_shape=2.0), "`window_shape` must be an int", "window_shape=2.0"),
    (dict(window_shape=True), "`window_shape` must be an int", "window_shape=True"),
    (dict(window_shape=None), "`window_shape` must be an int", "window_shape=None"),
    (
        dict(window_shape=6),
        "`window_shape` must fit into the padded input",
        "has 5 (input 5, padding (0, 0))",
    ),
    (
        dict(window_shape=9, ceil_mode=True, stride=2),
        "`window_shape` must fit into the padded input",
        "spans 9 pixels",
    ),
    (
        dict(padding=-3, ceil_mode=True),
        "`window_shape` must fit into the padded input",
        "padding (-3, -3)",
    ),
    (
        dict(window_shape=3, dilation=3),
        "Use a smaller `window_shape` or `dilation`",
        "spans 7 pixels",
    ),
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=(1, 1, 1)), "one for each of the 2 spatial axes", "which has 3"),
    (dict(stride="2"), "`stride` must be an int", "stride='2'"),
    (dict(dilation=-1), "`dilation` must be an int of at least 1", "dilation=-1"),
    (dict(padding="SAEM"), "`padding` must be one of", "padding='SAEM'"),
    (dict(padding=1.5), "`padding` must be one of", "padding=1.5"),
    (dict(padding=[1, 1, 1]), "for each of the 2 spatial axes", "which has 3"),
    (dict(ceil_mode="yes"), "`ceil_mode` must be True or False", "ceil_mode='yes'"),
    (dict(ceil_mode=1), "`ceil_mode` must be True or False", "ceil_mode=1"),
    (dict(layout="NWC"), "`layout` must be 'NHWC'", "layout='NWC'"),
]
INVALID_CALLS_OF_ONE_POOL = [
    (avg_pool, dict(count_include_pad="no"), "`count_include_pad` must be True", "'no'"),
    (max_pool, dict(return_indices=1), "`return_indices` must be True or False", "=1"),
    (max_pool, dict(x=X + 1j), "floats or integers for a maximum", "complex64"),
    (lp_pool, dict(x=X + 1j), "Pool `abs(x)`, or", "complex64"),
    (lp_pool, dict(p=0.5), "`p` must be a finite number of at least 1", "p=0.5"),
    (lp_pool, dict(p=math.inf), "`jconv.max_pool(abs(x), ...)`", "p=inf"),
    (lp_pool, dict(p=math.nan), "`p` must be a finite number", "p=nan"),
    (lp_pool, dict(p="2"), "`p` must be a finite number", "p='2'"),
    (lp_pool, dict(p=True), "`p` must be a finite number", "p=True"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("pool", [avg_pool, max_pool, lp_pool])
@pytest.mark.parametrize("options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS)))
def test_error_of_every_pool_states_the_allowed_and_the_received_value(
    pool, options, allowed, received
):
    assert_error(pool, {"x": X, "window_shape": 2} | options, allowed, received)


@pytest.mark.parametrize("pool, options, allowed, received", INVALID_CALLS_OF_ONE_POOL)
def test_error_of_one_pool_states_the_allowed_and_the_received_value(
    pool, options, allowed, received
):
    assert_error(pool, {"x": X, "window_shape": 2} | options, allowed, received)
