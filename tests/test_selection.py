import dataclasses

import jax
import jax.numpy as jnp
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


@pytest.mark.parametrize("name, algorithm", jconv.ALGORITHMS.items())
def test_costs_and_bounds_grow_with_the_problem(name, algorithm):
    small, large = problem(inputs=4, groups=1), problem(inputs=64, groups=1)
    assert 4 * algorithm.cost(small).flops < algorithm.cost(large).flops
    assert algorithm.cost(small).bytes < algorithm.cost(large).bytes
    assert algorithm.error_bound(large) > algorithm.error_bound(small) > 0


@pytest.mark.parametrize("name", ["xla", "direct", "im2col"])
def test_sums_cost_two_operations_a_term(name):
    algorithm = jconv.ALGORITHMS[name]
    assert algorithm.cost(problem(inputs=4, groups=1)).flops == 2 * 4 * 14 * 14 * 9 * 4


def test_whole_numbers_are_exact():
    whole = dataclasses.replace(problem(), dtype=jnp.dtype("int32"))
    assert jconv.Direct().error_bound(whole) == 0
    narrowed = dataclasses.replace(problem(), result=jnp.dtype("bfloat16"))
    assert jconv.Direct().error_bound(narrowed) > 100 * jconv.Direct().error_bound(problem())
