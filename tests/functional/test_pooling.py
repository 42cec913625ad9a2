"""Pooling against plain loops, the examples of ONNX and torch, and finite differences."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import USER_OPTIONS
from helpers.definition import pads_by_definition, per_axis, widest_dtype
from jax.test_util import check_grads

from jconv.functional.pooling import avg_pool, lp_pool, max_pool


def windows_by_definition(sizes, size, stride, padding, dilation, ceil_mode):
    """Return for each axis and output its pixels, and the number of its taps up to the padded end.

    The sizes are those of torch's `pooling_output_shape`, with padding before and after separate.
    """
    pads = pads_by_definition(padding, sizes, size, stride, dilation, (1,) * len(sizes))
    axes = []
    for n, k, s, d, (low, high) in zip(sizes, size, stride, dilation, pads, strict=True):
        room = n + low + high - d * (k - 1) - 1
        outputs = (math.ceil if ceil_mode else math.floor)(room / s) + 1
        if ceil_mode and (outputs - 1) * s >= n + low:
            outputs -= 1
        axis = []
        for o in range(outputs):
            taps = [o * s + t * d - low for t in range(k)]
            pixels = [i for i in taps if max(0, -low) <= i < n + min(0, high)]
            axis.append((pixels, sum(i < n + high for i in taps)))
        axes.append(axis)
    return axes


def pool_by_definition(
    reduce, x, window_shape, stride=None, padding="VALID", dilation=1, ceil_mode=False, **options
):
    """Apply `reduce(pixels, count)` to the pixels `(n, pixel, c)` of each window."""
    x, rank = widest_dtype(x), np.ndim(x) - 2
    stride = window_shape if stride is None else stride
    size, stride, dilation = (per_axis(v, rank) for v in (window_shape, stride, dilation))
    axes = windows_by_definition(x.shape[1:-1], size, stride, padding, dilation, ceil_mode)
    y = [
        reduce(
            x[:, *np.ix_(*(pixels for pixels, _ in axis))].reshape(
                x.shape[0], math.prod(len(pixels) for pixels, _ in axis), x.shape[-1]
            ),
            math.prod(count for _, count in axis),
            **options,
        )
        for axis in itertools.product(*axes)
    ]
    return np.stack(y, axis=1).reshape(x.shape[0], *map(len, axes), x.shape[-1])


def mean(pixels, count, count_include_pad=True):
    return pixels.sum(axis=1) / max(1, count if count_include_pad else pixels.shape[1])


def largest(pixels, count):
    return pixels.astype(float).max(axis=1, initial=-np.inf)


def norm(pixels, count, p=2):
    return (np.abs(pixels) ** p).sum(axis=1) ** (1 / p)


CASES = [
    ((2, 9, 3), dict(window_shape=2)),
    ((2, 9, 3), dict(window_shape=3, stride=2, padding=[(2, 1)], dilation=2, ceil_mode=True)),
    ((2, 7, 6, 2), dict(window_shape=(3, 2))),
    ((2, 7, 6, 2), dict(window_shape=3, stride=2, padding=1)),
    ((2, 7, 6, 2), dict(window_shape=3, stride=2, padding=1, ceil_mode=True)),
    ((2, 8, 6, 2), dict(window_shape=3, stride=2, ceil_mode=True)),
    (
        (2, 8, 7, 2),
        dict(window_shape=2, stride=3, padding=1, ceil_mode=True),
    ),  # drops the last windows
    ((2, 8, 7, 2), dict(window_shape=3, stride=(2, 1), padding="SAME", dilation=(1, 2))),
    ((2, 8, 7, 2), dict(window_shape=(2, 4), stride=2, padding="SAME_LOWER")),
    ((2, 8, 7, 2), dict(window_shape=(2, 3), stride=2, padding="SAME", ceil_mode=True)),
    ((2, 8, 7, 2), dict(window_shape=2, stride=1, padding=[(-1, 2), (1, -2)])),
    ((2, 9, 9, 2), dict(window_shape=2, stride=2, padding=[(-1, -1), (0, -2)], ceil_mode=True)),
    (
        (1, 2, 2, 2),
        dict(window_shape=3, stride=2, ceil_mode=True),
    ),  # a window larger than the input, allowed by ceil_mode
    ((1, 7, 8, 2), dict(window_shape=3, stride=2, dilation=3, padding=(3, 2), ceil_mode=True)),
    (
        (1, 3, 3, 2),
        dict(window_shape=2, stride=1, padding=[(3, 0), (0, 3)]),
    ),  # some windows without pixels
    ((1, 4, 5, 6, 2), dict(window_shape=(2, 3, 2), stride=(2, 1, 3), padding=1, ceil_mode=True)),
    ((1, 3, 3, 3, 3, 2), dict(window_shape=2, padding="SAME")),
]
every_case = pytest.mark.parametrize("shape, options", CASES, ids=str)


@every_case
def test_outputs_match_the_definition(shape, options, rng):
    x = rng.normal(size=shape).astype("float32")
    close = dict(rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(max_pool(x, **options), pool_by_definition(largest, x, **options))
    for also in (dict(count_include_pad=False), dict(count_include_pad=True)):
        y = avg_pool(x, **options, **also)
        np.testing.assert_allclose(y, pool_by_definition(mean, x, **options, **also), **close)
    for p in (1, 2, 3, 2.5):
        y = lp_pool(x, p=p, **options)
        np.testing.assert_allclose(y, pool_by_definition(norm, x, **options, p=p), **close)


@every_case
def test_return_indices_gives_the_positions_of_the_maxima(shape, options, rng):
    x = rng.integers(-2, 3, shape).astype("float32")  # many are equal; the first is the maximum
    y, indices = max_pool(x, **options, return_indices=True)
    np.testing.assert_array_equal(y, max_pool(x, **options))
    order = np.arange(math.prod(shape[1:-1])).reshape(1, *shape[1:-1], 1)
    # Subtracting the position makes the first of equal pixels the largest.
    unequal = widest_dtype(x) * 10**4 - order
    best = pool_by_definition(largest, unequal, **options)
    expected = np.where(np.isinf(best), -1, -np.nan_to_num(best) % 10**4)
    np.testing.assert_array_equal(indices, expected)


def test_outputs_match_examples_of_torch_and_onnx():
    """The numbers are from the test cases of ONNX and the rules that torch documents."""
    x = jnp.arange(1.0, 17).reshape(1, 4, 4, 1)
    y = avg_pool(x, 3, stride=2, ceil_mode=True)  # averagepool_2d_ceil
    np.testing.assert_array_equal(y[0, :, :, 0], [[6, 7.5], [12, 13.5]])
    y = max_pool(x, 3, stride=2, ceil_mode=True)  # maxpool_2d_ceil
    np.testing.assert_array_equal(y[0, :, :, 0], [[11, 12], [15, 16]])
    x = jnp.arange(1.0, 26).reshape(1, 5, 5, 1)
    # averagepool_2d_precomputed_pads
    y = avg_pool(x, 5, stride=1, padding=2, count_include_pad=False)
    np.testing.assert_allclose(y[0, 0, :, 0], [7, 7.5, 8, 8.5, 9], rtol=1e-6)
    y = avg_pool(x, 5, stride=1, padding=2, count_include_pad=True)
    np.testing.assert_allclose(y[0, 0, :, 0], [2.52, 3.6, 4.8, 4.08, 3.24], rtol=1e-6)
    # averagepool_2d_precomputed_same_upper
    y = avg_pool(x, 3, stride=2, padding="SAME", count_include_pad=False)
    np.testing.assert_allclose(y[0, 0, :, 0], [4, 5.5, 7], rtol=1e-6)
    # A window that would start in the padding after the input is dropped, at 2 * 3 >= 2 + 1.
    assert avg_pool(jnp.ones((1, 2, 2, 3)), 3, padding=1, ceil_mode=True).shape == (1, 1, 1, 3)
    # The last window over 4 pixels covers 2 of them, 1 of padding, and 1 past the padding, which
    # does not count. Over 6 pixels it covers 1, 1 of padding, and 2 past it.
    options = dict(stride=3, padding=1, ceil_mode=True, count_include_pad=True)
    y = avg_pool(jnp.ones((1, 4, 1)), 4, **options)
    np.testing.assert_allclose(y[0, :, 0], [3 / 4, 2 / 3], rtol=1e-6)
    y = avg_pool(jnp.ones((1, 6, 1)), 4, **options)
    np.testing.assert_allclose(y[0, :, 0], [3 / 4, 1, 1 / 2], rtol=1e-6)


POOLS = [
    avg_pool,
    lambda x, window_shape, **options: avg_pool(
        x, window_shape, count_include_pad=False, **options
    ),
    max_pool,
    lp_pool,
    lambda x, window_shape, **options: lp_pool(x, window_shape, p=3, **options),
    lambda x, window_shape, **options: lp_pool(x, window_shape, p=1.5, **options),
]
every_pool = pytest.mark.parametrize("pool", POOLS)


@every_pool
@pytest.mark.parametrize("dilation", [1, 2])
def test_derivatives_match_finite_differences(pool, dilation, rng):
    with jax.enable_x64(True):
        # Values differ from each other and from 0, where maxima and norms are not differentiable.
        x = jnp.asarray(rng.permutation(60).reshape(1, 5, 6, 2) * 0.1 - 2.95)
        f = lambda x: pool(x, (3, 2), stride=2, padding=1, dilation=dilation, ceil_mode=True)
        check_grads(lambda x: jnp.tanh(f(x) / 3), (x,), order=2, eps=1e-4, rtol=1e-4, atol=1e-4)


def test_gradient_of_max_pool_goes_to_the_first_maximum_of_each_window():
    x = jnp.zeros((1, 4, 6, 1))
    y_bar = jnp.arange(1.0, 7).reshape(1, 2, 3, 1)
    f = lambda x: max_pool(x, 2)
    (x_bar,) = jax.vjp(f, x)[1](y_bar)
    expected = np.zeros((4, 6))
    expected[::2, ::2] = [[1, 2, 3], [4, 5, 6]]  # the first of equal pixels
    np.testing.assert_array_equal(x_bar[0, :, :, 0], expected)
    _, y_dot = jax.jvp(f, (x,), (jnp.arange(24.0).reshape(x.shape),))
    np.testing.assert_array_equal(y_dot[0, :, :, 0], [[0, 2, 4], [12, 14, 16]])
    # A pixel of -inf equals the padding and still receives the gradient.
    grad = jax.grad(lambda x: max_pool(x, 3, stride=1, padding=1).sum())
    assert grad(jnp.full((1, 1, 1), -jnp.inf)) == 1


@pytest.mark.parametrize("p", [1, 2, 3, 1.5])
def test_derivatives_of_lp_pool_are_finite_where_all_pixels_are_zero(p):
    x = jnp.array([0.0, 0, 3, 0]).reshape(1, 4, 1)
    f = lambda x: jnp.sum(lp_pool(x, 2, p=p))
    np.testing.assert_allclose(jax.grad(f)(x)[0, :, 0], [0, 0, 1, 0], rtol=1e-6)
    second = jax.jacfwd(jax.grad(f))(x)
    assert jnp.isfinite(second).all()
    if p == 2:  # the second derivative of sqrt(9 + b^2) at b = 0
        np.testing.assert_allclose(second[0, 3, 0, 0, 3, 0], 1 / 3, rtol=1e-6)


@every_pool
def test_jit_vmap_and_empty_batches(pool, rng):
    xs = rng.normal(size=(3, 2, 6, 5, 2)).astype("float32")
    f = lambda x: pool(x, (3, 2), stride=2, padding="SAME")
    g = jax.grad(lambda x: jnp.sum(jnp.sin(f(x))))
    for h in (f, g):
        expected = np.stack([h(x) for x in xs])
        for axis in (0, 2, 4):
            y = jax.jit(jax.vmap(h, axis))(jnp.moveaxis(xs, 0, axis))
            np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert f(xs[0, :0]).shape == (0, 3, 3, 2)
    assert g(xs[0, :0]).shape == (0, 6, 5, 2)


@every_pool
@pytest.mark.parametrize("layout", ["NCHW", ("CHWN", "HWIO", "NHWC")])
def test_layouts_permute_the_axes_only(pool, layout, rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    axes = {"NCHW": (0, 3, 1, 2), "CHWN": (3, 1, 2, 0)}[
        layout if isinstance(layout, str) else layout[0]
    ]
    options = dict(window_shape=(3, 2), stride=(2, 1), padding=[(1, 0), (0, 2)], ceil_mode=True)
    y = pool(x.transpose(axes), layout=layout, **options)
    np.testing.assert_allclose(y, pool(x, **options).transpose(axes), rtol=1e-5, atol=1e-6)


def test_indices_follow_the_layout(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    _, indices = max_pool(x, 2, return_indices=True)
    layout = ("NWHC", "HWIO", "NHWC")
    _, transposed = max_pool(x.transpose(0, 2, 1, 3), 2, layout=layout, return_indices=True)
    np.testing.assert_array_equal(transposed, indices.transpose(0, 2, 1, 3))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"])
def test_8_and_16_bit_floats_are_summed_in_float32(dtype):
    # A sum of ones in the dtype itself would stop at 256, 2048, 16 or 8.
    x = jnp.ones((1, 3000, 1), dtype)
    y = avg_pool(x, 3000)
    assert y.dtype == dtype and y[0, 0, 0].astype("float32") == 1
    y = lp_pool(x[:, :256], 256)
    assert y.dtype == dtype and y[0, 0, 0].astype("float32") == 16
    x_bar = jax.grad(lambda x: avg_pool(x, 2048, stride=1).astype("float32").sum())(x[:, :2560])
    assert x_bar.dtype == dtype
    assert x_bar[0, 1280, 0].astype("float32") == pytest.approx(513 / 2048, rel=0.07)
    low = -x[:, :4] * 3
    y, index = max_pool(low, 2, padding=1, return_indices=True)
    assert y.dtype == dtype and (y.astype("float32") == -3).all()
    assert index.ravel().tolist() == [0, 1, 3]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32"])
def test_integers_keep_their_dtype_in_max_pool_and_give_float32_otherwise(dtype):
    x = (jnp.arange(1, 8) * (1 if dtype == "uint8" else -1)).astype(dtype).reshape(1, 7, 1)
    y = max_pool(x, 3, padding=1)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, pool_by_definition(largest, x, 3, padding=1))
    for pool, reduce in ((avg_pool, mean), (lp_pool, norm)):
        y = pool(x, 3, padding=1)
        assert y.dtype == jnp.float32
        np.testing.assert_allclose(y, pool_by_definition(reduce, x, 3, padding=1), rtol=1e-6)
    # A float that multiplies integers has a derivative.
    w = jax.grad(lambda w: jnp.sum(w * max_pool(x, 3)))(2.0)
    assert w == max_pool(x, 3).sum()


def test_windows_without_pixels_are_the_identity_of_the_reduction_with_finite_gradients():
    x = jnp.ones((1, 2, 1))
    options = dict(stride=1, padding=[(0, 4)])
    np.testing.assert_array_equal(max_pool(x, 2, **options)[0, 2:, 0], [-jnp.inf] * 3)
    np.testing.assert_array_equal(max_pool(x.astype("int8"), 2, **options)[0, 2:, 0], [-128] * 3)
    for pool in (avg_pool, lp_pool):
        np.testing.assert_array_equal(pool(x, 2, **options)[0, 2:, 0], [0] * 3)
        x_bar = jax.grad(lambda x, pool=pool: pool(x, 2, **options).sum())(x)
        assert jnp.isfinite(x_bar).all()


def test_max_pool_propagates_nan():
    x = jnp.array([1.0, jnp.nan, 2, 3]).reshape(1, 4, 1)
    y, indices = max_pool(x, 2, return_indices=True)
    assert jnp.isnan(y[0, 0, 0]) and y[0, 1, 0] == 3
    assert indices.ravel().tolist() == [1, 3]


def test_avg_pool_of_complex_numbers_is_their_mean():
    x = jnp.array([1 + 2j, 3 - 4j]).reshape(1, 2, 1)
    assert avg_pool(x, 2)[0, 0, 0] == 2 - 1j


@every_pool
def test_program_size_does_not_grow_with_the_window(pool):
    def instructions(size):
        f = jax.grad(lambda x: jnp.sum(pool(x, size, stride=1, padding="SAME") ** 2))
        text = jax.jit(f).lower(jnp.ones((1, 40, 40, 2))).compile(USER_OPTIONS).as_text()
        return sum(" = " in line for line in text.splitlines())

    growth = (
        1.2 if jax.default_backend() == "cpu" else 1.25
    )  # on a GPU the number rises from 26 to 32
    assert instructions(31) < growth * instructions(5) < 500


@every_pool
def test_export_with_a_symbolic_batch(pool, rng):
    x = rng.normal(size=(3, 6, 5, 2)).astype("float32")
    f = jax.jit(jax.value_and_grad(lambda x: jnp.sum(jnp.sin(pool(x, 3, stride=2)))))
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(f)(jax.ShapeDtypeStruct((n, 6, 5, 2), x.dtype))
    for actual, expected in zip(exported.call(x), f(x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_gradients_under_strict_promotion():
    x = jnp.ones((1, 6, 6, 2), jnp.bfloat16)
    with jax.numpy_dtype_promotion("strict"):
        for pool in POOLS:
            f = lambda x, pool=pool: pool(x, 3, padding=1, stride=2).sum()
            assert jax.grad(f)(x).dtype == jnp.bfloat16
        max_pool(x, 3, padding=1, return_indices=True)
