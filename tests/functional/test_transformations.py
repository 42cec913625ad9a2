"""`jconv.conv` under JAX transformations that the conformance suite does not cover."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import on_devices
from helpers.entries import ENTRIES, any_algorithm
from jax import lax
from jax.test_util import check_grads

import jconv


@pytest.fixture
def arrays(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 3)).astype("float32")
    return x, kernel


def loss(algorithm):
    return lambda x, kernel: jnp.sum(jnp.tanh(jconv.conv(x, kernel, algorithm=algorithm)))


@pytest.mark.parametrize("order", [2, pytest.param(3, marks=pytest.mark.slow)])
@any_algorithm(ENTRIES.get)
def test_higher_derivatives_match_finite_differences(algorithm, order, arrays):
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(a[..., :2], jnp.float64) for a in arrays)
        kernel = kernel[:, :, :2]
        check_grads(loss(algorithm), (x, kernel), order=order, rtol=1e-4, atol=1e-4)


@any_algorithm(ENTRIES.get)
def test_scan_while_loop_and_checkpoint_match_plain_calls(algorithm, arrays):
    x, kernel = arrays
    step = lambda x: jnp.tanh(jconv.conv(x, kernel, algorithm=algorithm))
    expected = step(step(step(x)))
    scanned, _ = lax.scan(lambda x, _: (step(x), None), x, length=3)
    looped = lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, step(c[1])), (0, x))[1]
    np.testing.assert_allclose(scanned, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(looped, expected, rtol=1e-5, atol=1e-5)

    plain = jax.grad(lambda k: loss(algorithm)(loss_input(x, k, algorithm), k))(kernel)
    saved = jax.grad(jax.checkpoint(lambda k: loss(algorithm)(loss_input(x, k, algorithm), k)))(
        kernel
    )
    np.testing.assert_allclose(saved, plain, rtol=1e-5, atol=1e-5)


def loss_input(x, kernel, algorithm):
    return jconv.conv(x, kernel, algorithm=algorithm)


@any_algorithm(ENTRIES.get)
def test_linearize_and_linear_transpose(algorithm, arrays):
    x, kernel = arrays
    f = lambda x: jconv.conv(x, kernel, stride=2, algorithm=algorithm)
    y, linear = jax.linearize(f, x)
    np.testing.assert_allclose(linear(x), y, rtol=1e-5, atol=1e-5)
    (x_bar,) = jax.linear_transpose(f, x)(y)
    np.testing.assert_allclose(np.vdot(x_bar, x), np.vdot(y, y), rtol=1e-4)


@any_algorithm(ENTRIES.get)
def test_nested_vmap_and_per_example_gradients(algorithm, rng):
    xs = rng.normal(size=(2, 3, 4, 6, 5, 2)).astype("float32")
    kernels = rng.normal(size=(3, 3, 3, 2, 4)).astype("float32")
    f = lambda x, k: jconv.conv(x, k, algorithm=algorithm)
    inner = jax.vmap(f, (0, 0))
    ys = jax.vmap(inner, (0, None))(xs, kernels)
    for i in range(2):
        for j in range(3):
            np.testing.assert_allclose(ys[i, j], f(xs[i, j], kernels[j]), rtol=1e-4, atol=1e-4)

    g = jax.grad(lambda k, x: jnp.sum(f(x[None], k) ** 2))
    per_example = jax.vmap(g, (None, 0))(kernels[0], xs[0, 0])
    assert per_example.shape == (4, *kernels[0].shape)
    np.testing.assert_allclose(per_example[3], g(kernels[0], xs[0, 0, 3]), rtol=1e-4, atol=1e-3)


@any_algorithm(ENTRIES.get)
def test_export_with_a_symbolic_batch(algorithm, arrays):
    x, kernel = arrays
    f = jax.jit(jax.grad(loss(algorithm)))
    (n,) = jax.export.symbolic_shape("n")
    specs = (
        jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype),
        jax.ShapeDtypeStruct(kernel.shape, kernel.dtype),
    )
    exported = jax.export.export(f)(*specs)
    np.testing.assert_allclose(exported.call(x, kernel), f(x, kernel), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "algorithm",
    [
        jconv.Im2col(workspace=1),
        jconv.FFT(block=1),
        jconv.Winograd(tile=2, block=1),
        jconv.OverlapAdd(length=4, block=1),
    ],
    ids=lambda algorithm: type(algorithm).__name__,
)
@pytest.mark.parametrize("stride", [1, 2])
def test_export_where_blocks_are_smaller_than_a_symbolic_batch(algorithm, stride, rng):
    xs = rng.normal(size=(3, 8, 8, 3)).astype("float32")
    kernels = rng.normal(size=(3, 3, 3, 3, 4)).astype("float32")
    conv = lambda x, k: jconv.conv(x, k, stride=stride, algorithm=algorithm)

    @jax.jit
    def f(xs, kernels):
        y, pull = jax.vjp(conv, xs, kernels[0])
        pairs = jax.vmap(lambda x, k: conv(x[None], k))(xs, kernels)
        return y, *pull(y), pairs

    (n,) = jax.export.symbolic_shape("n")
    specs = [jax.ShapeDtypeStruct((n, *a.shape[1:]), a.dtype) for a in (xs, kernels)]
    exported = jax.export.export(f)(*specs)
    for actual, expected in zip(exported.call(xs, kernels), f(xs, kernels), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-3)


@any_algorithm(ENTRIES.get)
def test_export_of_depthwise_gradients_with_a_symbolic_batch(algorithm, rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 1)).astype("float32")
    f = jax.jit(
        jax.grad(lambda x, k: (jconv.depthwise_conv(x, k, algorithm=algorithm) ** 2).sum(), 1)
    )
    (n,) = jax.export.symbolic_shape("n")
    specs = [jax.ShapeDtypeStruct(s, "float32") for s in ((n, *x.shape[1:]), kernel.shape)]
    exported = jax.export.export(f)(*specs)
    np.testing.assert_allclose(exported.call(x, kernel), f(x, kernel), rtol=1e-4, atol=1e-4)


@any_algorithm(ENTRIES.get)
def test_gradients_under_strict_promotion(algorithm, arrays):
    x, kernel = (jnp.asarray(a, jnp.bfloat16) for a in arrays)
    f = lambda x, kernel: jconv.conv(
        x, kernel, preferred_element_type=jnp.float32, algorithm=algorithm
    )
    with jax.numpy_dtype_promotion("strict"):
        y, pull = jax.vjp(f, x, kernel)
        assert y.dtype == jnp.float32
        assert [bar.dtype for bar in pull(y)] == [jnp.bfloat16] * 2


SHARDED = """
import sys, jax, jax.numpy as jnp, numpy as np, jconv
from jax.sharding import PartitionSpec as P

