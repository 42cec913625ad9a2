"""The primitive under JAX's transformations, beyond what the conformance suite does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

import jconv

every_algorithm = pytest.mark.parametrize("algorithm", [*jconv.ALGORITHMS, "auto"])


@pytest.fixture
def arrays(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 3)).astype("float32")
    return x, kernel


def loss(algorithm):
    return lambda x, kernel: jnp.sum(jnp.tanh(jconv.conv(x, kernel, algorithm=algorithm)))


@every_algorithm
def test_higher_derivatives_match_finite_differences(algorithm, arrays):
    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(a[..., :2], jnp.float64) for a in arrays)
        kernel = kernel[:, :, :2]
        check_grads(loss(algorithm), (x, kernel), order=3, rtol=1e-5, atol=1e-5)


@every_algorithm
def test_scan_while_and_checkpoint(algorithm, arrays):
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


@every_algorithm
def test_linearize_and_linear_transpose(algorithm, arrays):
    x, kernel = arrays
    f = lambda x: jconv.conv(x, kernel, stride=2, algorithm=algorithm)
    y, linear = jax.linearize(f, x)
    np.testing.assert_allclose(linear(x), y, rtol=1e-5, atol=1e-5)
    (x_bar,) = jax.linear_transpose(f, x)(y)
    np.testing.assert_allclose(np.vdot(x_bar, x), np.vdot(y, y), rtol=1e-4)


@every_algorithm
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


@every_algorithm
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


def test_a_custom_vjp_around_it_is_kept(arrays):
    x, kernel = arrays

    @jax.custom_vjp
    def f(x):
        return jconv.conv(x, kernel)

    f.defvjp(lambda x: (f(x), None), lambda _, y_bar: (jnp.full_like(x, 7.0),))
    assert jnp.all(jax.grad(lambda x: f(x).sum())(x) == 7.0)


def test_without_jit(arrays):
    x, kernel = arrays
    expected = jconv.conv(x, kernel)
    with jax.disable_jit():
        np.testing.assert_allclose(jconv.conv(x, kernel), expected, rtol=1e-5, atol=1e-5)
