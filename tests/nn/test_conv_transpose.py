"""The adjoint mode of `ConvTranspose`, and its options beside those of Flax."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv import nn


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(padding=1, output_padding=1),
        dict(padding="VALID", output_size=(12, 9)),
        dict(padding_mode="circular", kernel_dilation=2),
        dict(feature_group_count=2, flip=True, algorithm="direct"),
    ],
    ids=str,
)
def test_adjoint_layer_is_the_function(options, rng):
    layer = nn.ConvTranspose(4, 6, (3, 3), 2, **options, adjoint=True, rngs=nnx.Rngs(0))
    layer.bias.set_value(jnp.arange(6.0))
    x = rng.normal(size=(2, 5, 4, 4)).astype("float32")
    words = {"kernel_dilation": "dilation", "feature_group_count": "groups"}
    options = {words.get(name, name): value for name, value in options.items()}
    expected = jconv.conv_transpose(x, layer.kernel[...], stride=2, **options) + np.arange(6)
    assert layer.kernel.shape == (3, 3, 6 // options.get("groups", 1), 4)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)
    np.testing.assert_allclose(layer(x[0]), expected[0], rtol=1e-5, atol=1e-6)


def test_adjoint_layer_transposes_the_convolution_with_the_same_options(rng):
    options = dict(padding=1, kernel_dilation=2, feature_group_count=2, use_bias=False)
    conv = nn.Conv(6, 4, (3, 2), 2, **options, rngs=nnx.Rngs(0))
    u = rng.normal(size=(2, 9, 8, 6)).astype("float32")
    y = conv(u)
    layer = nn.ConvTranspose(4, 6, (3, 2), 2, **options, adjoint=True, output_size=(9, 8),
                             rngs=nnx.Rngs(1))  # fmt: skip
    layer.kernel.set_value(conv.kernel[...])
    x = rng.normal(size=y.shape).astype("float32")
    np.testing.assert_allclose(np.vdot(y, x), np.vdot(u, layer(x)), rtol=1e-4)


@pytest.mark.parametrize("adjoint", [False, True])
def test_variance_of_an_output_is_about_that_of_an_input(adjoint):
    layer = nn.ConvTranspose(256, 8, (3, 3), adjoint=adjoint, rngs=nnx.Rngs(0))
    assert np.var(layer.kernel[...]) == pytest.approx(1 / (9 * 256), rel=0.1)


@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_groups_are_separate_layers(transpose_kernel, rng):
    options = dict(padding="SAME", use_bias=False, transpose_kernel=transpose_kernel)
    whole = nn.ConvTranspose(4, 6, 3, 2, **options, feature_group_count=2, rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    for group in range(2):
        part = nnx.ConvTranspose(2, 3, 3, 2, **options, rngs=nnx.Rngs(0))
        inputs, outputs = slice(2 * group, 2 * group + 2), slice(3 * group, 3 * group + 3)
        kernel = whole.kernel[..., inputs] if transpose_kernel else whole.kernel[..., outputs]
        part.kernel.set_value(kernel)
        expected = part(x[..., inputs])
        np.testing.assert_allclose(whole(x)[..., outputs], expected, rtol=1e-5, atol=1e-5)


def test_flip_reverses_the_kernel(rng):
    x = rng.normal(size=(2, 5, 4)).astype("float32")
    layer = nn.ConvTranspose(4, 6, 3, 2, flip=True, rngs=nnx.Rngs(0))
    reversed_ = nnx.ConvTranspose(4, 6, 3, 2, rngs=nnx.Rngs(0))
    reversed_.kernel.set_value(layer.kernel[::-1])
    np.testing.assert_allclose(layer(x), reversed_(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(output_padding=1), "`output_padding` must be 0 unless `adjoint=True`"),
        (dict(output_size=9), "`output_size` must be None unless `adjoint=True`"),
        (dict(padding_mode="circular"), "`padding_mode` must be 'zeros' unless `adjoint=True`"),
        (dict(padding="FULL"), "`padding` must be one of .*'CIRCULAR'.* need adjoint=True"),
        (dict(feature_group_count=3), "`feature_group_count` must divide `in_features`"),
        (dict(mask=jnp.ones(3)), r"`mask` must be .* shape \(3, 3, 4, 6\)"),
        (dict(algorithm="quick"), "`algorithm` must be 'auto'"),
        (dict(layout="NWC"), "`layout` must be 'NHWC', 'NCHW'"),
    ],
)
def test_arguments_that_fit_no_input(options, message):
    with pytest.raises(ValueError, match=message):
        nn.ConvTranspose(4, 6, (3, 3), 2, **options, rngs=nnx.Rngs(0))


def test_errors_of_a_call_name_the_arguments_of_the_layer():
    layer = nn.ConvTranspose(4, 6, (3, 3), 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`inputs` must end in 2 axes of space and one of 4"):
        layer(jnp.ones((2, 5, 5, 3)))
    layer = nn.ConvTranspose(4, 6, 3, 2, output_padding=2, adjoint=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"strides=\(2,\), kernel_dilation=\(1,\)"):
        layer(jnp.ones((2, 5, 4)))
