"""Errors of `jconv.unfold` and `jconv.fold`."""

import numpy as np
import pytest
from helpers.valid_calls import assert_error

from jconv.functional.patches import fold, unfold

X = np.ones((2, 6, 5, 3), np.float32)
INVALID_UNFOLDS = [
    (dict(x=X[0, :, :, 0]), "`x` must have a batch axis", "x.shape=(6, 5)"),
    (
        dict(x=X[0], kernel_size=(2, 2)),
        "Add a missing batch axis with `x[None]`",
        "kernel_size=(2, 2)",
    ),
    (dict(x=X > 0), "`x` must be numbers", "bool"),
    (dict(x="photo"), "`x` must be an array", "str"),
    (
        dict(kernel_size=(2, 2, 2)),
        "`kernel_size` must be one int, or one for each",
        "kernel_size=(2, 2, 2)",
    ),
    (dict(kernel_size=0), "`kernel_size` must be an int of at least 1", "kernel_size=0"),
    (dict(kernel_size=(2, -1)), "`kernel_size` must be an int of at least 1", "kernel_size=-1"),
    (dict(kernel_size="3"), "`kernel_size` must be an int", "kernel_size='3'"),
    (dict(kernel_size=2.0), "`kernel_size` must be an int", "kernel_size=2.0"),
    (dict(kernel_size=True), "`kernel_size` must be an int", "kernel_size=True"),
    (dict(kernel_size=None), "`kernel_size` must be an int", "kernel_size=None"),
    (
        dict(kernel_size=7),
        "`kernel_size` must fit into the padded input",
        "has 6 (input 6, padding (0, 0))",
    ),
    (
        dict(kernel_size=3, dilation=3),
        "Use a smaller `kernel_size` or `dilation`",
        "spans 7 pixels",
    ),
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=(1, 1, 1)), "one for each of the 2 spatial axes", "which has 3"),
    (dict(dilation="1"), "`dilation` must be an int", "dilation='1'"),
    (dict(padding="SAEM"), "`padding` must be one of", "padding='SAEM'"),
    (dict(padding=[(1, 2, 3), 1]), "an int or a pair", "(1, 2, 3) in it"),
    (dict(padding_mode="wrap"), "`padding_mode` must be one of", "padding_mode='wrap'"),
    (dict(layout="NWC"), "`layout` must be 'NHWC'", "layout='NWC'"),
]
INVALID_FOLDS = [
    (dict(patches=np.ones((2, 3, 4))), "two axes for each spatial axis", "(2, 3, 4)"),
    (dict(patches=np.ones((2, 3, 4, 2, 1))), "`patches.reshape(n, c", "(2, 3, 4, 2, 1)"),
    (dict(patches=np.ones((2, 3, 4, 2, 2, 3)) > 0), "`patches` must be numbers", "bool"),
    (dict(input_size=(6, 6)), "(n, 5, 5, 2, 2, c)", "patches.shape=(2, 5, 4, 2, 2, 3)"),
    (dict(kernel_size=3), "(n, 4, 3, 3, 3, c)", "Give the `input_size`, `kernel_size`"),
    (dict(layout="NCHW"), "(n, c, 2, 2, 5, 4)", "patches.shape"),
    (dict(input_size=(6, 5, 4)), "`input_size` must be one int", "which has 3"),
    (dict(input_size=-6), "`input_size` must be an int of at least 1", "input_size=-6"),
    (dict(input_size="6"), "`input_size` must be an int", "input_size='6'"),
    (dict(kernel_size=9), "`kernel_size` must fit into the padded input", "spans 9 pixels"),
    (
        dict(kernel_size=(2, 2, 2)),
        "`kernel_size` must be one int, or one for each",
        "kernel_size=(2, 2, 2)",
    ),
]


@pytest.mark.parametrize("options, allowed, received", INVALID_UNFOLDS)
def test_error_of_unfold_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(unfold, {"x": X, "kernel_size": 2} | options, allowed, received)


@pytest.mark.parametrize("options, allowed, received", INVALID_FOLDS)
def test_error_of_fold_states_the_allowed_and_the_received_value(options, allowed, received):
    valid = {"patches": np.ones((2, 5, 4, 2, 2, 3), np.float32), "input_size": (6, 5)}
    assert_error(fold, valid | {"kernel_size": 2} | options, allowed, received)
