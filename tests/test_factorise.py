"""Factorisation of kernels: products, ranks, dtypes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import jconv
from jconv.kernels import (
    box,
    emboss,
    factorise,
    gabor,
    gaussian,
    laplacian,
    prewitt,
    scharr,
    sharpen,
    sobel,
)


def depthwise_product(depthwise, pointwise):
    """Return the dense kernel of a depthwise and a pointwise kernel."""
    *_, ci, rank = depthwise.shape
    return np.einsum("...cr,cro->...co", depthwise, np.reshape(pointwise, (ci, rank, -1)))


def axes_product(column, row):
    """Return the dense kernel of a kernel of one column and a kernel of one row."""
    return np.einsum("hcr,wro->hwco", np.asarray(column)[:, 0], np.asarray(row)[0])


def low_rank_kernel(rng, into, rank, dtype="float32"):
    """Return a random kernel of shape (3, 5, 4, 6) and of a known rank."""
    if into == "depthwise":
        factors = rng.normal(size=(3, 5, 4, rank)), rng.normal(size=(4 * rank, 6))
        return depthwise_product(*factors).astype(dtype)
    return axes_product(rng.normal(size=(3, 1, 4, rank)), rng.normal(size=(1, 5, rank, 6))).astype(
        dtype
    )


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": "VALID"}, {"dilation": (2, 1)}])
def test_depthwise_factors_reproduce_the_convolution(options, rng):
    kernel = low_rank_kernel(rng, "depthwise", 2)
    x = rng.normal(size=(2, 11, 12, 4)).astype("float32")

    depthwise, pointwise = factorise(kernel)

    assert depthwise.shape == (3, 5, 4, 2) and pointwise.shape == (8, 6)
    y = jconv.separable_conv(x, depthwise, pointwise, **options)
    # float32 rounding of sums of 60 products.
    np.testing.assert_allclose(y, jconv.conv(x, kernel, **options), rtol=1e-4, atol=1e-4)


def test_axes_factors_reproduce_the_convolution(rng):
    kernel = low_rank_kernel(rng, "axes", 3)
    x = rng.normal(size=(2, 11, 12, 4)).astype("float32")

    column, row = factorise(kernel, into="axes")

    assert column.shape == (3, 1, 4, 3) and row.shape == (1, 5, 3, 6)
    y = jconv.conv(jconv.conv(x, column, stride=(2, 1)), row, stride=(1, 2))
    expected = jconv.conv(x, kernel, stride=2)
    # float32 rounding of sums of 60 products.
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 2, 5), (3, 3, 2, 5), (2, 3, 2, 2, 3), (3, 3, 4, 1)])
def test_full_rank_is_exact_for_any_number_of_axes(shape, rng):
    kernel = rng.normal(size=shape).astype("float32")
    depthwise, pointwise = factorise(kernel)
    largest = min(int(np.prod(shape[:-2])), shape[-1])
    assert depthwise.shape == (*shape[:-1], largest)
    assert pointwise.shape == (shape[-2] * largest, shape[-1])
    np.testing.assert_allclose(depthwise_product(depthwise, pointwise), kernel, atol=1e-5)


@pytest.mark.parametrize(
    "kernel, rank",
    [
        (prewitt(), 1),
        (sobel(7), 1),
        (scharr(), 1),
        (gaussian(9), 1),
        (box(4), 1),
        (gabor(), 1),
        (sobel(angle=30.0), 2),
        (gabor(angle=30.0, phase=20.0), 2),  # The cosine of a sum is a sum of two products.
        (laplacian(), 2),
        (laplacian(diagonals=True), 2),
        (laplacian(9, sigma=1.2), 3),  # The subtracted mean is the third product.
        (sharpen(), 2),
        (emboss(), 3),
    ],
)
def test_rank_of_a_named_kernel(kernel, rank):
    column, row = factorise(kernel, into="axes")
    assert column.shape == (kernel.shape[0], 1, 1, rank)
    assert row.shape == (1, kernel.shape[1], rank, 1)
    atol = 1e-6 * float(jnp.abs(kernel).max())
    np.testing.assert_allclose(axes_product(column, row)[..., 0, 0], kernel, atol=atol)


def test_channels_of_different_rank_share_the_largest():
    kernel = np.zeros((2, 2, 2, 3), "float32")
    kernel[0, 0, 0] = 1
    kernel[0, 0, 1], kernel[1, 1, 1] = (1, 0, 0), (0, 1, 0)
    depthwise, pointwise = factorise(kernel)
    assert depthwise.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(depthwise_product(depthwise, pointwise), kernel, atol=1e-6)


def test_zero_kernel_has_rank_one():
    depthwise, pointwise = factorise(np.zeros((3, 3, 2, 4), "float32"))
    assert depthwise.shape == (3, 3, 2, 1)
    assert not np.any(depthwise_product(depthwise, pointwise))


@pytest.mark.parametrize(
    "into, product", [("depthwise", depthwise_product), ("axes", axes_product)]
)
def test_approximation_has_the_error_of_the_message(into, product, rng):
    kernel = low_rank_kernel(rng, into, 3)
    with pytest.raises(ValueError, match="`rank` must be at least 3 .*whose error is") as error:
        factorise(kernel, into=into, rank=1)
    expected = float(str(error.value).partition("error is ")[2].split(". ")[0])

    factors = factorise(kernel, into=into, rank=1, tolerance=1.0)
    assert 1 in (factors[0].shape[-1], factors[1].shape[-2])
    relative = np.linalg.norm(product(*factors) - kernel) / np.linalg.norm(kernel)
    assert relative == pytest.approx(expected, rel=0.05)  # The message has two digits.

    smallest = factorise(kernel, into=into, tolerance=1.01 * relative)
    np.testing.assert_array_equal(smallest[0], factors[0])


@pytest.mark.parametrize(
    "dtype, expected",
    [
        ("float32", "float32"),
        ("float16", "float16"),
        ("bfloat16", "bfloat16"),
        ("complex64", "complex64"),
        ("int32", "float32"),
    ],
)
def test_dtype(dtype, expected, rng):
    kernel = jnp.asarray(4 * low_rank_kernel(rng, "depthwise", 6), dtype)
    if dtype == "complex64":
        kernel = kernel * (1 + 2j)
    depthwise, pointwise = factorise(kernel)
    assert depthwise.dtype == pointwise.dtype == expected
    wide = "complex64" if dtype == "complex64" else "float32"
    product = depthwise_product(depthwise.astype(wide), pointwise.astype(wide))
    difference = np.linalg.norm(product - np.asarray(kernel, product.dtype))
    # Both factors are rounded, and so is the kernel.
    assert difference <= 8 * jnp.finfo(expected).eps * np.linalg.norm(product)


def test_both_factors_have_the_same_scale(rng):
    depthwise, pointwise = factorise(1e6 * low_rank_kernel(rng, "depthwise", 2))
    assert np.linalg.norm(depthwise) == pytest.approx(np.linalg.norm(pointwise), rel=1e-4)


@pytest.mark.parametrize(
    "kernel, options, message",
    [
        (np.ones((3, 3, 2, 4)), {"rank": 5}, "`rank` must be at most 4"),
        (np.ones((3, 3, 2, 4)), {"rank": 0}, "`rank` must be a positive integer.*rank=0"),
        (np.ones((3, 3, 2, 4)), {"tolerance": -0.1}, "`tolerance` must be a relative error"),
        (np.ones((3, 3, 2, 4)), {"tolerance": 1.5}, "`tolerance` must be a relative error"),
        (np.ones(3), {}, r"`kernel` must have the shape \(\*taps, ci, co\)"),
        (np.ones((3, 2, 4)), {"into": "axes"}, r"must have the shape \(rows, columns, ci, co\)"),
        (np.ones((3, 0, 2, 4)), {}, "`kernel` must have the shape"),
        (np.full((3, 3), np.nan), {}, "`kernel` must be finite"),
    ],
)
def test_error_names_the_argument(kernel, options, message):
    with pytest.raises(ValueError, match=message):
        factorise(kernel, **options)


def test_unknown_factorisation():
    # A type checker raises first where it checks every call.
    with pytest.raises((ValueError, TypeCheckError), match="into"):
        factorise(np.ones((3, 3)), into="rows")  # pyright: ignore[reportArgumentType]


def test_traced_kernel():
    with pytest.raises(ValueError, match="`kernel` must be an array of known values"):
        jax.jit(lambda kernel: factorise(kernel, rank=1)[0])(np.ones((3, 3, 2, 4)))
