import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv.algorithms.algorithm import Problem
from jconv.selection import choose
from jconv.window import make_window


def problem(inputs=1, outputs=1, groups=8, images=4, taps=(3, 3), size=(14, 14)):
    window = make_window(size, taps, padding="SAME")
    return Problem(window, 1, images, groups, inputs, outputs, jnp.dtype("float32"))


def test_depthwise_is_direct_on_cpu_and_dense_is_xla():
    assert choose(problem(), "cpu").algorithm == "direct"
    assert choose(problem(inputs=16, outputs=16, groups=1), "cpu").algorithm == "xla"
    assert choose(problem(taps=(31, 31)), "cpu").algorithm == "xla"


@pytest.mark.parametrize("platform", ["gpu", "tpu", "another"])
def test_what_was_not_measured_is_left_to_xla(platform):
    choice = choose(problem(), platform)
    assert choice.algorithm == "xla" and platform in choice.reason


def convolutions(f, *args):
    return jax.jit(f).lower(*args).as_text().count("stablehlo.convolution")


def test_auto_lowers_each_of_the_three_convolutions_to_its_own_choice():
    x, kernel = jnp.ones((4, 14, 14, 8)), jnp.ones((3, 3, 1, 8))
    depthwise = lambda x, k: jconv.conv(x, k, groups=8).sum()
    dense = lambda x, k: jconv.conv(x, k).sum()
    assert convolutions(jax.value_and_grad(depthwise, (0, 1)), x, kernel) == 0
    assert convolutions(jax.value_and_grad(dense, (0, 1)), x, jnp.ones((3, 3, 8, 8))) >= 2


def test_auto_is_lowered_for_the_platform_that_will_run_it():
    x, kernel = jnp.ones((4, 14, 14, 8)), jnp.ones((3, 3, 1, 8))
    f = jax.jit(lambda x, k: jconv.conv(x, k, groups=8))
    on = lambda platform: jax.export.export(f, platforms=[platform])(x, kernel).mlir_module()
    assert "stablehlo.convolution" not in on("cpu")
    assert "stablehlo.convolution" in on("cuda")


@pytest.mark.parametrize("name", jconv.ALGORITHMS)
def test_costs_and_bounds_grow_with_the_problem(name):
    algorithm = jconv.ALGORITHMS[name]
    small, large = problem(inputs=4, groups=1), problem(inputs=8, groups=1)
    assert algorithm.supports(small) is None
    assert algorithm.cost(large).flops == 2 * algorithm.cost(small).flops
    assert algorithm.cost(small).flops == 2 * 4 * 14 * 14 * 9 * 4
    assert algorithm.error_bound(large) > algorithm.error_bound(small) > 0


@pytest.mark.parametrize("name", jconv.ALGORITHMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_error_bounds_hold(name, dtype, rng):
    x = jnp.asarray(rng.normal(size=(1, 14, 14, 32)), dtype)
    kernel = jnp.asarray(rng.normal(size=(5, 5, 32, 4)), dtype)
    wide = lambda a: np.asarray(a, np.float64)
    from definition import conv_by_definition

    exact = conv_by_definition(wide(x), wide(kernel))
    y = wide(jconv.conv(x, kernel, algorithm=name))
    scale = np.abs(wide(x)).max() * np.abs(wide(kernel)).sum(axis=(0, 1, 2)).max()
    bound = jconv.ALGORITHMS[name].error_bound(
        Problem(make_window((14, 14), (5, 5)), 1, 1, 1, 32, 4, jnp.dtype(dtype))
    )
    assert 0 < np.abs(y - exact).max() <= bound * scale
