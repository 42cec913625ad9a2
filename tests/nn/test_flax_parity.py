"""`jconv.nn.Conv` and `jconv.nn.ConvTranspose` in the place of Flax's layers of the same names."""

import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jconv

LAYERS = ("Conv", "ConvTranspose")
rngs = lambda: nnx.Rngs(0)


def pair(name, *args, **options):
    """Flax's layer and jconv's with the same arguments, checked to have the same parameters."""
    theirs = getattr(nnx, name)(*args, **options, rngs=rngs())
    ours = getattr(jconv.nn, name)(*args, **options, rngs=rngs())
    parameters = [jax.tree.leaves(nnx.state(layer, nnx.Param)) for layer in (theirs, ours)]
    for expected, parameter in zip(*parameters, strict=True):
        np.testing.assert_array_equal(parameter, expected)
        assert parameter.dtype == expected.dtype
    return theirs, ours


def check_equal_outputs(cases):
    """Compare the outputs of pairs of layers, all computed by one compiled program.

    Args:
      cases: an input and a pair of layers for each case.
    """
    inputs, layers = zip(*cases, strict=True)
    graph, state = nnx.split(nnx.List([nnx.List(pair) for pair in layers]))

    @jax.jit
    def outputs(state, inputs):
        return [
            [layer(x) for layer in pair]
            for x, pair in zip(inputs, nnx.merge(graph, state), strict=True)
        ]

    for i, (expected, y) in enumerate(outputs(state, inputs)):
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype), i
        # The sums have at most a few hundred terms of size 1, added in different orders.
        tolerance = 2e-5 if y.dtype == jnp.float32 else 2**-6
        np.testing.assert_allclose(
            np.float32(y), np.float32(expected), rtol=tolerance, atol=tolerance, err_msg=str(i)
        )


