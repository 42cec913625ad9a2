"""The layers of Equinox, Haiku and Flax convolve by jconv and notice nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from swap import swapped

import jconv

pytestmark = pytest.mark.slow

REASON = "pip install -r tests/peers/requirements.txt"

# (rank, features in, features out, kernel size, what Flax and Haiku call the options)
CASES = [
    (1, 3, 4, 3, {}),
    (1, 3, 4, (4,), dict(strides=2, padding="VALID")),
    (1, 3, 4, 3, dict(kernel_dilation=2, padding="CAUSAL")),
    (2, 3, 4, (3, 2), {}),
    (2, 3, 4, 3, dict(strides=(2, 1), padding=((1, 2), (0, 3)))),
    (2, 4, 6, 3, dict(feature_group_count=2, kernel_dilation=(1, 2))),
    (2, 4, 8, 3, dict(feature_group_count=4, padding="VALID", use_bias=False)),
    (2, 3, 4, 3, dict(padding="CIRCULAR")),
    (2, 3, 4, 3, dict(padding="REFLECT", strides=2)),
    (3, 2, 3, (2, 3, 1), dict(strides=(1, 2, 1))),
]
# Equinox has its own names, and channels first.
EQUINOX_CASES = [
    (1, "Conv", dict()),
    (1, "Conv", dict(stride=2, padding="SAME", dilation=2)),
    (2, "Conv", dict(stride=(1, 2), padding=((1, 0), (2, 1)))),
    (2, "Conv", dict(groups=2, use_bias=False, padding="VALID")),
    (2, "Conv", dict(padding=1, padding_mode="REFLECT")),
    (2, "Conv", dict(padding="SAME", padding_mode="CIRCULAR")),
    (3, "Conv", dict(padding="SAME_LOWER")),
    (1, "ConvTranspose", dict(stride=2, padding=1, output_padding=1)),
    (2, "ConvTranspose", dict(stride=(2, 1), groups=2, dilation=2)),
    (2, "ConvTranspose", dict(stride=2, padding="SAME")),
    (3, "ConvTranspose", dict(stride=2)),
]
# Options of the layer that are no options of `nnx.Conv` and `linen.Conv`.
TRANSPOSED = [
    (1, 3, 4, 3, dict(strides=2)),
    (2, 3, 4, (3, 2), dict(strides=(2, 3), padding="VALID")),
    (2, 3, 4, 3, dict(strides=1, padding="SAME")),
]


def _assert_same(f, g, *args):
    """Outputs and all gradients are equal to within rounding, singly and under `vmap`."""
    for ours, theirs in ((g, f), (jax.vmap(g, (None, 0)), jax.vmap(f, (None, 0)))):
        y, pull = jax.vjp(ours, *args)
        expected, pull_expected = jax.vjp(theirs, *args)
        pairs = zip(
            jax.tree.leaves((y, pull(y))),
            jax.tree.leaves((expected, pull_expected(expected))),
            strict=True,
        )
        for one, other in pairs:
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            scale = np.max(np.abs(other), initial=1)
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)
        args = (args[0], jnp.stack([args[1], 2 * args[1]]))


def _input(rank, channels, rng):
    return jnp.asarray(rng.normal(size=(2, *(7, 6, 5)[:rank], channels)), jnp.float32)


def _swapping(f, algorithm):
    """`f` as it is under jconv, which it must have called."""

    def swapping(*args):
        with swapped(algorithm) as calls:
            y = f(*args)
        assert calls
        return y

    return swapping


@pytest.mark.parametrize("rank, name, options", EQUINOX_CASES, ids=str)
def test_equinox(rank, name, options, algorithm, rng):
    eqx = pytest.importorskip("equinox", reason=REASON)
    layer = getattr(eqx.nn, f"{name}{rank}d")(4, 6, 3, key=jax.random.key(0), **options)
    arrays, static = eqx.partition(layer, eqx.is_array)
    x = jnp.moveaxis(_input(rank, 4, rng), -1, 1)
    # Equinox has no batch axis: its layers convolve under `vmap`.
    f = lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x)
    _assert_same(f, _swapping(f, algorithm), arrays, x)


@pytest.mark.parametrize("rank, ci, co, size, options", CASES, ids=str)
def test_haiku(rank, ci, co, size, options, algorithm, rng):
    hk = pytest.importorskip("haiku", reason=REASON)
    names = dict(strides="stride", kernel_dilation="rate", use_bias="with_bias")
    options = {names.get(name, name): value for name, value in options.items()}
    if options.get("padding") in ("CIRCULAR", "REFLECT", "CAUSAL"):
        options["padding"] = getattr(hk.pad, "causal" if rank == 1 else "full")
    layer = lambda x: getattr(hk, f"Conv{rank}D")(co, size, **options)(x)
    _check_haiku(hk, layer, algorithm, _input(rank, ci, rng))


@pytest.mark.parametrize("rank, ci, co, size, options", TRANSPOSED, ids=str)
def test_haiku_transposed(rank, ci, co, size, options, algorithm, rng):
    hk = pytest.importorskip("haiku", reason=REASON)
    options = dict(stride=options["strides"], padding=options.get("padding", "SAME"))
    layer = lambda x: getattr(hk, f"Conv{rank}DTranspose")(co, size, **options)(x)
    _check_haiku(hk, layer, algorithm, _input(rank, ci, rng))


@pytest.mark.parametrize("name", ["DepthwiseConv2D", "SeparableDepthwiseConv2D"])
def test_haiku_depthwise(name, algorithm, rng):
    hk = pytest.importorskip("haiku", reason=REASON)
    layer = lambda x: getattr(hk, name)(2, 3, stride=2)(x)
    _check_haiku(hk, layer, algorithm, _input(2, 3, rng))


def _check_haiku(hk, layer, algorithm, x):
    # Rebuilt by each call: Haiku's layers live inside of `transform`.
    network = hk.without_apply_rng(hk.transform(layer))
    params = network.init(jax.random.key(0), x)
    _assert_same(network.apply, _swapping(network.apply, algorithm), params, x)


@pytest.mark.parametrize("rank, ci, co, size, options", CASES, ids=str)
def test_linen(rank, ci, co, size, options, algorithm, rng):
    linen = pytest.importorskip("flax.linen", reason=REASON)
    size = (size,) * rank if isinstance(size, int) else size
    make = functools.partial(linen.Conv, co, size, **options)
    ours = make(conv_general_dilated=_by_jconv(algorithm))
    x = _input(rank, ci, rng)
    params = make().init(jax.random.key(0), x)
    _assert_same(make().apply, ours.apply, params, x)


@pytest.mark.parametrize("rank, ci, co, size, options", TRANSPOSED, ids=str)
def test_linen_transposed(rank, ci, co, size, options, algorithm, rng):
    linen = pytest.importorskip("flax.linen", reason=REASON)
    size = (size,) * rank if isinstance(size, int) else size
    options = {**options, "strides": np.broadcast_to(options["strides"], rank).tolist()}
    layer, x = linen.ConvTranspose(co, size, **options), _input(rank, ci, rng)
    params = layer.init(jax.random.key(0), x)
    _assert_same(layer.apply, _swapping(layer.apply, algorithm), params, x)


@pytest.mark.parametrize("rank, ci, co, size, options", CASES, ids=str)
def test_nnx(rank, ci, co, size, options, algorithm, rng):
    nnx = pytest.importorskip("flax.nnx", reason=REASON)
    size = (size,) * rank if isinstance(size, int) else size
    make = lambda **extra: nnx.Conv(ci, co, size, **options, **extra, rngs=nnx.Rngs(0))
    x = _input(rank, ci, rng)

    def applied(layer):
        graph, params = nnx.split(layer)
        return (lambda params, x: nnx.merge(graph, params)(x)), params

    theirs, params = applied(make())
    ours, _ = applied(make(conv_general_dilated=_by_jconv(algorithm)))
    _assert_same(theirs, ours, params, x)


def _by_jconv(algorithm):
    return functools.partial(jconv.conv_general_dilated, algorithm=algorithm)
