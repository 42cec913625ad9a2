"""Plans, which set the algorithms of the forward pass and of both gradients."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.entries import ENTRIES
from jax.experimental.jet import jet

import jconv
from jconv.selection.plan import Preferred, preferred

X, KERNEL = (1, 8, 8, 3), (3, 3, 3, 2)


def used_algorithms(f, *args):
    """Return the algorithms in the jaxpr of `f`, in order."""
    lines = str(jax.make_jaxpr(f)(*args)).split("\n")
    return [line.split("=")[1].split("(")[0] for line in lines if line.strip().startswith("algo")]


def arrays(rng):
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in (X, KERNEL))


def loss(algorithm, **options):
    f = lambda x, k: jconv.conv(x, k, algorithm=algorithm, **options)
    return lambda x, k: jnp.sum(jnp.tanh(f(x, k)))


def test_plan_sets_the_algorithm_of_each_pass(rng):
    plan = jconv.Plan(forward="fft", input_gradient="phases", kernel_gradient=jconv.Im2col(2**20))
    x, kernel = arrays(rng)
    assert used_algorithms(jax.grad(loss(plan)), x, kernel) == ["FFT", "Phases"]
    assert used_algorithms(jax.grad(loss(plan), 1), x, kernel) == ["FFT", "Im2col"]
    expected = jax.hessian(loss("xla"), 1)(x, kernel)
    np.testing.assert_allclose(jax.hessian(loss(plan), 1)(x, kernel), expected, atol=1e-4)


def test_one_name_applies_to_all_passes_that_it_supports(rng):
    x, kernel = arrays(rng)
    assert used_algorithms(jax.grad(loss("direct"), (0, 1)), x, kernel) == ["Direct"] * 3
    # Winograd does not support a gradient with 9 taps on an axis, so "auto" replaces it.
    large_kernel = jnp.ones((9, 9, 3, 2))
    strided_loss = lambda algorithm: loss(algorithm, padding=[(0, 8), (0, 8)], stride=8)
    plan = jconv.Plan("xla", input_gradient=Preferred(jconv.Winograd()))
    assert used_algorithms(jax.grad(strided_loss(plan)), x, large_kernel)[0] == "Xla"
    expected = jax.grad(strided_loss("xla"))(x, large_kernel)
    actual = jax.grad(strided_loss(plan))(x, large_kernel)
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_algorithm_requested_by_name_is_not_replaced(rng):
    x, kernel = arrays(rng)
    plan = jconv.Plan("xla", kernel_gradient="winograd")
    assert used_algorithms(jax.grad(loss(plan), 1), x, kernel) == ["Xla", "Winograd"]
    integers = lambda x, k: jconv.conv(x, k, algorithm=jconv.Plan("fft"))
    with pytest.raises(ValueError, match="cannot, because its roots of unity are not exact in int"):
        integers(x.astype(int), kernel.astype(int))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(forward="fast"), "`forward` must be 'auto', one of"),
        (dict(input_gradient=3), "`input_gradient` must be 'auto', one of"),
        (dict(kernel_gradient="separable"), "`kernel_gradient` must be 'auto', one of"),
    ],
)
def test_error_names_the_pass(arguments, message):
    with pytest.raises(ValueError, match=message):
        jconv.Plan(**arguments)


def test_algorithm_that_is_not_hashable_is_refused():
    @dataclass
    class Mutable(jconv.extend.Algorithm):
        def solve(self, x, kernel, window, precision, dtype):
            return jconv.Direct().solve(x, kernel, window, precision, dtype)

        def cost(self, problem):
            return jconv.Direct().cost(problem)

    with pytest.raises(ValueError, match=r"`algorithm` must be hashable.*frozen=True"):
        jconv.conv(*map(jnp.ones, (X, KERNEL)), algorithm=Mutable())


@pytest.mark.parametrize("name", ENTRIES)
def test_taylor_series_match_repeated_derivatives(name, rng):
    """Compares `jet` with repeated forward-mode derivatives along a curve."""
    x, kernel = arrays(rng)
    f = lambda x, k: jnp.sum(jnp.sin(jconv.conv(x * x, k, algorithm=ENTRIES[name])))
    directions = [tuple(0.1 * a for a in arrays(rng)) for _ in range(3)]
    series = tuple(list(terms) for terms in zip(*directions, strict=True))
    y, terms = jax.jit(lambda *a: jet(f, a[:2], a[2:]))(x, kernel, *series)

    def along(t):
        scale = (t, t**2 / 2, t**3 / 6)
        moved = [a + sum(c * s for c, s in zip(scale, terms, strict=True))
                 for a, terms in zip((x, kernel), series, strict=True)]  # fmt: skip
        return f(*moved)

    expected = [along]
    for _ in range(3):
        expected.append(jax.jacfwd(expected[-1]))
    expected = [jax.jit(g)(0.0) for g in expected]
    np.testing.assert_allclose([y, *terms], expected, rtol=1e-3, atol=1e-2)


def test_preferred_does_not_wrap_auto():
    assert preferred("auto") == "auto" and preferred(jconv.FFT()) == Preferred(jconv.FFT())
