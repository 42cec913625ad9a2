"""The choice of an algorithm, its reason, and the programs that result from it."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.entries import on_a_cpu

import jconv
from jconv._core.geometry import make_window
from jconv._core.problem import Problem
from jconv.selection.select import select_algorithm


def problem(inputs=1, outputs=1, groups=8, images=4, taps=(3, 3), size=(14, 14)):
    window = make_window(size, taps, padding="SAME")
    return Problem(window, 1, images, groups, inputs, outputs, jnp.dtype("float32"))


def test_cpu_choice_is_the_algorithm_known_to_be_fastest():
    assert select_algorithm(problem(), "cpu").algorithm == "direct"
    dense = dict(inputs=128, outputs=128, groups=1, size=(28, 28))
    assert select_algorithm(problem(**dense), "cpu").algorithm == "winograd"
    large = problem(taps=(31, 31), size=(56, 56), groups=64)
    assert select_algorithm(large, "cpu").algorithm in ("fft", "overlap_add")


def test_unsupported_and_inaccurate_algorithms_are_excluded():
    whole = dataclasses.replace(problem(taps=(31, 31), size=(56, 56)), dtype=jnp.dtype("int32"))
    choice = select_algorithm(whole, "cpu")
    assert choice.algorithm not in ("fft", "overlap_add")
    assert {"fft", "winograd"} <= set(choice.excluded)
    few = problem(inputs=16, outputs=16, groups=1, taps=(5, 5), size=(28, 28))
    choice = select_algorithm(few, "cpu", tolerance=0.0)
    assert "winograd" in choice.excluded and "exceeds the tolerance" in choice.excluded["winograd"]
    assert choice.error_bound <= jconv.ALGORITHMS["xla"].error_bound(few)
    assert "winograd" not in [candidate.algorithm for candidate in choice.runners_up]


def test_choice_has_its_time_and_runners_up_in_order():
    choice = select_algorithm(problem(size=(56, 56), groups=64), "cpu")
    times = [candidate.seconds for candidate in choice.runners_up if candidate.seconds]
    assert choice.seconds == min([choice.seconds, *times]) and times == sorted(times)
    assert "predicted to take" in choice.reason and "ms" in choice.reason


def test_choose_accepts_shapes_and_covers_the_forward_pass_and_both_gradients():
    shapes, options = ((4, 57, 56, 32), (5, 3, 1, 32)), dict(groups=32, stride=2)
    x, kernel = (jnp.ones(shape) for shape in shapes)
    forward = jconv.choose(*shapes, **options)
    assert forward == jconv.choose(x, kernel, **options)
    assert forward.problem.window.stride == (2, 2) and forward.problem.window.taps == (5, 3)
    of_input = jconv.choose(*shapes, gradient="input", **options).problem.window
    assert of_input == forward.problem.window.input_gradient()
    of_kernel = jconv.choose(*shapes, gradient="kernel", **options).problem.window
    assert of_kernel == forward.problem.window.kernel_gradient()
    assert jconv.choose(*shapes, platform="gpu", **options).algorithm == "xla"


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(gradient="both"), "`gradient` must be None, for the forward pass, or one of"),
        (dict(gradient=np.zeros(2)), "`gradient` must be None, for the forward pass, or one of"),
        (dict(platform="abacus"), "`platform` must be None or one of"),
        (dict(stride=0), "`stride` must be"),
        (dict(x=5), "`x` must be an array or its shape"),
        (dict(kernel="HWIO"), "`kernel` must be an array or its shape"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_error_of_choose_names_the_argument(options, words):
    with pytest.raises(ValueError, match=words):
        jconv.choose(**{"x": (1, 8, 8, 3), "kernel": (3, 3, 3, 4)} | options)


@pytest.mark.parametrize("gradient, argument", [("input", 0), ("kernel", 1)])
@pytest.mark.parametrize(
    "dtypes, options",
    [
        (("float32", "float32"), dict(stride=2, groups=2, padding=[(1, 0), (2, 1)])),
        (("bfloat16", "bfloat16"), dict(input_dilation=(2, 1), preferred_element_type="float32")),
        (("float32", "float32"), dict(preferred_element_type="complex64", dilation=2)),
        (("complex64", "complex64"), dict(padding_mode="reflect")),
    ],
)
def test_problem_of_a_gradient_equals_that_of_the_differentiated_program(
    gradient, argument, dtypes, options
):
    x, kernel = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in zip([(2, 9, 8, 4), (3, 3, 2, 6)], dtypes, strict=True)
    )
    kernel = jax.ShapeDtypeStruct((3, 3, 4 // options.get("groups", 1), 6), dtypes[1])

    def derivative(*operands):
        f = lambda a: jconv.conv(*(a if i == argument else o for i, o in enumerate(operands)),
                                 **options)  # fmt: skip
        y, pull = jax.vjp(f, operands[argument])
        return pull(y)

    expected = jconv.inspect(derivative)(x, kernel).convolutions[-1].problem
    assert jconv.choose(x, kernel, gradient=gradient, **options).problem == expected


@pytest.mark.parametrize("platform", ["gpu", "tpu", "another"])
def test_xla_is_chosen_on_platforms_without_measurements(platform):
    choice = select_algorithm(problem(), platform)
    assert choice.algorithm == "xla" and platform in choice.reason


def convolutions(f, *args):
    return jax.jit(f).lower(*args).as_text().count("stablehlo.convolution")


@on_a_cpu
def test_auto_chooses_separately_for_forward_pass_and_gradients():
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


def convolutions_on_a_gpu(f, *arrays):
    """Return axes, window, group counts and shapes of the convolutions in StableHLO."""
    text = jax.export.export(jax.jit(f), platforms=["cuda"])(*arrays).mlir_module()
    return sorted(re.findall(r"stablehlo.convolution\([^)]*\) (.*?)(?: loc.*)?$", text, re.M))


@pytest.mark.parametrize(
    "kernel, options",
    [
        ((3, 3, 1, 8), dict(groups=8)),
        ((3, 3, 1, 8), dict(groups=8, stride=2)),
        ((5, 5, 2, 8), dict(groups=4, stride=2, dilation=2)),
        ((7, 7, 8, 4), dict(stride=2)),
        ((1, 1, 8, 4), dict(stride=2)),
    ],
)
def test_gradients_on_gpus_have_the_form_of_those_of_lax(kernel, options):
    x, kernel = jnp.ones((4, 15, 13, 8)), jnp.ones(kernel)
    groups = options.get("groups", 1)
    stride, dilation = ((options.get(name, 1),) * 2 for name in ("stride", "dilation"))
    of_lax = lambda x, kernel: jax.lax.conv_general_dilated(
        x, kernel, stride, "SAME", rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    ours, theirs = (
        convolutions_on_a_gpu(lambda x, k, f=f: jax.vjp(f, x, k)[1](f(x, k)), x, kernel)
        for f in (lambda x, k: jconv.conv(x, k, **options), of_lax)
    )
    assert len(ours) == 3
    if (
        groups > 1
    ):  # XLA recognises the input gradient as a plain convolution with any order of axes
        plain = lambda one: "batch_group_count = 1 " in one and "stride" not in one
        ours, theirs = ([one for one in forms if not plain(one)] for forms in (ours, theirs))
    assert ours == theirs


def test_error_of_an_invalid_cudnn_option():
    with pytest.raises(ValueError, match="`cudnn` must be True, False, or None.*cudnn='yes'"):
        jconv.Xla(cudnn="yes")


def test_pairs_are_groups_of_one_convolution_on_gpus():
    x, kernel = jnp.ones((5, 2, 9, 9, 4)), jnp.ones((5, 3, 3, 4, 8))
    (convolution,) = convolutions_on_a_gpu(jax.vmap(lambda x, k: jconv.conv(x, k)), x, kernel)
    assert "feature_group_count = 5 " in convolution


@pytest.mark.parametrize("algorithm", ["auto", "xla", "phases", "split"])
@pytest.mark.parametrize(
    "dtype, rank", [("int8", 2), ("int32", 2), ("float8_e5m2", 2), ("float32", 4)]
)
def test_cases_that_cudnn_does_not_support_are_lowered_without_a_convolution(
    dtype, rank, algorithm
):
    x, kernel = (
        jnp.ones((*end, *(3,) * rank, *last), dtype) for end, last in (((1,), (2,)), ((), (2, 2)))
    )
    f = lambda x, k: jconv.conv(x, k, algorithm=algorithm)
    assert not convolutions_on_a_gpu(f, x, kernel)
    assert convolutions_on_a_gpu(f, *(jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2, 2))))


@pytest.mark.parametrize("name, algorithm", jconv.ALGORITHMS.items())
def test_costs_and_bounds_grow_with_the_problem(name, algorithm):
    small, large = problem(inputs=4, groups=1), problem(inputs=64, groups=1)
    assert 4 * algorithm.cost(small).flops < algorithm.cost(large).flops
    assert algorithm.cost(small).bytes < algorithm.cost(large).bytes
    assert algorithm.error_bound(large) > algorithm.error_bound(small) > 0


@pytest.mark.parametrize("name", ["xla", "direct", "im2col"])
def test_direct_sums_cost_two_flops_per_term(name):
    algorithm = jconv.ALGORITHMS[name]
    assert algorithm.cost(problem(inputs=4, groups=1)).flops == 2 * 4 * 14 * 14 * 9 * 4


def test_bytes_follow_the_dtypes_of_operands_and_result():
    of = dataclasses.replace(problem(), dtype=jnp.dtype("bfloat16"))
    x, kernel, y = of.sizes
    assert of.bytes == 2 * (x + kernel + y)
    assert dataclasses.replace(of, result=jnp.dtype("float32")).bytes == 2 * (x + kernel) + 4 * y


def test_error_bound_of_integers_is_zero():
    whole = dataclasses.replace(problem(), dtype=jnp.dtype("int32"))
    assert jconv.Direct().error_bound(whole) == 0
    narrowed = dataclasses.replace(problem(), result=jnp.dtype("bfloat16"))
    assert jconv.Direct().error_bound(narrowed) > 100 * jconv.Direct().error_bound(problem())
