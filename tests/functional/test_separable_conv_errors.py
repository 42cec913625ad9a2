"""Errors of `jconv.depthwise_conv` and `jconv.separable_conv`."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.valid_calls import (
    DEPTHWISE,
    KERNEL,
    POINTWISE,
    X,
    assert_error,
    depthwise_conv,
    separable_conv,
)

INVALID_CALLS = [
    (depthwise_conv, dict(kernel=KERNEL[:, :, :3]), "channels, multiplier", "(3, 3, 3, 8)"),
    (depthwise_conv, dict(x=X[..., :0], kernel=DEPTHWISE[:, :, :0]), "one channel", "(2, 6, 6, 0)"),
    (depthwise_conv, dict(stride=1.5), "`stride` must be an int", "stride=1.5"),
    (depthwise_conv, dict(layout="NWC"), "`layout` must be", "layout='NWC'"),
    (depthwise_conv, dict(x=None), "`x` must be an array", "NoneType"),
    (depthwise_conv, dict(kernel=DEPTHWISE[:0]), "`kernel` must have at least one tap", "axis 0"),
    (separable_conv, dict(pointwise=POINTWISE[:4]), "`pointwise` must have the shape (8, ",
     "(4, 5)"),
    (separable_conv, dict(pointwise=np.float32(1)), "`pointwise` must have the shape (8, out)",
     "()"),
    (separable_conv, dict(x=X[0]), "`x` must have as many axes as `depthwise`", "`x[None]`"),
    (separable_conv, dict(depthwise=DEPTHWISE[:, :, :2], pointwise=POINTWISE[:4]),
     "`depthwise` must have the shape", "depthwise.shape=(3, 3, 2, 2)"),
    (separable_conv, dict(depthwise=DEPTHWISE[:0]), "`depthwise` must have at least one tap",
     "axis 0"),
    (separable_conv, dict(depthwise="k"), "`depthwise` must be an array", "str"),
    (separable_conv, dict(pointwise=None), "`pointwise` must be an array", "NoneType"),
    (separable_conv, dict(padding=-3), "more `padding`", "nothing is left"),
    (separable_conv, dict(depthwise=jnp.asarray(DEPTHWISE, "int4")), "`depthwise` must have dtypes",
     "depthwise.dtype=int4"),
    (separable_conv, dict(pointwise=jnp.asarray(POINTWISE, "int4")), "`pointwise` must have dtypes",
     "pointwise.dtype=int4"),
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
