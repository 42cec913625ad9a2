"""The hooks in JAX: what they replace, what they pass on, and how they are undone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jconv
from jconv._core import interception
from jconv._core.interception import intercept_convolutions, without_interception

X, KERNEL = jnp.ones((1, 2, 5, 5)), jnp.ones((3, 2, 3, 3))


def convolve(x, kernel):
    return lax.conv(x, kernel, (1, 1), "SAME")


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A handler that multiplies each convolution by a factor; equal for equal factors."""

    factor: float

    def __call__(self, lhs, rhs, **params):
        with without_interception():
            return self.factor * lax.conv_general_dilated_p.bind(lhs, rhs, **params)


@pytest.fixture(autouse=True)
def no_hooks():
    """JAX without hooks before the test and after it, whatever other tests have run."""
    interception.uninstall()
    yield
    interception.uninstall()


def attributes():
    """The three attributes of JAX that the hooks replace."""
    wrappers = [vars(wrapper)["__call__"] for wrapper in (jax.custom_jvp, jax.custom_vjp)]
    return [vars(lax.conv_general_dilated_p).get("bind"), *wrappers]


def test_uninstall_restores_the_original_attributes():
    originals = attributes()
    assert originals[0] is None  # `bind` is a method of the class
    assert not interception.is_installed()
    jconv.accelerate(convolve)(X, KERNEL)
    assert interception.is_installed()
    assert all(now is not before for now, before in zip(attributes(), originals, strict=True))
    interception.uninstall()
    assert not interception.is_installed()
    assert all(now is before for now, before in zip(attributes(), originals, strict=True))


def test_accelerate_installs_the_hooks_again():
    fast = jconv.accelerate(convolve)
    for _ in range(2):
        assert "jconv_conv[" in str(jax.make_jaxpr(fast)(X, KERNEL))
        interception.uninstall()
        assert "jconv_conv[" not in str(jax.make_jaxpr(convolve)(X, KERNEL))


def test_install_twice_wraps_the_attributes_once():
    interception.install()
    once = attributes()
    interception.install()
    assert attributes() == once


def test_importing_and_convolving_leaves_jax_as_it_is():
    jconv.conv(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 3)))
    assert not interception.is_installed()


def test_a_handler_computes_the_convolution_or_leaves_it_to_lax():
    expected = convolve(X, KERNEL)
    with intercept_convolutions(Scaled(3.0)):
        np.testing.assert_allclose(convolve(X, KERNEL), 3 * expected)
        with without_interception():
            np.testing.assert_array_equal(convolve(X, KERNEL), expected)
        with intercept_convolutions(lambda lhs, rhs, **params: None):
            np.testing.assert_array_equal(convolve(X, KERNEL), expected)
    np.testing.assert_array_equal(convolve(X, KERNEL), expected)


def test_jitted_functions_are_traced_once_for_each_handler():
    traces = []

    @jax.jit
    def jitted(x, kernel):
        traces.append(None)
        return convolve(x, kernel)

    expected = convolve(X, KERNEL)
    for factor in (None, 2.0, 3.0, 2.0, None, 3.0):
        if factor is None:
            np.testing.assert_allclose(jitted(X, KERNEL), expected)
        else:
            with intercept_convolutions(Scaled(factor)):
                np.testing.assert_allclose(jitted(X, KERNEL), factor * expected)
    assert len(traces) == 3


def test_deferred_rules_keep_the_handler_of_the_call():
    @jax.custom_vjp
    def wrapped(x):
        return convolve(x, KERNEL)

    wrapped.defvjp(
        lambda x: (convolve(x, KERNEL), x),
        lambda x, y_bar: (jnp.full_like(x, convolve(x, KERNEL).sum()),),
    )

    def within(x):
        with intercept_convolutions(Scaled(3.0)):
            return wrapped(x)

    expected = convolve(X, KERNEL).sum()
    pulled = jax.jit(jax.grad(lambda x: jax.jit(within)(x).sum()))(X)
    np.testing.assert_allclose(pulled, jnp.full_like(X, 3 * expected))
    plain = jax.grad(lambda x: wrapped(x).sum())(X)  # the function itself was not changed
    np.testing.assert_allclose(plain, jnp.full_like(X, expected))


def test_uninstall_refuses_inside_accelerated():
    with jconv.accelerated(), pytest.raises(RuntimeError, match="outside of `jconv.accelerated"):
        interception.uninstall()
    assert interception.is_installed()


def test_uninstall_refuses_to_drop_the_hook_of_another_library(monkeypatch):
    interception.install()
    hook = jax.custom_jvp.__call__
    with monkeypatch.context() as patch:
        patch.setattr(jax.custom_jvp, "__call__", lambda *args, **kwargs: hook(*args, **kwargs))
        with pytest.raises(RuntimeError, match="another library has replaced"):
            interception.uninstall()
        assert interception.is_installed()
    interception.uninstall()