@pytest.mark.parametrize("name", LAYERS)
def test_constructor_has_the_parameters_and_defaults_of_flax(name):
    theirs, ours = (
        inspect.signature(getattr(package, name).__init__).parameters for package in (nnx, jconv.nn)
    )
    for parameter in theirs.values():
        assert ours[parameter.name].default == parameter.default, parameter.name
        assert ours[parameter.name].kind == parameter.kind, parameter.name
    positional = [p.name for p in ours.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == ["self", "in_features", "out_features", "kernel_size", "strides"]
    calls = [
        list(inspect.signature(getattr(package, name).__call__).parameters)
        for package in (nnx, jconv.nn)
    ]
    assert calls[0] == calls[1]


@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_an_instance_of_the_layer_of_flax(name):
    assert issubclass(getattr(jconv.nn, name), getattr(nnx, name))


PADDINGS = ("VALID", "SAME", "CIRCULAR", 1, (4, 2), ((0, 3), (2, 1)))


def test_conv_over_strides_paddings_and_dilations(rng):
    x = rng.normal(size=(2, 9, 8, 4)).astype("float32")
    check_equal_outputs(
        (x, pair("Conv", 4, 6, (3, 2), strides, padding=padding, kernel_dilation=dilation))
        for strides, padding, dilation in itertools.product(
            (None, (2, 3)), (*PADDINGS, "REFLECT"), (1, (2, 3))
        )
    )


def test_conv_transpose_over_strides_paddings_and_dilations(rng):
    x = rng.normal(size=(2, 5, 4, 4)).astype("float32")
    check_equal_outputs(
        (
            x,
            pair(
                "ConvTranspose",
                4,
                6,
                (3, 2),
                strides,
                padding=padding,
                kernel_dilation=dilation,
                transpose_kernel=transpose,
            ),
        )
        for strides, padding, dilation, transpose in itertools.product(
            (None, (2, 5)), PADDINGS, (None, (2, 3)), (False, True)
        )
    )


def test_conv_options(rng):
    x = rng.normal(size=(2, 7, 6, 4)).astype("float32")
    options = [
        dict(feature_group_count=2, use_bias=False),
        dict(input_dilation=2, padding=1, kernel_dilation=(2, 1)),
        dict(mask=jnp.tril(jnp.ones((3, 3, 4, 6)))),
        dict(dtype=jnp.bfloat16, padding="CIRCULAR"),
        dict(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, preferred_element_type=jnp.float32),
        dict(param_dtype=jnp.float16, precision=lax.Precision.HIGHEST),
        dict(kernel_init=nnx.initializers.normal(), bias_init=nnx.initializers.ones),
        dict(promote_dtype=lambda arrays, *, dtype: [a.astype("bfloat16") for a in arrays]),
        dict(
            conv_general_dilated=lambda *args, **kwargs: -lax.conv_general_dilated(*args, **kwargs)
        ),
    ]
    check_equal_outputs((x, pair("Conv", 4, 6, (3, 3), **each)) for each in options)


def test_conv_transpose_options(rng):
    x = rng.normal(size=(2, 7, 6, 4)).astype("float32")
    options = [
        dict(use_bias=False),
        dict(mask=jnp.tril(jnp.ones((3, 3, 4, 6)))),
        dict(mask=jnp.tril(jnp.ones((3, 3, 6, 4))), transpose_kernel=True, padding="CIRCULAR"),
        dict(dtype=jnp.bfloat16, padding="CIRCULAR"),
        dict(dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, preferred_element_type=jnp.float32),
        dict(param_dtype=jnp.float16, precision=lax.Precision.HIGHEST),
        dict(kernel_init=nnx.initializers.normal(), bias_init=nnx.initializers.ones),
        dict(promote_dtype=lambda arrays, *, dtype: [a.astype("bfloat16") for a in arrays]),
    ]
    check_equal_outputs((x, pair("ConvTranspose", 4, 6, (3, 3), 2, **each)) for each in options)


@pytest.mark.parametrize("name", LAYERS)
def test_batch_axes_and_numbers_of_spatial_axes(name, rng):
    shapes = [(9, 4), (2, 9, 4), (2, 3, 9, 4)]  # one spatial axis, with 0, 1 and 2 batch axes
    shapes += [(6, 5, 4), (2, 1, 6, 5, 4)]
    sizes = [(3,)] * 3 + [(3, 2)] * 2
    cases = [
        *zip(shapes, sizes, strict=True),
        ((1, 4, 3, 5, 4), (2, 3, 2)),
        ((4, 3, 5, 4), (3,) * 3),
    ]
    check_equal_outputs(
        (rng.normal(size=shape).astype("float32"), pair(name, 4, 6, size, 2))
        for shape, size in cases
    )


def test_causal_convolution_of_a_sequence(rng):
    x = rng.normal(size=(2, 9, 4)).astype("float32")
    check_equal_outputs([(x, pair("Conv", 4, 6, 3, padding="CAUSAL", kernel_dilation=2))])


@pytest.mark.parametrize("name", LAYERS)
def test_attributes_are_those_of_flax(name):
    theirs, ours = pair(name, 4, 6, 3, 2, padding="VALID", dtype=jnp.bfloat16)
    assert vars(theirs).keys() <= vars(ours).keys()
    for attribute in ("kernel_size", "in_features", "out_features", "padding", "use_bias", "mask",
                      "dtype", "param_dtype", "precision", "kernel_shape"):  # fmt: skip
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute


@pytest.mark.parametrize("name", LAYERS)
def test_metadata_of_variables(name):
    metadata = dict(kernel_metadata={"role": "weight"}, bias_metadata={"role": "offset"})
    for layer in pair(name, 4, 6, 3, **metadata):
        assert layer.kernel.get_metadata()["role"] == "weight"
        assert layer.bias.get_metadata()["role"] == "offset"


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name, rng):
    layers = pair(name, 4, 6, (3, 2), (2, 3), padding="CIRCULAR")
    x = rng.normal(size=(2, 6, 6, 4)).astype("float32")
    loss = lambda layer, x: jnp.sum(jnp.sin(layer(x)))
    expected, gradients = (
        jax.tree.leaves(nnx.jit(nnx.grad(loss, argnums=(0, 1)))(layer, x)) for layer in layers
    )
    for theirs, ours in zip(expected, gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_injected_convolution_excludes_the_options_of_jconv():
    with pytest.raises(ValueError, match="`conv_general_dilated` must be left out"):
        jconv.nn.Conv(
            4,
            6,
            3,
            conv_general_dilated=lambda *args, **kwargs: None,
            algorithm="direct",
            rngs=rngs(),
        )
