"""`jconv.conv_local` against loops in float64, `lax`, and `jconv.conv`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import USER_OPTIONS
from helpers.definition import conv_by_definition, per_axis
from jax import lax
from jax.test_util import check_grads

import jconv


def conv_local(*operands, padding="VALID", **options):
    """Return `jconv.conv_local`, without padding by default, which makes shapes easy to verify."""
    return jconv.conv_local(*operands, padding=padding, **options)


CASES = {
    "1d": ((2, 9, 3), (7, 3, 3, 2), dict()),
    "2d": ((2, 6, 5, 3), (4, 4, 3, 2, 3, 4), dict()),
    "3d": ((1, 4, 3, 4, 2), (3, 2, 3, 2, 2, 2, 2, 3), dict()),
    "4d": ((1, 3, 3, 2, 3, 1), (2, 2, 1, 2, 2, 2, 2, 2, 1, 2), dict()),
    "strided": ((2, 8, 7, 2), (3, 5, 3, 3, 2, 3), dict(stride=(3, 1), padding=[(1, 2), 0])),
    "same": ((2, 7, 6, 2), (4, 3, 3, 2, 2, 3), dict(stride=2, padding="SAME")),
    "cropped": ((2, 7, 6, 2), (4, 5, 2, 2, 2, 3), dict(padding=[(-1, -1), (-2, 2)])),
    "dilated": ((2, 9, 8, 2), (5, 7, 3, 2, 2, 3), dict(dilation=(2, 1))),
    "with-gaps": ((2, 4, 3, 2), (6, 5, 3, 3, 2, 2), dict(input_dilation=2, padding=[(0, 1), 1])),
    "groups": ((2, 6, 5, 4), (4, 4, 3, 2, 2, 6), dict(groups=2)),
    "depthwise": ((2, 6, 5, 4), (4, 4, 3, 2, 1, 4), dict(groups=4)),
    "no-images": ((0, 6, 5, 3), (4, 4, 3, 2, 3, 4), dict()),
    "no-pixels": ((2, 0, 5, 3), (0, 4, 3, 2, 3, 4), dict()),
}

every_case = pytest.mark.parametrize(
    "x_shape, kernel_shape, options", CASES.values(), ids=CASES.keys()
)


def by_definition(x, kernel, **options):
    """Return at each position the output of a convolution with the kernel of that position."""
    rank = x.ndim - 2
    y = np.zeros(
        (x.shape[0], *kernel.shape[:rank], kernel.shape[-1]), np.result_type(x, kernel, np.float64)
    )
    for o in itertools.product(*map(range, kernel.shape[:rank])):
        everywhere = conv_by_definition(x, kernel[o], **{"padding": "VALID"} | options)
        assert everywhere.shape == y.shape
        y[(slice(None), *o)] = everywhere[(slice(None), *o)]
    return y


def draw(rng, *shapes):
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def assert_close(actual, expected):
    # Sums of at most some 50 products of normal numbers, in float32.
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=5e-5)


@every_case
def test_matches_the_definition(x_shape, kernel_shape, options, rng):
    x, kernel = draw(rng, x_shape, kernel_shape)
    y = conv_local(x, kernel, **options)
    assert y.dtype == jnp.float32
    assert_close(y, by_definition(x, kernel, **options))


@every_case
def test_derivatives_match_the_definition(x_shape, kernel_shape, options, rng):
    """The map is bilinear, so its value at a step is its exact derivative along the step."""
    x, kernel, dx, dkernel = draw(rng, x_shape, kernel_shape, x_shape, kernel_shape)
    along_x = by_definition(dx, kernel, **options)
    along_kernel = by_definition(x, dkernel, **options)
    f = jax.jit(lambda x, kernel: conv_local(x, kernel, **options))
    assert_close(jax.jvp(f, (x, kernel), (dx, dkernel))[1], along_x + along_kernel)
    y_bar = draw(rng, along_x.shape)[0]
    x_bar, kernel_bar = jax.vjp(f, x, kernel)[1](y_bar)
    np.testing.assert_allclose(np.vdot(x_bar, dx), np.vdot(y_bar, along_x), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        np.vdot(kernel_bar, dkernel), np.vdot(y_bar, along_kernel), rtol=1e-3, atol=1e-3
    )


def test_higher_derivatives_match_finite_differences(rng):
    with jax.enable_x64(True):
        x, kernel = rng.normal(size=(1, 4, 3, 2)), rng.normal(size=(2, 2, 2, 2, 2, 1))
        f = lambda x, kernel: jnp.tanh(conv_local(x, kernel, stride=(2, 1))).sum()
        check_grads(f, (x, kernel), order=2, rtol=1e-5, atol=1e-5)


def test_one_kernel_at_all_positions_is_the_convolution(rng):
    x, kernel = draw(rng, (2, 8, 7, 4), (3, 3, 2, 6))
    options = dict(stride=(2, 1), padding="SAME", groups=2)
    everywhere = jnp.broadcast_to(kernel, (4, 7, *kernel.shape))
    assert_close(conv_local(x, everywhere, **options), jconv.conv(x, kernel, **options))


def test_channels_first_keeps_the_kernel(rng):
    x, kernel = draw(rng, (2, 6, 5, 4), (4, 4, 3, 2, 2, 6))
    y = conv_local(x.transpose(0, 3, 1, 2), kernel, groups=2, layout="NCHW")
    assert_close(y, by_definition(x, kernel, groups=2).transpose(0, 3, 1, 2))
    triple = ("CNHW", "HWIO", "HWNC")
    y = conv_local(x.transpose(3, 0, 1, 2), kernel, groups=2, layout=triple)
    assert_close(y, by_definition(x, kernel, groups=2).transpose(1, 2, 0, 3))


@pytest.mark.parametrize(
    "options",
    [dict(), dict(padding="SAME", stride=2), dict(padding=[(1, 2), (0, 1)], dilation=(1, 2)),
     dict(padding=[(1, 1), (0, 1)], input_dilation=2)],
    ids=str,
)  # fmt: skip
def test_reshaped_kernels_of_lax_give_the_output_of_lax(options, rng):
    """The conversion is the reshape and transpose that the module's docstring documents."""
    options = dict(padding="VALID", stride=1, dilation=1, input_dilation=1) | options
    x = draw(rng, (2, 8, 7, 3))[0]
    ho, wo = jconv.output_shape(x.shape, (3, 2, 3, 4), **options)[1:3]
    rhs = draw(rng, (ho, wo, 3 * 3 * 2, 4))[0]
    expected = lax.conv_general_dilated_local(
        x,
        rhs,
        per_axis(options["stride"], 2),
        options["padding"],
        filter_shape=(3, 2),
        lhs_dilation=per_axis(options["input_dilation"], 2),
        rhs_dilation=per_axis(options["dilation"], 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    kernel = jnp.moveaxis(rhs.reshape(ho, wo, 3, 3, 2, 4), 2, -2)
    assert_close(conv_local(x, kernel, **options), expected)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_reshaped_kernels_of_keras_give_the_output_of_keras(data_format, rng):
    """The `local_conv` of Keras multiplies each flattened patch by a matrix of its position."""
    x, flat = draw(rng, (2, 5, 4, 3), (4 * 3, 2 * 2 * 3, 5))
    first = data_format == "channels_first"
    patches = [
        x[:, i : i + 2, j : j + 2].transpose((0, 3, 1, 2) if first else (0, 1, 2, 3)).reshape(2, -1)
        for i, j in itertools.product(range(4), range(3))
    ]
    expected = np.einsum("pnt,ptf->npf", patches, flat).reshape(2, 4, 3, 5)
    if first:
        kernel = np.moveaxis(flat.reshape(4, 3, 3, 2, 2, 5), 2, -2)
    else:
        kernel = flat.reshape(4, 3, 2, 2, 3, 5)
    assert_close(conv_local(x, kernel), expected)


def test_vmap_matches_the_definition(rng):
    xs, kernels = draw(rng, (3, 2, 6, 5, 2), (3, 4, 4, 3, 2, 2, 4))
    for axes in ((0, 0), (0, None), (None, 0)):
        x, kernel = (a if axis == 0 else a[0] for a, axis in zip((xs, kernels), axes, strict=True))
        ys = jax.vmap(conv_local, axes)(x, kernel)
        for i in range(3):
            one = (x if axes[0] is None else x[i], kernel if axes[1] is None else kernel[i])
            assert_close(ys[i], by_definition(*one))


def test_bfloat16_is_summed_in_float32():
    """In bfloat16 256 + 1 is 256: a sum of ones stops there."""
    x, kernel = jnp.ones((1, 801, 1), jnp.bfloat16), jnp.ones((401, 401, 1, 1), jnp.bfloat16)
    y, pull = jax.vjp(conv_local, x, kernel)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(float), 401, rtol=2**-8)
    x_bar, kernel_bar = pull(jnp.ones_like(y))
    assert x_bar.dtype == kernel_bar.dtype == jnp.bfloat16
    assert abs(float(x_bar[0, 400, 0]) - 401) <= 1  # the pixel that all outputs depend on
    # A whole batch of gradients: summed over images.
    x = jnp.ones((500, 3, 1), jnp.bfloat16)
    kernel = jnp.ones((3, 1, 1, 1), jnp.bfloat16)
    kernel_bar = jax.grad(lambda k: conv_local(x, k).astype(jnp.float32).sum())(kernel)
    np.testing.assert_allclose(kernel_bar.astype(float), 500, rtol=2**-8)


@pytest.mark.parametrize(
    "x_dtype, kernel_dtype, preferred, expected",
    [("bfloat16", "bfloat16", "float32", "float32"), ("int8", "int8", "int32", "int32"),
     ("float32", "complex64", None, "complex64"), ("bfloat16", "float32", None, "float32")],
)  # fmt: skip
def test_result_dtypes(x_dtype, kernel_dtype, preferred, expected, rng):
    x = jnp.asarray(rng.integers(9, 20, size=(2, 6, 20)), x_dtype)
    kernel = jnp.asarray(rng.integers(9, 20, size=(5, 2, 20, 3)), kernel_dtype)
    kernel = kernel * (1 + 2j) if kernel_dtype == "complex64" else kernel
    y = conv_local(x, kernel, preferred_element_type=preferred)
    assert y.dtype == expected
    x, kernel = (np.asarray(a.astype("complex64")) for a in (x, kernel))
    np.testing.assert_array_equal(
        y, by_definition(x, kernel)
    )  # integers that float32 represents exactly and bfloat16 does not


def test_gradients_under_strict_promotion(rng):
    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in draw(rng, (2, 6, 2), (4, 3, 2, 3)))
    with jax.numpy_dtype_promotion("strict"):
        f = lambda x, kernel: conv_local(x, kernel, preferred_element_type=jnp.float32)
        y, pull = jax.vjp(f, x, kernel)
        assert y.dtype == jnp.float32
        assert [bar.dtype for bar in pull(y)] == [jnp.bfloat16] * 2


