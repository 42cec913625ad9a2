"""Every algorithm on every case against the definition in float64.

A new entry of `ALGORITHMS` is tested here. Cases that an algorithm does not
support are skipped with its reason, and the share of supported cases is printed at the end. `GRID`,
and the rarer derivatives of most cases, are slow: `pytest -m slow`.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.cases import CASES, GRID
from helpers.conformance import (
    ALL,
    algorithms_and_cases,
    assert_close,
    by_definition,
    conv,
    draw,
    error_ratio,
    jit,
    problem_of,
    terms,
    unsupported_reason,
)

import jconv
from jconv.selection.plan import resolve


@pytest.fixture
def supported(request, record_property):
    """Skip cases that the algorithm does not support, and count those that it does."""
    algorithm, case = request.getfixturevalue("algorithm"), request.getfixturevalue("case")
    reason = unsupported_reason(algorithm, case)
    record_property("share", (algorithm, str(case), reason is None))
    if reason is not None:
        with pytest.raises(ValueError, match="cannot, because"):
            resolve(ALL[algorithm], problem_of(case))
        pytest.skip(f"{algorithm} does not support it: {reason}")


@algorithms_and_cases([*CASES, *GRID], few=[case.name for case in CASES])
@pytest.mark.usefixtures("supported")
def test_output_and_gradients_match_the_definition(algorithm, case, rng):
    """The map is bilinear, so differences of the definition are exact derivatives."""
    x, kernel = draw(rng, case)
    dx, dkernel = draw(rng, case)
    along_x, along_kernel = by_definition(case, dx, kernel), by_definition(case, x, dkernel)
    y_bar = rng.normal(size=along_x.shape).astype("float32")

    @jit
    def output_and_gradients(x, kernel, y_bar):
        y, pull = jax.vjp(conv(case, algorithm), x, kernel)
        return y, *pull(y_bar)

    y, x_bar, kernel_bar = output_and_gradients(x, kernel, y_bar)
    assert y.dtype == jnp.float32
    close = functools.partial(assert_close, slack=error_ratio(algorithm, case))
    close(y, by_definition(case, x, kernel), terms(case))
    assert x_bar.shape == x.shape and kernel_bar.shape == kernel.shape
    scale = y.size * terms(case)
    close(np.vdot(x_bar, dx), np.vdot(y_bar, along_x), scale)
    close(np.vdot(kernel_bar, dkernel), np.vdot(y_bar, along_kernel), scale)


# A tangent is two convolutions with the window and the algorithm of the output.
@algorithms_and_cases([*CASES, *GRID], few=[case.name for case in CASES], fast=["xla"])
@pytest.mark.usefixtures("supported")
def test_tangents_match_the_definition(algorithm, case, rng):
    (x, kernel), (dx, dkernel) = draw(rng, case), draw(rng, case)
    f = conv(case, algorithm)
    dy = jit(lambda *both: jax.jvp(f, both, (dx, dkernel))[1])(x, kernel)
    expected = by_definition(case, dx, kernel) + by_definition(case, x, dkernel)
    assert_close(dy, expected, 2 * terms(case), error_ratio(algorithm, case))


@algorithms_and_cases(CASES, few=["2d", "depthwise-many-taps", "everything"])
@pytest.mark.usefixtures("supported")
def test_eager_output_matches_the_definition(algorithm, case, rng):
    x, kernel = draw(rng, case)
    y = conv(case, algorithm)(x, kernel)
    assert_close(y, by_definition(case, x, kernel), terms(case), error_ratio(algorithm, case))


@algorithms_and_cases(CASES, few=["1d", "depthwise", "groups2", "everything"])
@pytest.mark.usefixtures("supported")
def test_hessian_matches_the_definition(algorithm, case, rng):
    if np.prod(case.kernel) > 130:
        pytest.skip("a Hessian of over 130 x 130 shows nothing that a smaller one does not")
    x, kernel = draw(rng, case)
    f = conv(case, algorithm)

    @jit
    @jax.hessian
    def hessian(kernel):
        return 0.5 * jnp.sum(f(x, kernel) ** 2)

    columns = np.array(
        [by_definition(case, x, e.reshape(case.kernel)).ravel() for e in np.eye(kernel.size)]
    )
    expected = columns @ columns.T
    actual = hessian(kernel).reshape(expected.shape)
    assert_close(actual, expected, columns.shape[1], error_ratio(algorithm, case))


def check_vmap(algorithm, case, mapped, rng):
    """Check a batch along axes that are not the first against the definition of each example."""
    count = 3
    xs, kernels = draw(rng, case, (count,))
    if mapped == "x":
        kernels[:] = kernels[0]
    elif mapped == "kernel":
        xs[:] = xs[0]
    dxs, dkernels = draw(rng, case, (count,))
    y_shape = by_definition(case, xs[0], kernels[0]).shape
    y_bars = rng.normal(size=(count, *y_shape)).astype("float32")

    def one(x, kernel, y_bar):
        y, pull = jax.vjp(conv(case, algorithm), x, kernel)
        return y, *pull(y_bar)

    x_axis = None if mapped == "kernel" else 1
    kernel_axis = None if mapped == "x" else kernels.ndim - 1
    ys, x_bars, kernel_bars = jit(jax.vmap(one, (x_axis, kernel_axis, 0)))(
        xs[0] if x_axis is None else np.moveaxis(xs, 0, x_axis),
        kernels[0] if kernel_axis is None else np.moveaxis(kernels, 0, kernel_axis),
        y_bars,
    )
    close = functools.partial(assert_close, slack=error_ratio(algorithm, case))
    for i in range(count):
        x, kernel, y_bar = xs[i], kernels[i], y_bars[i]
        scale = y_bar.size * terms(case)
        close(ys[i], by_definition(case, x, kernel), terms(case))
        along_x = by_definition(case, dxs[i], kernel)
        close(np.vdot(x_bars[i], dxs[i]), np.vdot(y_bar, along_x), scale)
        along_kernel = by_definition(case, x, dkernels[i])
        close(np.vdot(kernel_bars[i], dkernels[i]), np.vdot(y_bar, along_kernel), scale)


@algorithms_and_cases(CASES, few=["depthwise-strided", "everything"])
@pytest.mark.usefixtures("supported")
def test_vmap_over_input_and_kernel_with_gradients(algorithm, case, rng):
    check_vmap(algorithm, case, "both", rng)


# The new axis becomes one of images or of channels before an algorithm runs.
@pytest.mark.parametrize("mapped", ["x", "kernel"])
@algorithms_and_cases(CASES, few=["depthwise-strided", "everything"], fast=["xla", "direct", "fft"])
@pytest.mark.usefixtures("supported")
def test_vmap_over_one_operand_with_gradients(algorithm, case, mapped, rng):
    check_vmap(algorithm, case, mapped, rng)


def test_every_algorithm_supports_its_windows():
    """Winograd supports unit strides and up to 7 taps; the other algorithms support all windows."""
    cases = [*CASES, *GRID]
    assert len(cases) >= 300
    for name in ("xla", "direct", "im2col", "fft", "overlap_add", "phases", "split"):
        assert [str(case) for case in cases if unsupported_reason(name, case)] == []
    for case in cases:
        window = problem_of(case).window
        if set(window.stride) == {1} and all(t <= 7 for t in window.taps):
            assert unsupported_reason("winograd", case) is None, case


def test_all_algorithms_share_one_signature():
    signatures = {str(inspect.signature(algorithm)) for algorithm in jconv.ALGORITHMS.values()}
    assert len(signatures) == 1
