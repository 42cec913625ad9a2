"""What `jconv.conv` and its kin accept, refuse, and say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from definition import conv_by_definition
from entries import EXACT
from jax import lax

import jconv

X = np.ones((2, 6, 6, 4), np.float32)
KERNEL = np.ones((3, 3, 4, 8), np.float32)


def conv(x=X, kernel=KERNEL, **options):
    return jconv.conv(x, kernel, **options)


BAD_CALLS = [
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=1.5), "`stride` must be an int", "stride=1.5"),
    (dict(stride=True), "`stride` must be an int", "stride=True"),
    (dict(stride="2"), "`stride` must be an int", "stride='2'"),
    (dict(stride=(1, 2, 3)), "one for each of the 2 spatial axes", "which has 3"),
    (dict(stride=None), "`stride` must be an int", "stride=None"),
    (dict(stride={1, 2}), "`stride` must be an int", "stride={1, 2}"),
    (dict(stride=2**70), "at most 2,147,483,647", "stride=1180591620717411303424"),
    (dict(padding={1: 1, 2: 2}), "`padding` must be one of", "padding={1: 1, 2: 2}"),
    (dict(padding=2**40), "`padding` must be one of", "padding=1099511627776"),
    (dict(preferred_element_type=["f4"]), "`preferred_element_type` must be", "f4"),
    (dict(preferred_element_type="int32"), "must be floating or complex", "int32 for float32"),
    (dict(x=X.astype("M8[s]")), "`x` must be an array of numbers", "datetime64[s]"),
    (dict(x=np.zeros((2, 6, 6, 4), [("a", "f4")])), "`x` must be an array of numbers", "'a'"),
    (dict(dilation=-1), "`dilation` must be an int of at least 1", "dilation=-1"),
    (dict(dilation=(1, 0)), "`dilation` must be an int of at least 1", "dilation=0"),
    (dict(input_dilation=0), "`input_dilation` must be an int", "input_dilation=0"),
    (dict(padding="SAEM"), "`padding` must be one of ['SAME'", "padding='SAEM'"),
    (dict(padding=1.0), "`padding` must be one of", "padding=1.0"),
    (dict(padding=None), "`padding` must be one of", "padding=None"),
    (dict(padding=[(1, 1)]), "for each of the 2 spatial axes", "which has 1"),
    (dict(padding=[(1, 1), (1, 1), (0, 0)]), "for each of the 2 spatial axes", "which has 3"),
    (dict(padding=[(1, 1), (1, 2, 3)]), "an int or a pair (before, after)", "(1, 2, 3) in it"),
    (dict(padding=[(1, 1), "SAME"]), "an int or a pair (before, after)", "'SAME' in it"),
    (dict(padding="CAUSAL"), "one spatial axis", "2 spatial axes"),
    (dict(padding=-2), "nothing is left", "padding (-2, -2)"),
    (dict(padding="VALID", dilation=3), "nothing is left", "spans 7 pixels"),
    (dict(padding_mode="wrap"), "`padding_mode` must be one of ['zeros'", "padding_mode='wrap'"),
    (dict(padding_mode="reflect", input_dilation=2), "must be 'zeros'", "padding_mode='reflect'"),
    (dict(x=X[:, :0], padding_mode="circular"), "no pixels to continue", "(0, 6)"),
    (dict(groups=0), "`groups` must be a positive int", "groups=0"),
    (dict(groups=2.0), "`groups` must be a positive int", "groups=2.0"),
    (dict(groups=3), "`groups` must divide the input channels", "groups=3 with 4"),
    (dict(kernel=KERNEL[..., :1, :6], groups=4), "divide the output channels", "groups=4 with 6"),
    (dict(kernel=KERNEL[:, :, :2]), "`kernel` must take the channels of `x`", "`groups=2`"),
    (dict(layout="NCHW"), "`kernel` must take the channels of `x`", "Check `layout`"),
    (dict(layout="NWC"), "`layout` must be 'NHWC', 'NCHW'", "layout='NWC'"),
    (dict(layout=5), "`layout` must be 'NHWC', 'NCHW'", "layout=5"),
    (dict(layout=("NHWC", "HWIO")), "`layout` must be 'NHWC', 'NCHW'", "layout=('NHWC'"),
    (dict(layout=("NHWC", "HWXX", "NHWC")), "`layout` must be 'NHWC'", "HWXX"),
    (dict(flip="yes"), "`flip` must be True or False", "flip='yes'"),
    (dict(precision="exact"), "`precision` must be None", "precision='exact'"),
    (dict(preferred_element_type="float33"), "`preferred_element_type` must be", "'float33'"),
    (dict(preferred_element_type=bool), "`preferred_element_type` must be", "bool"),
    (dict(x=X + 1j, preferred_element_type="float32"), "must be complex", "float32 for complex64"),
    (dict(algorithm="winnograd"), "`algorithm` must be 'auto', one of ['xla'", "'winnograd'"),
    (dict(algorithm=jconv.conv), "`algorithm` must be 'auto'", "function conv"),
    (dict(tolerance=0), "`tolerance` must be None or a positive number", "tolerance=0"),
    (dict(tolerance=float("nan")), "`tolerance` must be None or a positive", "tolerance=nan"),
    (dict(tolerance="tight"), "`tolerance` must be None or a positive", "tolerance='tight'"),
    (dict(x=X[0]), "`x` must have as many axes as `kernel`", "`x[None]`"),
    (dict(x=X[0, :, :, 0]), "`x` must have as many axes as `kernel`", "`x[None, ..., None]`"),
    (dict(x=X[None]), "`x` must have as many axes as `kernel`", "`jax.vmap`"),
    (dict(kernel=KERNEL[:, :, 0, 0]), "at least one spatial axis", "`[..., None, None]`"),
    (dict(kernel=KERNEL[:0]), "at least one tap", "0 along axis 0"),
    (dict(x=X > 0, kernel=KERNEL > 0), "must be numbers", "bool"),
    (dict(x=X.astype(str)), "`x` must be an array of numbers", "<U"),
    (dict(x="photo.png"), "`x` must be an array", "str"),
    (dict(kernel=None), "`kernel` must be an array", "NoneType"),
    (dict(x=[[1, 2], [3]]), "`x` must be an array", "list"),
]  # fmt: skip


@pytest.mark.parametrize("options, allowed, received", BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_bad_calls_say_what_is_allowed_and_what_came(options, allowed, received):
    with pytest.raises(ValueError) as error:
        conv(**options)
    message = str(error.value)
    assert allowed in message
    assert received in message
    # Raised at the door, and not somewhere inside of JAX.
    assert "jconv" in str(error.traceback[-1].path)


def test_what_equals_a_good_option_is_not_taken_for_it():
    """1.0 and True are equal to 1, and are mistakes, also after a call with 1."""
    conv(stride=1, groups=1, padding=(1, 1))
    for options in (dict(stride=1.0), dict(stride=True), dict(groups=1.0), dict(groups=True),
                    dict(padding=(1.0, 1)), dict(stride=(1, True))):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            conv(**options)


def test_lists_and_numpy_arrays_are_taken():
    x = [[[1.0], [2.0], [4.0]]]
    y = jconv.conv(x, [[[1.0]], [[10.0]]], padding="VALID")
    np.testing.assert_array_equal(y, [[[21.0], [42.0]]])
    np.testing.assert_array_equal(
        conv(padding=[1, 1], stride=np.array([2, 1])), conv(padding=1, stride=(2, 1))
    )


def test_depthwise_keeps_channels_apart(rng):
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


def test_separable_is_depthwise_then_pointwise(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    depthwise = rng.normal(size=(3, 3, 3, 2)).astype("float32")
    pointwise = rng.normal(size=(6, 4)).astype("float32")
    # One dense kernel does the same: the sum over a channel's kernels of their outer products.
    dense = np.einsum("hwcm,cmo->hwco", depthwise, pointwise.reshape(3, 2, 4))
    expected = conv_by_definition(x, dense, stride=2)
    for mix in (pointwise, pointwise[None, None]):
        y = jconv.separable_conv(x, depthwise, mix, stride=2)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    y = jconv.separable_conv(x.transpose(0, 3, 1, 2), depthwise, pointwise, stride=2, layout="NCHW")
    np.testing.assert_allclose(y, expected.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jconv.depthwise_conv(X, KERNEL[:, :, :3]), "channels, multiplier"),
        (lambda: jconv.depthwise_conv(X, KERNEL[..., :2], groups=2), "each channel"),
        (lambda: jconv.separable_conv(X, np.ones((3, 3, 4, 2)), np.ones((4, 5))), r"\(8, out\)"),
        (lambda: jconv.separable_conv(X[0], np.ones((3, 3, 4, 2)), np.ones((8, 5))), r"x\[None\]"),
        (lambda: jconv.output_shape((1, 5, 5, 3), (3, 3, 4, 8)), "channels of `x`"),
        (lambda: jconv.output_size(0.5, 3), "`input` must be an int"),
        (lambda: jconv.output_size(5, 0), "`kernel` must be an int"),
    ],
)
def test_kin_refuse_in_the_same_way(call, message):
    with pytest.raises(ValueError, match=message):
        call()


LAX_CASES = [
    dict(window_strides=(2, 1), padding="SAME"),
    dict(window_strides=(1, 2), padding="VALID", rhs_dilation=(2, 1)),
    dict(window_strides=(1, 1), padding=[(1, 2), (0, -1)], lhs_dilation=(2, 3)),
    dict(window_strides=(1, 1), padding="SAME_LOWER", feature_group_count=2),
    dict(window_strides=(2, 2), padding="SAME", batch_group_count=2),
    dict(window_strides=(1, 1), padding="VALID", rhs_dilation=(9, 9)),  # fits nowhere: empty
]


@pytest.mark.parametrize("options", LAX_CASES, ids=str)
@pytest.mark.parametrize("numbers", [None, ("NHWC", "HWIO", "NHWC"), ("CNHW", "IOHW", "HWNC")])
@pytest.mark.parametrize("algorithm", EXACT.values(), ids=EXACT)
def test_conv_general_dilated_is_that_of_lax(options, numbers, algorithm, rng):
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


def test_a_thousand_calls_trace_once():
    from jconv.convolution import _convolve

    _convolve.clear_cache()
    for i in range(1000):
        conv(jnp.full((2, 6, 6, 4), float(i)))
    assert _convolve._cache_size() == 1


def test_the_jaxpr_shows_one_primitive_and_its_algorithm():
    text = str(jax.make_jaxpr(lambda x, k: jconv.conv(x, k, algorithm="direct"))(X, KERNEL))
    assert text.count("jconv_conv[") == 1 and "algorithm=Direct(" in text
    assert "pjit" not in text and "conv_general_dilated" not in text
