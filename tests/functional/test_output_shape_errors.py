"""Errors of `jconv.output_shape` and `jconv.output_size`."""

import pytest
from helpers.valid_calls import TOO_LARGE, assert_error, output_shape, output_size

INVALID_CALLS = [
    (output_shape, dict(x_shape=(1, 6.0, 6, 4)), "`x_shape` must be an int of at least 0",
     "x_shape=6.0"),
    (output_shape, dict(x_shape=(1, -6, 6, 4)), "`x_shape` must be an int of at least 0",
     "x_shape=-6"),
    (output_shape, dict(x_shape="2664"), "`x_shape` must be a shape", "x_shape='2664'"),
    (output_shape, dict(x_shape=4), "`x_shape` must be a shape", "x_shape=4"),
    (output_shape, dict(x_shape=(2, 6, 6, None)), "`x_shape` must be an int", "x_shape=None"),
    (output_shape, dict(kernel_shape=(3, 3, "4", 8)), "`kernel_shape` must be an int", "='4'"),
    (output_shape, dict(kernel_shape=(3, True, 4, 8)), "`kernel_shape` must be an int", "=True"),
    (output_shape, dict(kernel_shape=(3, 4, 8)), "of one length", "kernel_shape=(3, 4, 8)"),
    (output_shape, dict(x_shape=(4, 8), kernel_shape=(4, 8)), "at least one spatial",
     "x_shape=(4, 8)"),
    (output_shape, dict(kernel_shape=(0, 3, 4, 8)), "`kernel_shape` must have at least one tap",
     "axis 0"),
    (output_shape, dict(x_shape=(1, 5, 5, 3)), "take the channels of `x_shape`", "(3, 3, 4, 8)"),
    (output_shape, dict(padding_mode="wrap"), "`padding_mode` must be one of", "'wrap'"),
    (output_shape, dict(flip="yes"), "`flip` must be True or False", "'yes'"),
    (output_shape, dict(padding=TOO_LARGE), "`padding` must be one of", "2147483648"),
    (output_size, dict(input=0.5), "`input` must be an int of at least 0", "input=0.5"),
    (output_size, dict(input="9"), "`input` must be an int of at least 0", "input='9'"),
    (output_size, dict(kernel=0), "`kernel` must be an int of at least 1", "kernel=0"),
    (output_size, dict(kernel=True), "`kernel` must be an int of at least 1", "kernel=True"),
    (output_size, dict(stride=-1), "`stride` must be an int of at least 1", "stride=-1"),
    (output_size, dict(padding=(1, 2, 3)), "`padding` must be one of", "which has 3"),
    (output_size, dict(dilation=9), "Use a smaller kernel or dilation", "spans 19 pixels"),
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


def test_output_shape_accepts_options_that_do_not_affect_the_shape():
    assert output_shape(padding_mode="reflect", flip=True) == (2, 6, 6, 8)
    with pytest.raises(ValueError, match="no pixels to continue"):
        output_shape((2, 0, 6, 4), padding_mode="reflect")
