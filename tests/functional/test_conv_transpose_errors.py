"""Errors of `jconv.conv_transpose`."""

import pytest
from helpers.valid_calls import KERNEL, RANDOM_KEYS, TOO_LARGE, X, assert_error, conv_transpose

INVALID_CALLS = [
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=TOO_LARGE // 2), "at most 2,147,483,647", "stride=1073741824"),
    (dict(padding="SAEM"), "`padding` must be one of", "'SAEM'"),
    (dict(padding=9), "`padding` must leave something", "padding=9"),
    (dict(padding=TOO_LARGE), "`padding` must be one of", "padding=2147483648"),
    (dict(output_padding=-1), "`output_padding` must be an int", "-1"),
    (dict(output_padding=1), "`output_padding` must be smaller", "stride=(1, 1)"),
    (dict(output_padding=1.0), "`output_padding` must be an int", "1.0"),
    (dict(output_size=12.0), "`output_size` must be an int", "12.0"),
    (dict(output_size=(6, 99)), "`output_size` must be one that", "(6, 99)"),
    (dict(output_size=6, output_padding=1), "`output_padding` must be 0", "=6"),
    (dict(kernel=KERNEL), "`kernel` must give the channels", "gives 8"),
    (dict(groups=0), "`groups` must be an int of at least 1", "groups=0"),
    (dict(x=RANDOM_KEYS), "`x` must be an array of numbers", "key<fry>"),
    (dict(x=X[0]), "`x` must have as many axes as `kernel`", "`x[None]`"),
    (dict(algorithm="quick"), "`algorithm` must be 'auto'", "'quick'"),
]  # fmt: skip
every_invalid_call = pytest.mark.parametrize(
    "options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS))
)


@pytest.mark.usefixtures("unchecked")
@every_invalid_call
def test_error_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(conv_transpose, options, allowed, received)
