"""Errors of `jconv.conv_local`."""

import numpy as np
import pytest
from helpers.valid_calls import assert_error

import jconv

X, KERNEL = np.ones((2, 6, 5, 4), np.float32), np.ones((4, 3, 3, 3, 4, 8), np.float32)
INVALID_CALLS = [
    (dict(kernel=KERNEL[0]), "`kernel` must have the shape (*output, *taps, in, out)", "(3, 3, 3"),
    (dict(kernel=KERNEL[0, 0, 0, 0]), "use `jconv.conv`", "kernel.shape=(4, 8)"),
    (dict(kernel=KERNEL[:3]), "must begin with the size of the output", "begins with (3, 3)"),
    (dict(stride=2), "one kernel for each position: (2, 2)", "(4, 3, 3, 3, 4, 8)"),
    (dict(stride=2), "Give a kernel of shape (2, 2, 3, 3, 4, 8)", "begins with (4, 3)"),
    (dict(padding="SAME"), "one kernel for each position: (6, 5)", "check `stride` and `padding`"),
    (dict(kernel=KERNEL[..., :3, :]), "4 / 1 = 4, in its last axis but one", "(4, 3, 3, 3, 3, 8)"),
    (dict(groups=2), "4 / 2 = 2", "kernel.shape=(4, 3, 3, 3, 4, 8)"),
    (dict(layout="NCHW"), "`kernel` must take the channels of `x`", "Check `layout`"),
    (dict(groups=3), "`groups` must divide the input channels", "groups=3 with 4"),
    (dict(groups=2, kernel=KERNEL[..., :2, :7]), "divide the output channels", "groups=2 with 7"),
    (dict(groups=0), "`groups` must be an int of at least 1", "groups=0"),
    (dict(groups=True), "`groups` must be an int of at least 1", "groups=True"),
    (dict(groups="2"), "`groups` must be an int of at least 1", "groups='2'"),
    (dict(x=X[0]), "`x` must have 4 axes, batch, 2 of space and channels", "`x[None]`"),
    (dict(x=X[None]), "`x` must have 4 axes", "x.shape=(1, 2, 6, 5, 4)"),
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=(1, 1, 1)), "one for each of the 2 spatial axes", "which has 3"),
    (dict(dilation=4), "nothing is left", "spans 9 pixels"),
    (dict(input_dilation=0), "`input_dilation` must be an int", "input_dilation=0"),
    (dict(padding="SAEM"), "`padding` must be one of", "padding='SAEM'"),
    (dict(layout="NWC"), "`layout` must be 'NHWC', 'NCHW'", "layout='NWC'"),
    (dict(precision="exact"), "`precision` must be None", "precision='exact'"),
    (dict(preferred_element_type="int32"), "must be floating or complex", "int32 for float32"),
    (dict(x=X > 0, kernel=KERNEL > 0), "must be numbers", "bool"),
    (dict(x="photo.png"), "`x` must be an array", "str"),
    (dict(kernel=None), "`kernel` must be an array", "NoneType"),
]


def conv_local(x=X, kernel=KERNEL, padding="VALID", **options):
    return jconv.conv_local(x, kernel, padding=padding, **options)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS)))
def test_error_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(conv_local, options, allowed, received)
