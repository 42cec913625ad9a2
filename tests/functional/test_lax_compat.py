"""`conv_general_dilated` against `lax`, depthwise and separable convolution, and eager calls."""

import cProfile
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES, any_algorithm
from helpers.valid_calls import KERNEL, X, conv
from jax import lax

import jconv


def test_floats_and_bools_equal_to_a_valid_int_are_errors():
    """A cached call with 1 must not make 1.0 and True valid, which are equal to 1."""
    conv(stride=1, groups=1, padding=(1, 1))
    for options in (dict(stride=1.0), dict(stride=True), dict(groups=1.0), dict(groups=True),
                    dict(padding=(1.0, 1)), dict(stride=(1, True))):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            conv(**options)


def test_lists_and_numpy_arrays_are_accepted():
    x = [[[1.0], [2.0], [4.0]]]
    y = jconv.conv(x, [[[1.0]], [[10.0]]], padding="VALID")
    np.testing.assert_array_equal(y, [[[21.0], [42.0]]])
    np.testing.assert_array_equal(
        conv(padding=[1, 1], stride=np.array([2, 1])), conv(padding=1, stride=(2, 1))
    )


def test_depthwise_conv_convolves_each_channel_separately(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(3, 2, 3, 2)).astype("float32")
    y = jconv.depthwise_conv(x, kernel, stride=(2, 1))
    for channel in range(3):
        expected = conv_by_definition(x[..., [channel]], kernel[:, :, [channel]], stride=(2, 1))
        np.testing.assert_allclose(
            y[..., 2 * channel : 2 * channel + 2], expected, rtol=1e-5, atol=1e-5
        )
    channels_first = jconv.depthwise_conv(
        x.transpose(0, 3, 1, 2), kernel, stride=(2, 1), layout="NCHW"
    )
    np.testing.assert_allclose(channels_first, y.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_separable_conv_is_depthwise_then_pointwise(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    depthwise = rng.normal(size=(3, 3, 3, 2)).astype("float32")
    pointwise = rng.normal(size=(6, 4)).astype("float32")
    # The equal dense kernel sums the outer products of depthwise and pointwise kernels.
    dense = np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(3, 2, 4))
    expected = conv_by_definition(x, dense, stride=2)
    for mix in (pointwise, pointwise[None, None]):
        y = jconv.separable_conv(x, depthwise, mix, stride=2)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    y = jconv.separable_conv(x.transpose(0, 3, 1, 2), depthwise, pointwise, stride=2, layout="NCHW")
    np.testing.assert_allclose(y, expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


LAX_CASES = [
    dict(window_strides=(2, 1), padding="SAME"),
    dict(window_strides=(1, 2), padding="VALID", rhs_dilation=(2, 1)),
    dict(window_strides=(1, 1), padding=[(1, 2), (0, -1)], lhs_dilation=(2, 3)),
    dict(window_strides=(1, 1), padding="SAME_LOWER", feature_group_count=2),
    dict(window_strides=(2, 2), padding="SAME", batch_group_count=2),
    dict(window_strides=(1, 1), padding="VALID", rhs_dilation=(9, 9)),  # an empty output
]


@pytest.mark.parametrize("options", LAX_CASES, ids=str)
@pytest.mark.parametrize("numbers", [None, ("NHWC", "HWIO", "NHWC"), ("CNHW", "IOHW", "HWNC")])
@any_algorithm(ENTRIES.get)
def test_conv_general_dilated_and_gradients_match_lax(options, numbers, algorithm, rng):
    spec = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, numbers)
    x, kernel = (
        np.empty((4, 4, 7, 6)),
        np.empty((8, 4 // options.get("feature_group_count", 1), 3, 2)),
    )
    x = rng.normal(size=np.array(x.shape)[np.argsort(spec.lhs_spec)]).astype("float32")
    kernel = rng.normal(size=np.array(kernel.shape)[np.argsort(spec.rhs_spec)]).astype("float32")
    f = lambda convolve: lambda x, kernel: convolve(x, kernel, dimension_numbers=numbers, **options)
    ours = lambda *args, **kwargs: jconv.conv_general_dilated(*args, **kwargs, algorithm=algorithm)
    expected, pull_expected = jax.vjp(f(lax.conv_general_dilated), x, kernel)
    y, pull = jax.vjp(f(ours), x, kernel)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    for bar, expected_bar in zip(pull(y), pull_expected(expected), strict=True):
        np.testing.assert_allclose(bar, expected_bar, rtol=1e-4, atol=1e-3)


def test_1000_calls_with_equal_shapes_trace_once():
    from jconv.functional.conv import apply_spec

    apply_spec.clear_cache()
    for i in range(1000):
        conv(jnp.full((2, 6, 6, 4), float(i)))
    assert apply_spec._cache_size() == 1


@pytest.mark.usefixtures("unchecked")
def test_repeated_eager_call_makes_at_most_twice_the_python_calls_of_lax():
    """Python code dominates the cost of an eager call, so function calls are counted."""
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    ours = functools.partial(jconv.conv, x, kernel, algorithm="xla")
    theirs = functools.partial(
        lax.conv_general_dilated, x, kernel, (1, 1), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip

    def function_calls(f):
        f()  # compiles
        profile = cProfile.Profile()
        profile.runcall(f)
        return sum(entry.callcount for entry in profile.getstats())

    assert function_calls(ours) <= 2 * function_calls(theirs)


def test_jaxpr_shows_one_primitive_and_its_algorithm():
    text = str(jax.make_jaxpr(lambda x, k: jconv.conv(x, k, algorithm="direct"))(X, KERNEL))
    assert text.count("jconv_conv[") == 1 and "algorithm=Direct(" in text
    assert "pjit" not in text and "conv_general_dilated" not in text
