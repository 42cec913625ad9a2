import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES

import jconv

CASES = [
    dict(kernel_size=(3, 3)),
    dict(kernel_size=(3, 2), strides=(2, 1), padding="VALID"),
    dict(kernel_size=(3, 3), padding="CIRCULAR"),
    dict(kernel_size=(3, 3), padding="REFLECT", kernel_dilation=2),
    dict(kernel_size=(2, 3), padding=((1, 0), (2, 1)), feature_group_count=2),
    dict(kernel_size=(3, 3), padding=1, input_dilation=2, use_bias=False),
    dict(kernel_size=(3, 3), padding=1, strides=None, dtype=jnp.bfloat16),
    dict(kernel_size=(3, 3), mask=jnp.tril(jnp.ones((3, 3, 4, 6)))),
    dict(kernel_size=(3, 3), preferred_element_type=jnp.float32, precision="highest"),
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: " ".join(o))
@pytest.mark.parametrize("algorithm", ENTRIES.values(), ids=ENTRIES)
def test_every_algorithm_computes_the_convolution_of_flax(options, algorithm, rng):
    x = rng.normal(size=(2, 7, 6, 4)).astype("float32")
    theirs = nnx.Conv(4, 6, **options, rngs=nnx.Rngs(0))
    ours = jconv.nn.Conv(4, 6, **options, algorithm=algorithm, rngs=nnx.Rngs(0))
    y, expected = ours(x), theirs(x)
    assert y.dtype == expected.dtype
    tolerance = 1e-4 if y.dtype == jnp.float32 else 2**-7
    np.testing.assert_allclose(np.float32(y), np.float32(expected), rtol=tolerance, atol=tolerance)


def test_several_batch_axes_and_none(rng):
    layer = jconv.nn.Conv(3, 2, 5, padding="CAUSAL", rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 4, 9, 3)).astype("float32")
    y = layer(x)
    assert y.shape == (2, 4, 9, 2)
    np.testing.assert_allclose(layer(x[1, 2]), y[1, 2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_mode(mode, rng):
    layer = jconv.nn.Conv(3, 2, (4, 3), padding_mode=mode, use_bias=False, rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 5, 6, 3)).astype("float32")
    expected = conv_by_definition(x, layer.kernel[...], padding_mode=mode)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_invalid_arguments_raise_when_the_layer_is_made():
    with pytest.raises(ValueError, match="`algorithm` must be 'auto'"):
        jconv.nn.Conv(3, 2, (3, 3), algorithm="fast", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="`padding_mode` must be one of"):
        jconv.nn.Conv(3, 2, (3, 3), padding_mode="mirror", rngs=nnx.Rngs(0))
    for widths in ({}, {3: 0}, {"3": 4}, [64, 64], {3: True}):
        with pytest.raises(ValueError, match="`widths` must map each kernel size"):
            jconv.nn.ParallelConv(3, widths, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="few enough to halve"):
        jconv.models.ParallelNet(input_shape=(3, 3, 1), rngs=nnx.Rngs(0))


def test_separable_layer_is_the_function(rng):
    layer = jconv.nn.SeparableConv(3, 5, (3, 3), 2, multiplier=2, rngs=nnx.Rngs(0))
    layer.pointwise.bias[...] = jnp.arange(5.0)
    x = rng.normal(size=(2, 7, 6, 3)).astype("float32")
    depthwise = layer.depthwise.kernel[...].reshape(3, 3, 3, 2)
    expected = jconv.separable_conv(x, depthwise, layer.pointwise.kernel[...], stride=2)
    np.testing.assert_allclose(layer(x), expected + jnp.arange(5.0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("Conv", (3, 2, (3, 3))),
        ("ConvTranspose", (3, 2, (3, 3))),
        ("LocalConv", (3, 2, (3, 3), 8)),
        ("DeformConv", (3, 2, (3, 3))),
    ],
)
def test_equal_layers_have_equal_graphs_so_that_jit_compiles_once(name, sizes):
    padding = [[1, 0], [0, 1]]
    make = lambda seed: getattr(jconv.nn, name)(*sizes, padding=padding, rngs=nnx.Rngs(seed))
    graphs = [nnx.split(make(seed))[0] for seed in (0, 1)]
    assert graphs[0] == graphs[1] and hash(graphs[0]) == hash(graphs[1])


def test_pooling_and_flattening(rng):
    x = rng.normal(size=(2, 4, 6, 3)).astype("float32")
    blocks = x.reshape(2, 2, 2, 3, 2, 3)
    np.testing.assert_array_equal(jconv.nn.MaxPool((2, 2))(x), blocks.max(axis=(2, 4)))
    np.testing.assert_allclose(
        jconv.nn.GlobalAveragePool()(x), x.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(jconv.nn.Flatten()(jnp.asarray(x)), x.reshape(2, -1))


def test_vmap_over_seeds():
    make = nnx.vmap(lambda key: jconv.nn.ParallelConv(1, {1: 2, 3: 2}, rngs=nnx.Rngs(key)))
    keys = jax.random.split(jax.random.key(0), 3)
    models, x = make(keys), jnp.ones((2, 5, 5, 1))
    ys = nnx.vmap(lambda model, x: model(x), in_axes=(0, None))(models, x)
    one = jconv.nn.ParallelConv(1, {1: 2, 3: 2}, rngs=nnx.Rngs(keys[1]))
    np.testing.assert_allclose(ys[1], one(x), rtol=1e-5, atol=1e-5)


def test_plan_of_a_layer_reaches_the_gradients():
    x = jnp.ones((2, 6, 6, 4))
    plan = jconv.Plan("direct", input_gradient="phases", kernel_gradient="im2col")
    layer = jconv.nn.Conv(4, 6, (3, 3), algorithm=plan, rngs=nnx.Rngs(0))
    text = str(jax.make_jaxpr(nnx.grad(lambda layer: layer(x).sum()))(layer))
    assert "kernel_gradient=Im2col(" in text
