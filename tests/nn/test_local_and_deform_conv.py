"""`LocalConv` and `DeformConv` against the functions that they call."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jconv
from jconv import nn


def rngs():
    return nnx.Rngs(0)


def image(rng, *shape):
    return rng.normal(size=shape).astype("float32")


@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_local_conv(mode, rng):
    layer = nn.LocalConv(3, 4, (3, 2), (6, 5), padding=1, padding_mode=mode, rngs=rngs())
    x = image(rng, 2, 6, 5, 3)
    assert layer.kernel.shape == (6, 6, 3, 2, 3, 4) and layer.bias.shape == (6, 6, 4)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)],
                    mode={"zeros": "constant", "circular": "wrap"}.get(mode, mode))  # fmt: skip
    expected = jconv.conv_local(padded, layer.kernel[...], padding="VALID")
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="as `input_size` says"):
        layer(x[:, :-1])
    with pytest.raises(TypeError, match="algorithm"):
        nn.LocalConv(3, 4, 3, 5, algorithm="fft", rngs=rngs())


@pytest.mark.parametrize("mode", ["zeros", "replicate"])
@pytest.mark.parametrize("modulated", [False, True])
def test_deform_conv_starts_without_moving(modulated, mode, rng):
    layer = nn.DeformConv(3, 4, (3, 3), modulated=modulated, padding_mode=mode, rngs=rngs())
    x = image(rng, 2, 6, 5, 3)
    expected = jconv.conv(x, layer.kernel[...], padding_mode=mode) * (0.5 if modulated else 1)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    # Offsets that its convolution gives move the taps: here all of them, by one row.
    bias = np.zeros(layer.offset.bias.shape, "float32").reshape(3, 3, -1)
    bias[..., 0] = 1
    layer.offset.bias.set_value(jnp.asarray(bias.ravel()))
    moved = np.asarray(layer(x))[:, :-2]
    np.testing.assert_allclose(moved, expected[:, 1:-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.LocalConv, nn.DeformConv])
def test_shared_options(layer, rng):
    sizes = (4, 6, (3, 2), (7, 6)) if layer is nn.LocalConv else (4, 6, (3, 2))
    options = dict(
        strides=2,
        kernel_dilation=(2, 1),
        feature_group_count=2,
        param_dtype=jnp.float16,
        dtype=jnp.float32,
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
        bias_init=nnx.initializers.ones,
        kernel_metadata={"role": "weight"},
    )
    made = layer(*sizes, **options, rngs=rngs())
    assert made.kernel.dtype == made.bias.dtype == jnp.float16
    assert made.kernel.get_metadata()["role"] == "weight" and np.all(made.bias[...] == 1)
    x = image(rng, 2, 3, 7, 6, 4)
    y = made(x)
    assert y.shape == (2, 3, 4, 3, 6) and y.dtype == jnp.float32
    np.testing.assert_allclose(made(x[0, 1]), y[0, 1], rtol=1e-5, atol=1e-5)
    channels_first = layer(*sizes, **options, layout="NCHW", rngs=rngs())
    moved = channels_first(np.moveaxis(x, -1, -3))
    np.testing.assert_allclose(np.moveaxis(moved, -3, -1), y, rtol=1e-5, atol=1e-5)


def test_local_conv_with_dilated_input(rng):
    layer = nn.LocalConv(3, 4, 3, 5, input_dilation=2, rngs=rngs())
    x = image(rng, 2, 5, 3)
    assert layer.kernel.shape == (9, 3, 3, 4) and layer.geometry.output == (9,)
    expected = jconv.conv_local(x, layer.kernel[...], padding="SAME", input_dilation=2)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)
