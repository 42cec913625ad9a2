"""Whole models of Flax, Equinox, Haiku and Keras, accelerated in one line, compute the same."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv

pytestmark = pytest.mark.slow

REASON = "pip install -r tests/peers/requirements.txt"
PIXELS = 32


@pytest.fixture
def images(rng):
    return jnp.asarray(rng.normal(size=(2, PIXELS, PIXELS, 3)), jnp.float32)


def _assert_accelerated(apply, parameters, x, convolutions):
    """Outputs and gradients are the same, and every convolution is jconv's."""
    loss = lambda parameters, x: jnp.square(apply(parameters, x)).mean()
    step = jax.jit(jax.value_and_grad(loss))
    expected = jax.tree.leaves((jax.jit(apply)(parameters, x), step(parameters, x)))
    fast, fast_step = jconv.accelerate(jax.jit(apply)), jconv.accelerate(step)
    actual = jax.tree.leaves((fast(parameters, x), fast_step(parameters, x)))
    for ours, theirs in zip(actual, expected, strict=True):
        # Several layers' rounding; a gradient's sums cancel.
        scale = max(float(jnp.abs(theirs).max()), 1e-6)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3 * scale)
    program = str(jax.make_jaxpr(fast_step)(parameters, x))
    assert "jconv_conv" in program and "conv_general_dilated[" not in program
    assert len(jconv.inspect(apply)(parameters, x).convolutions) == convolutions


def test_a_linen_inception(images):
    linen = pytest.importorskip("flax.linen", reason=REASON)

    class Inception(linen.Module):
        features: int

        @linen.compact
        def __call__(self, x):
            pooled = linen.max_pool(x, (3, 3), padding="SAME")
            branches = [linen.Conv(self.features, (1, 1))(x), linen.Conv(8, (1, 1))(pooled)]
            for taps in (3, 5):
                y = linen.relu(linen.Conv(8, (1, 1))(x))
                branches.append(linen.Conv(self.features, (taps, taps))(y))
            return linen.relu(jnp.concatenate(branches, -1))

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Conv(16, (7, 7), strides=2)(x))
            for _ in range(2):
                x = linen.remat(Inception)(16)(x)
            x = linen.ConvTranspose(8, (4, 4), strides=(2, 2))(x)
            return linen.Dense(10)(x.mean((1, 2)))

    net = Net()
    _assert_accelerated(net.apply, net.init(jax.random.key(0), images), images, 14)


def test_an_equinox_unet(images):
    eqx = pytest.importorskip("equinox", reason=REASON)

    class UNet(eqx.Module):
        down: list
        up: list
        last: eqx.Module

        def __init__(self, key):
            keys = iter(jax.random.split(key, 9))
            sizes = [(3, 8), (8, 16), (16, 32)]
            self.down = [eqx.nn.Conv2d(*size, 3, padding=1, key=next(keys)) for size in sizes]
            self.up = [
                (eqx.nn.ConvTranspose2d(2 * n, n, 2, stride=2, key=next(keys)),
                 eqx.nn.Conv2d(2 * n, n, 3, padding=1, key=next(keys)))
                for n in (16, 8)
            ]  # fmt: skip
            self.last = eqx.nn.Conv2d(8, 2, 1, key=next(keys))

        def __call__(self, x):
            kept = []
            for layer in self.down:
                x = jax.nn.relu(layer(x))
                kept.append(x)
                x = x[:, ::2, ::2]
            x = kept.pop()
            for (grow, merge), skip in zip(self.up, reversed(kept), strict=True):
                x = jax.nn.relu(merge(jnp.concatenate([grow(x), skip])))
            return self.last(x)

    arrays, static = eqx.partition(UNet(jax.random.key(0)), eqx.is_array)
    apply = lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x)
    _assert_accelerated(apply, arrays, jnp.moveaxis(images, -1, 1), 8)


@pytest.mark.parametrize("name, convolutions", [("MobileNetV1", 27), ("ResNet18", 20)])
def test_haiku_networks(name, convolutions, images):
    hk = pytest.importorskip("haiku", reason=REASON)
    net = hk.without_apply_rng(
        hk.transform_with_state(
            lambda x, training: getattr(hk.nets, name)(num_classes=10)(x, training)
        )
    )
    parameters, state = net.init(jax.random.key(0), images, True)
    # Of two images of one pixel the variance is near 0, and dividing by it, rounding is all.
    state = {
        name: jax.tree.map(jnp.ones_like if "var_ema" in name else jnp.zeros_like, values)
        for name, values in state.items()
    }
    apply = lambda parameters, x: net.apply(parameters, state, x, False)[0]
    _assert_accelerated(apply, parameters, images, convolutions)


@pytest.mark.parametrize(
    "name, convolutions", [("MobileNetV2", 52), ("EfficientNetB0", 81), ("Xception", 74)]
)
def test_keras_applications(name, convolutions, images, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    keras = pytest.importorskip("keras", reason=REASON)
    if keras.backend.backend() != "jax":
        pytest.skip("Keras was imported with another backend")
    pixels = 71 if name == "Xception" else PIXELS
    x = jax.image.resize(images, (2, pixels, pixels, 3), "linear")
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(pixels, pixels, 3), classes=10, classifier_activation=None
    )
    trained = [variable.value for variable in model.trainable_variables]
    rest = [variable.value for variable in model.non_trainable_variables]
    apply = lambda trained, x: model.stateless_call(trained, rest, x)[0]
    _assert_accelerated(apply, trained, x, convolutions)
