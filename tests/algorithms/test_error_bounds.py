"""The `error_bound` and the workspace of each algorithm against measured errors and memory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import USER_OPTIONS
from helpers.entries import ENTRIES

import jconv
from jconv._core.geometry import make_window
from jconv._core.problem import Problem

ALGORITHMS = {name: value for name, value in ENTRIES.items() if name != "auto"}
ALGORITHMS |= {"winograd-f2": jconv.Winograd(tile=2), "winograd-f6": jconv.Winograd(tile=6)}
ALGORITHMS |= {"overlap_add": jconv.OverlapAdd(length=16)}
# (pixels, taps, input and output channels): from 9 to 400 terms in a sum.
SIZES = [(12, 3, 1, 2), (12, 3, 4, 4), (24, 3, 16, 8), (16, 5, 4, 4), (20, 7, 2, 2), (28, 5, 16, 8)]
DTYPES = ["float32", "bfloat16", "float16"]


def valid_by_definition(x, kernel):
    """Convolve by a sum over taps in float64."""
    (rows, columns), (height, width) = kernel.shape[:2], x.shape[1:3]
    out = (height - rows + 1, width - columns + 1)
    return sum(
        np.einsum("nhwc,cf->nhwf", x[:, a : a + out[0], b : b + out[1]], kernel[a, b])
        for a in range(rows)
        for b in range(columns)
    )


def inputs(rng, pixels, taps, into, out, dtype):
    """Draw random arrays, and arrays whose rounding errors are large."""
    x = rng.normal(size=(2, pixels, pixels, into))
    kernel = rng.normal(size=(taps, taps, into, out))
    spike = x.copy()
    spike[0, 5, 5, 0] = 1e6 if dtype != "float16" else 1e3
    balanced = kernel - kernel.mean((0, 1, 2), keepdims=True)
    a, b = rng.uniform(0.1, 1, 2)
    return {
        "random": (x, kernel),
        "positive": (abs(x), abs(kernel)),
        "a spike of 1e6": (spike, kernel),
        "sums that cancel": (np.full_like(x, 3.3), balanced),
        "equal": (np.full_like(x, a), np.full_like(kernel, b)),
        "equal thirds": (np.full_like(x, 1 / 3), np.full_like(kernel, 0.7)),
    }


@pytest.mark.parametrize(
    "size, dtype",
    [
        pytest.param(
            size, dtype, marks=() if dtype == "float32" or size in SIZES[:2] else pytest.mark.slow
        )
        for size in SIZES
        for dtype in DTYPES
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_error_bounds_hold_and_are_within_100_times_the_measured_error(name, size, dtype, rng):
    pixels, taps, into, out = size
    algorithm, window = ALGORITHMS[name], make_window((pixels,) * 2, (taps,) * 2, padding="VALID")
    problem = Problem(window, 1, 2, 1, into, out, jnp.dtype(dtype))
    bound = algorithm.error_bound(problem)
    run = jax.jit(
        lambda x, kernel: algorithm(x[None, ..., None, :], kernel[None, :, :, None], window)
    )
    for kind, arrays in inputs(rng, *size, dtype).items():
        x, kernel = (jnp.asarray(a, dtype) for a in arrays)
        y = np.asarray(run(x, kernel)[0, ..., 0, :], float)
        x, kernel = np.asarray(x, float), np.asarray(kernel, float)
        error = abs(y - valid_by_definition(x, kernel)).max((0, 1, 2))
        error = error / valid_by_definition(abs(x), abs(kernel)).max((0, 1, 2))
        assert error.max() <= bound, kind
        if kind == "random":
            assert bound <= 100 * error.max()


QUICK = ("31x31", "strided", "grouped")


def problems():
    """Yield the problems of known layers and of their gradients."""
    layers = {
        "31x31 depthwise": ((1, 56, 56, 64), (31, 31, 1, 64), dict(groups=64)),
        "31x31": ((1, 64, 64, 4), (31, 31, 4, 8), {}),
        "3x3": ((2, 28, 28, 64), (3, 3, 64, 64), {}),
        "5x5 of an image": ((1, 112, 112, 3), (5, 5, 3, 64), {}),
        "strided": ((2, 56, 56, 32), (3, 3, 32, 32), dict(stride=2)),
        "transposed": ((2, 16, 16, 64), (4, 4, 64, 32), dict(input_dilation=2, padding=2)),
        "dilated": ((2, 28, 28, 32), (3, 3, 32, 32), dict(dilation=4)),
        "1-D": ((1, 16384, 1), (1023, 1, 1), {}),
        "3-D": ((1, 16, 32, 32, 4), (3, 3, 3, 4, 8), {}),
        "3x3 depthwise": ((2, 56, 56, 64), (3, 3, 1, 64), dict(groups=64)),
        "grouped": ((2, 28, 28, 64), (3, 3, 16, 64), dict(groups=4)),
    }
    for name, (x, kernel, options) in layers.items():
        groups = options.pop("groups", 1)
        forward = make_window(x[1:-1], kernel[:-2], **options)
        into, out = kernel[-2], kernel[-1] // groups
        kinds = {
            "forward": (forward, x[0], into, out),
            "input gradient": (forward.input_gradient(), x[0], out, into),
            "kernel gradient": (forward.kernel_gradient(), into, x[0], out),
        }
        for kind, (window, images, inputs, outputs) in kinds.items():
            problem = Problem(window, 1, images, groups, inputs, outputs, jnp.dtype("float32"))
            marks = () if name in QUICK else pytest.mark.slow
            yield pytest.param(problem, id=f"{name}, {kind}", marks=marks)


CUBLAS = 32 * 2**20  # bytes that XLA keeps for cuBLAS in programs with a product of matrices


def compiled(algorithm, p):
    x = jax.ShapeDtypeStruct((1, p.images, *p.window.input, p.groups, p.inputs), p.dtype)
    kernel = jax.ShapeDtypeStruct((1, *p.window.taps, p.groups, p.inputs, p.outputs), p.dtype)
    lowered = jax.jit(lambda x, kernel: algorithm(x, kernel, p.window)).lower(x, kernel)
    return lowered.compile(USER_OPTIONS)


@pytest.mark.parametrize("problem", list(problems()))
@pytest.mark.parametrize("name", jconv.ALGORITHMS)
def test_programs_are_small_and_use_at_most_the_stated_workspace(name, problem):
    algorithm = jconv.ALGORITHMS[name]
    if reason := algorithm.supports(problem):
        pytest.skip(f"{name} does not support it: {reason}")
    program = compiled(algorithm, problem)
    memory = program.memory_analysis().temp_size_in_bytes
    if jax.default_backend() == "gpu":
        memory -= CUBLAS
    assert memory <= algorithm.cost(problem).workspace
    instructions = len(re.findall(r"^\s+(?:ROOT )?%?[\w.-]+ = ", program.as_text(), re.M))
    if 31 in problem.window.taps or 31 in problem.window.output:
        assert instructions <= 200


@pytest.mark.parametrize("name", ["im2col", "overlap_add"])
def test_workspace_does_not_grow_with_the_input(name):
    """Copies of the input and the output do not count."""
    memory = []
    for rows in (256, 1024):
        window = make_window((rows, 256), (15, 15))
        problem = Problem(window, 1, 1, 1, 4, 4, jnp.dtype("float32"))
        program = compiled(jconv.ALGORITHMS[name], problem)
        memory.append(program.memory_analysis().temp_size_in_bytes - 3 * problem.bytes)
    assert max(memory) < 200 * 2**20 and memory[1] < 1.2 * max(memory[0], 2**26)
