"""Every algorithm on random windows against the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from helpers.cases import Case
from helpers.conformance import assert_close, conv, error_ratio, jit, unsupported_reason
from helpers.definition import conv_by_definition
from helpers.entries import every_algorithm
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import jconv


@st.composite
def problems(draw):
    """Draw shapes and options that give at least one output."""
    rank = draw(st.integers(1, 3))
    small = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * rank))
    taps, dilation, gaps = small(1, 4), small(1, 3), small(1, 3)
    size, stride = small(1, 7), small(1, 3)
    padding = []
    for n, k, d, g in zip(size, taps, dilation, gaps, strict=True):
        low = draw(st.integers(-2, 4))
        fitting = d * (k - 1) + 1 - ((n - 1) * g + 1) - low
        padding.append((low, draw(st.integers(max(fitting, -2), max(fitting, -2) + 3))))
    groups = draw(st.integers(1, 3))
    into, out, n = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = dict(
        stride=stride, dilation=dilation, input_dilation=gaps, padding=padding, groups=groups,
        flip=draw(st.booleans()),
    )  # fmt: skip
    return (n, *size, groups * into), (*taps, into, groups * out), options


@every_algorithm
@settings(max_examples=15, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])  # fmt: skip
@given(problem=problems())
def test_random_windows_match_the_definition(algorithm, problem):
    x_shape, kernel_shape, options = problem
    case = Case("random", x_shape, kernel_shape, options)
    assume(unsupported_reason(algorithm, case) is None)
    close = functools.partial(assert_close, slack=error_ratio(algorithm, case))
    rng = np.random.default_rng(0)
    x = rng.normal(size=x_shape).astype("float32")
    kernel = rng.normal(size=kernel_shape).astype("float32")
    dx, dkernel = x[:, ::-1] + 1, kernel[::-1] + 1

    @jit
    def with_gradients(x, kernel):
        y, pull = jax.vjp(conv(case, algorithm), x, kernel)
        return y, *pull(jnp.ones_like(y))

    y, x_bar, kernel_bar = with_gradients(x, kernel)
    count = int(np.prod(kernel_shape[:-1]))
    close(y, conv_by_definition(x, kernel, **options), count)
    assert y.shape == jconv.output_shape(
        x_shape, kernel_shape, **{k: v for k, v in options.items() if k != "flip"}
    )
    scale = count * y.size
    along_x, along_kernel = (
        conv_by_definition(*pair, **options).sum() for pair in ((dx, kernel), (x, dkernel))
    )
    close(np.vdot(x_bar, dx), along_x, scale)
    close(np.vdot(kernel_bar, dkernel), along_kernel, scale)
