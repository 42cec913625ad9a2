"""Plans: each of the three convolutions by its own algorithm, to any order of derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.entries import ENTRIES
from jax.experimental.jet import jet

import jconv
from jconv.selection.plan import WherePossible, lenient

X, KERNEL = (1, 8, 8, 3), (3, 3, 3, 2)


def used(f, *args):
    """The algorithms in the jaxpr of `f`, in order."""
    lines = str(jax.make_jaxpr(f)(*args)).split("\n")
    return [line.split("=")[1].split("(")[0] for line in lines if line.strip().startswith("algo")]


def arrays(rng):
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in (X, KERNEL))


def loss(algorithm, **options):
    f = lambda x, k: jconv.conv(x, k, algorithm=algorithm, **options)
    return lambda x, k: jnp.sum(jnp.tanh(f(x, k)))


def test_each_pass_has_its_own(rng):
    plan = jconv.Plan(forward="fft", input_gradient="phases", kernel_gradient=jconv.Im2col(2**20))
    x, kernel = arrays(rng)
    assert used(jax.grad(loss(plan)), x, kernel) == ["FFT", "Phases"]
    assert used(jax.grad(loss(plan), 1), x, kernel) == ["FFT", "Im2col"]
    expected = jax.hessian(loss("xla"), 1)(x, kernel)
    np.testing.assert_allclose(jax.hessian(loss(plan), 1)(x, kernel), expected, atol=1e-4)


def test_one_name_stands_for_all_three_where_it_can(rng):
    x, kernel = arrays(rng)
    assert used(jax.grad(loss("direct"), (0, 1)), x, kernel) == ["Direct"] * 3
    # A gradient with 9 taps along an axis of 9 outputs is not for Winograd: it is left to "auto".
    wide = jnp.ones((9, 9, 3, 2))
    few = lambda algorithm: loss(algorithm, padding=[(0, 8), (0, 8)], stride=8)
    plan = jconv.Plan("xla", input_gradient=WherePossible(jconv.Winograd()))
    assert used(jax.grad(few(plan)), x, wide)[0] == "Xla"
    np.testing.assert_allclose(jax.grad(few(plan))(x, wide), jax.grad(few("xla"))(x, wide),
                               atol=1e-4)  # fmt: skip


def test_what_was_asked_for_by_name_is_not_replaced(rng):
    x, kernel = arrays(rng)
    plan = jconv.Plan("xla", kernel_gradient=jconv.Separable(rank=2).inner or "winograd")
    assert used(jax.grad(loss(plan), 1), x, kernel) == ["Xla", "Winograd"]
    integers = lambda x, k: jconv.conv(x, k, algorithm=jconv.Plan("fft"))
    with pytest.raises(ValueError, match="cannot, because its roots of unity are not exact in int"):
        integers(x.astype(int), kernel.astype(int))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(forward="fast"), "`forward` must be 'auto', one of"),
        (dict(input_gradient=3), "`input_gradient` must be 'auto', one of"),
        (dict(kernel_gradient="separable"), "`kernel_gradient` must be an algorithm for kernels"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        jconv.Plan(**arguments)


@pytest.mark.parametrize("name", ENTRIES)
def test_taylor_series(name, rng):
    """`jet` against derivatives taken one after the other, along a curve."""
    x, kernel = arrays(rng)
    f = lambda x, k: jnp.sum(jnp.sin(jconv.conv(x * x, k, algorithm=ENTRIES[name])))
    directions = [tuple(0.1 * a for a in arrays(rng)) for _ in range(3)]
    series = tuple(list(terms) for terms in zip(*directions, strict=True))
    y, terms = jax.jit(lambda *a: jet(f, a[:2], a[2:]))(x, kernel, *series)

    def along(t):
        scale = (t, t**2 / 2, t**3 / 6)
        moved = [a + sum(c * s for c, s in zip(scale, own, strict=True))
                 for a, own in zip((x, kernel), series, strict=True)]  # fmt: skip
        return f(*moved)

    expected = [along]
    for _ in range(3):
        expected.append(jax.jacfwd(expected[-1]))
    expected = [jax.jit(g)(0.0) for g in expected]
    np.testing.assert_allclose([y, *terms], expected, rtol=1e-3, atol=1e-2)


def separable_kernel(rng, groups=3):
    rows, columns = rng.normal(size=(5, 1, 1, groups)), rng.normal(size=(1, 5, 1, groups))
    return jnp.asarray(rows * columns, jnp.float32)


class TestSeparable:
    """An algorithm that is exact for some kernels is used for those alone."""

    def test_a_kernel_of_rank_one(self, rng):
        x, kernel = jnp.asarray(rng.normal(size=(2, 9, 8, 3)), jnp.float32), separable_kernel(rng)
        f = lambda algorithm: jconv.conv(x, kernel, groups=3, algorithm=algorithm)
        np.testing.assert_allclose(f("separable"), f("xla"), atol=1e-4)

    def test_another_is_refused_with_its_rank(self, rng):
        x, kernel = jnp.ones((1, 9, 9, 3)), separable_kernel(rng) + separable_kernel(rng)
        with pytest.raises(ValueError, match=r"rank one. Received: one of rank 2.*rank=2\)"):
            jconv.conv(x, kernel, groups=3, algorithm="separable")
        exact = jconv.conv(x, kernel, groups=3, algorithm=jconv.Separable(rank=2))
        np.testing.assert_allclose(exact, jconv.conv(x, kernel, groups=3), atol=1e-4)

    def test_a_traced_kernel_is_refused_unless_a_rank_is_asked_for(self, rng):
        x, kernel = jnp.ones((1, 9, 9, 3)), separable_kernel(rng)
        f = jax.jit(lambda k, a: jconv.conv(x, k, groups=3, algorithm=a), static_argnums=1)
        with pytest.raises(ValueError, match=r"not known while it is traced.*Separable\(rank=1\)"):
            f(kernel, "separable")
        f(kernel, jconv.Separable(rank=1))

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_a_narrow_kernel_is_of_rank_one_up_to_its_rounding(self, dtype, rng):
        x, kernel = jnp.ones((1, 9, 9, 3), dtype), separable_kernel(rng).astype(dtype)
        y = jconv.conv(x, kernel, groups=3, algorithm="separable")
        expected = jconv.conv(x, kernel, groups=3, algorithm="xla")
        np.testing.assert_allclose(y.astype(float), expected.astype(float), rtol=0.05, atol=0.1)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_a_kernel_that_is_not_finite(self, value, rng):
        x, kernel = jnp.ones((1, 9, 9, 3)), separable_kernel(rng).at[0, 0].set(value)
        with pytest.raises(ValueError, match="finite"):
            jconv.conv(x, kernel, groups=3, algorithm="separable")
        y = jconv.conv(x, kernel, groups=3, algorithm=jconv.Separable(rank=1))
        assert jnp.isnan(y).all()

    def test_a_kernel_of_no_channels(self):
        x, kernel = jnp.ones((1, 9, 9, 0)), jnp.ones((3, 3, 0, 2))
        np.testing.assert_array_equal(jconv.conv(x, kernel, algorithm="separable"), 0)

    @pytest.mark.parametrize("arg", [0, 1])
    @pytest.mark.parametrize("derivative", [jax.grad, jax.hessian])
    def test_derivatives_do_not_assume_the_kernels_rank(self, derivative, arg, rng):
        x, kernel = jnp.asarray(rng.normal(size=(1, 6, 6, 3)), jnp.float32), separable_kernel(rng)
        f = lambda algorithm: derivative(loss(algorithm, groups=3), arg)(x, kernel)
        np.testing.assert_allclose(f(jconv.Separable(rank=1)), f("xla"), atol=1e-4)

    def test_tangents_do_not_either(self, rng):
        x, kernel = jnp.asarray(rng.normal(size=(1, 6, 6, 3)), jnp.float32), separable_kernel(rng)
        dkernel = jnp.asarray(rng.normal(size=kernel.shape), jnp.float32)
        f = lambda a: jax.jvp(lambda k: loss(a, groups=3)(x, k), (kernel,), (dkernel,))[1]
        np.testing.assert_allclose(f(jconv.Separable(rank=1)), f("xla"), rtol=1e-4)

    def test_kernels_side_by_side_keep_their_own_ranks(self, rng):
        x = jnp.asarray(rng.normal(size=(1, 9, 9, 3)), jnp.float32)
        kernels = jnp.stack([separable_kernel(rng) for _ in range(4)])
        f = lambda a: jax.vmap(lambda k: jconv.conv(x, k, groups=3, algorithm=a))(kernels)
        np.testing.assert_allclose(f(jconv.Separable(rank=1)), f("xla"), atol=1e-4)

    def test_named_smoothing_kernels(self, rng):
        image = jnp.asarray(rng.normal(size=(1, 16, 16, 1)), jnp.float32)
        kernel = jnp.asarray(jconv.kernels.gaussian(7))[:, :, None, None]
        y = jconv.conv(image, kernel, algorithm="separable")
        np.testing.assert_allclose(y, jconv.conv(image, kernel), atol=1e-5)


def test_lenient_leaves_auto_alone():
    assert lenient("auto") == "auto" and lenient(jconv.FFT()) == WherePossible(jconv.FFT())
