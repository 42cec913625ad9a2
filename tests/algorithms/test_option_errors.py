"""The options of algorithms and of plans: errors, and NumPy integers."""

import numpy as np
import pytest
from helpers.valid_calls import assert_error

import jconv

INVALID_CALLS = [
    (jconv.Plan, dict(forward=3), "`forward` must be 'auto'", "forward=3"),
    (jconv.Plan, dict(input_gradient="quick"), "`input_gradient` must be", "'quick'"),
    (jconv.Plan, dict(forward=None), "`forward` must be 'auto', one of", "forward=None"),
    (jconv.Plan, dict(kernel_gradient="fast"), "`kernel_gradient` must be 'auto'", "'fast'"),
    (jconv.Direct, dict(unroll=-1), "`unroll` must be an int of at least 0", "unroll=-1"),
    (jconv.Im2col, dict(workspace=0), "`workspace` must be an int of at least 1", "workspace=0"),
    (jconv.Im2col, dict(workspace="64MB"), "`workspace` must be an int", "workspace='64MB'"),
    (jconv.FFT, dict(block=1.5), "`block` must be an int of at least 1", "block=1.5"),
    (jconv.OverlapAdd, dict(block=None), "`block` must be an int of at least 1", "block=None"),
    (jconv.OverlapAdd, dict(length=0), "`length` must be an int of at least 1", "length=0"),
    (jconv.Winograd, dict(block=0), "`block` must be an int of at least 1", "block=0"),
    (jconv.Winograd, dict(tile=0), "`tile` must be an int of at least 1", "tile=0"),
    (jconv.Winograd, dict(tile=(2, "4")), "or one of them for each spatial axis", "tile='4'"),
    (jconv.Winograd, dict(tile=99), "`tile` must be at most", "tile=99"),
    (jconv.Winograd, dict(tile=()), "`tile` must have an entry for each axis", "tile=()"),
    (jconv.Split, dict(unroll=-1), "`unroll` must be an int of at least 0", "unroll=-1"),
    (jconv.Split, dict(inner="xla"), "`inner` must be an algorithm", "'xla'"),
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


def test_options_may_be_lists_and_numpy_integers():
    assert jconv.Winograd(tile=[np.int64(2), None]) == jconv.Winograd(tile=(2, None))
    assert jconv.OverlapAdd(length=np.int32(8)) == jconv.OverlapAdd(length=8)
    assert hash(jconv.Direct(unroll=np.int64(9))) == hash(jconv.Direct(unroll=9))