mesh = jax.sharding.Mesh(np.array(jax.devices()), ("d",))
rng = np.random.default_rng(0)
x = jnp.asarray(rng.normal(size=(8, 6, 5, 4)), jnp.float32)
for name in sys.argv[1:]:
    algorithm = jconv.ALGORITHMS[name]
    for groups in (1, 4):
        kernel = jnp.asarray(rng.normal(size=(3, 3, 4 // groups, 4)), jnp.float32)
        f = lambda x, k: jconv.conv(x, k, groups=groups, algorithm=algorithm)
        loss = lambda x, k: jnp.sum(jnp.tanh(f(x, k)))
        expected = jax.grad(loss, (0, 1))(x, kernel)

        def inside(x, k):
            return jax.grad(lambda x, k: jax.lax.psum(loss(x, k), "d"), (0, 1))(x, k)

        sharded = jax.shard_map(f, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"))
        outside = jax.jit(jax.grad(lambda x, k: jnp.sum(jnp.tanh(sharded(x, k))), (0, 1)))
        inside = jax.jit(
            jax.shard_map(inside, mesh=mesh, in_specs=(P("d"), P()), out_specs=(P("d"), P()))
        )
        placed = jax.device_put(x, jax.NamedSharding(mesh, P("d")))
        automatic = jax.jit(jax.grad(loss, (0, 1)))
        for gradient in (outside, inside, automatic):
            for a, b in zip(gradient(placed, kernel), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)

        kinds = (jax.sharding.AxisType.Explicit,) * 2
        explicit = jax.make_mesh((4, 2), ("d", "s"), axis_types=kinds)
        with jax.set_mesh(explicit):
            for spec in (P("d"), P("d", "s"), P(None, None, None, "s"), P()):
                placed, shared = jax.device_put(x, spec), jax.device_put(kernel, P())
                bars = jax.jit(jax.grad(loss, (0, 1)))(placed, shared)
                assert jax.typeof(bars[0]).sharding.spec == jax.typeof(placed).sharding.spec
                for a, b in zip(bars, expected, strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
            placed = jax.device_put(x, P("d"))
            twice = jax.jit(lambda x, k: jax.lax.scan(lambda c, _: (f(c, k), None), x, length=2)[0])
            np.testing.assert_allclose(
                twice(placed, shared), f(f(x, kernel), kernel), rtol=1e-3, atol=1e-3
            )

# XLA exchanges the borders of a sharded axis; other algorithms would gather the whole axis.
with jax.set_mesh(explicit):
    x, kernel = jnp.ones((8, 56, 56, 16)), jax.device_put(jnp.ones((3, 3, 1, 16)), P())
    depthwise = jax.jit(lambda x, k: jconv.conv(x, k, groups=16))
    for spec, by_xla in ((P("d"), False), (P(None, "s"), True)):
        text = depthwise.lower(jax.device_put(x, spec), kernel).as_text()
        assert ("stablehlo.convolution" in text) == by_xla, spec

# Automatic sharding is not known when an algorithm is chosen.
x, kernel = np.ones((8, 56, 56, 16), np.float32), np.ones((3, 3, 1, 16), np.float32)
on_all = jax.device_put(x, jax.NamedSharding(mesh, P(None, "d")))
for placed, by_xla in ((jnp.asarray(x), False), (on_all, True)):
    text = depthwise.lower(placed, kernel).as_text()
    assert ("stablehlo.convolution" in text) == by_xla
eager = jconv.conv(on_all, kernel, groups=16)
np.testing.assert_allclose(eager, depthwise(x, kernel), rtol=1e-5)
print("all equal")
"""


ON_DEVICES = ("direct",)  # the other algorithms are tested in the slow run


@pytest.mark.parametrize(
    "names",
    [
        ON_DEVICES,
        pytest.param(tuple(jconv.ALGORITHMS.keys() - ON_DEVICES), marks=pytest.mark.slow),
    ],
    ids=["some", "the rest"],
)
def test_gradients_of_a_shared_kernel_are_summed_over_devices(names):
    """Checks derivatives inside and outside of shard_map, and automatic and explicit sharding."""
    done = subprocess.run(
        [sys.executable, "-c", SHARDED, *names],
        env=on_devices(8),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "all equal", done.stderr


def test_custom_vjp_of_a_caller_is_used(arrays):
    x, kernel = arrays

    @jax.custom_vjp
    def f(x):
        return jconv.conv(x, kernel)

    f.defvjp(lambda x: (f(x), None), lambda _, y_bar: (jnp.full_like(x, 7.0),))
    assert jnp.all(jax.grad(lambda x: f(x).sum())(x) == 7.0)


def test_output_is_equal_with_jit_disabled(arrays):
    x, kernel = arrays
    expected = jconv.conv(x, kernel)
    with jax.disable_jit():
        np.testing.assert_allclose(jconv.conv(x, kernel), expected, rtol=1e-5, atol=1e-5)