def test_infinite_pixel_affects_only_the_outputs_that_depend_on_it(rng):
    x, kernel = draw(rng, (1, 9, 2), (7, 3, 2, 2))
    x[0, 4, 0] = np.inf
    finite = np.isfinite(conv_local(x, kernel))[0].all(axis=-1)
    np.testing.assert_array_equal(finite, [True, True, False, False, False, True, True])


def test_program_size_does_not_grow_with_the_kernel():
    x = jax.ShapeDtypeStruct((2, 40, 41, 2), jnp.float32)
    kernel = jax.ShapeDtypeStruct((10, 11, 31, 31, 2, 3), jnp.float32)
    count = lambda f: jax.jit(f).lower(x, kernel).compile(USER_OPTIONS).as_text().count(" = ")
    assert count(conv_local) < 200
    assert count(jax.grad(lambda x, k: (conv_local(x, k) ** 2).sum(), (0, 1))) < 200


def test_export_with_a_symbolic_batch(rng):
    x, kernel = draw(rng, (2, 6, 5, 2), (4, 4, 3, 2, 2, 4))
    f = jax.jit(jax.grad(lambda x, k: jnp.tanh(conv_local(x, k)).sum(), (0, 1)))
    (n,) = jax.export.symbolic_shape("n")
    specs = [jax.ShapeDtypeStruct(s, "float32") for s in ((n, 6, 5, 2), kernel.shape)]
    for bar, expected in zip(jax.export.export(f)(*specs).call(x, kernel), f(x, kernel),
                             strict=True):  # fmt: skip
        assert_close(bar, expected)


def test_1000_calls_with_equal_shapes_trace_once():
    from jconv.functional.conv_local import _conv_local

    x, kernel = np.ones((2, 6, 5, 4), np.float32), np.ones((4, 3, 3, 3, 4, 8), np.float32)
    _conv_local.clear_cache()
    for i in range(1000):
        conv_local(jnp.full(x.shape, float(i)), kernel)
    assert _conv_local._cache_size() == 1
