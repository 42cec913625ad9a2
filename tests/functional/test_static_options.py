"""Options are static: traced values are errors, and NumPy integers are accepted."""

import jax
import numpy as np
import pytest
from helpers.valid_calls import (
    KERNEL,
    X,
    conv,
    conv_general_dilated,
    conv_transpose,
    make_layer,
    output_shape,
    output_size,
)


@pytest.mark.parametrize("name", ["stride", "dilation", "groups", "padding", "flip", "tolerance",
                                  "padding_mode", "precision", "layout"])  # fmt: skip
def test_error_of_a_traced_option_asks_to_mark_it_static(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*traced.* static"):
        jax.jit(lambda option: conv(**{name: option}))(1)


def test_error_of_a_traced_entry_asks_to_mark_it_static():
    calls = [
        lambda n: conv(stride=(1, n)),
        lambda n: conv(padding=((1, n), (1, 1))),
        lambda n: conv_general_dilated(window_strides=(n, 1)),
        lambda n: conv_general_dilated(batch_group_count=n),
        lambda n: conv_transpose(output_padding=n),
        lambda n: conv_transpose(output_size=n),
        lambda n: output_shape(x_shape=(n, 6, 6, 4)),
        lambda n: output_size(input=n),
        lambda n: make_layer(kernel_size=n),
        lambda n: make_layer(strides=n),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"must be .*traced.* static"):
            jax.jit(lambda n, call=call: call(n) and None)(1)


def test_numpy_integers_are_accepted_as_ints():
    one, two = np.int64(1), np.int32(2)
    expected = conv(stride=2, padding=1, groups=2, kernel=KERNEL[:, :, :2])
    y = conv(stride=two, padding=((one, one), one), groups=np.uint8(2), kernel=KERNEL[:, :, :2])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(
        conv_general_dilated(window_strides=(two, 1), batch_group_count=two),
        conv_general_dilated(window_strides=(2, 1), batch_group_count=2),
    )
    np.testing.assert_array_equal(conv_transpose(stride=two), conv_transpose(stride=2))
    assert output_shape(np.array(X.shape), tuple(map(np.int64, KERNEL.shape))) == (2, 6, 6, 8)
    assert output_size(np.int64(9), two, stride=two, padding=one) == 5
    layer = make_layer(
        np.int64(4), np.int64(8), two, np.array([2]), padding=one, feature_group_count=two
    )
    assert layer(X[0]).shape == (6, 4, 8)
