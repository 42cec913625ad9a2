"""Algorithms, cases and tolerances of the conformance tests."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES, VARIANTS
from jconv._core.geometry import make_window
from jconv._core.problem import Problem

ALL = {**ENTRIES, **VARIANTS}
# One case of each kind, for variants of an algorithm.
FEW = ("2d", "1d-causal", "depthwise", "depthwise-strided", "groups2", "everything", "3d-strided",
       "as-large-as-input", "empty-batch", "wide-groups")  # fmt: skip

# Unoptimized code computes the same sums and compiles in half the time, also in the full run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def algorithms_and_cases(cases, few=None, fast=None):
    """Parametrize a test by algorithm and case, and mark a part of the pairs as slow.

    Args:
      cases: all cases.
      few: names of the cases in the fast part; all if None. Variants run those that are in `FEW`.
      fast: names of the algorithms in the fast part; all if None.
    """
    quick = {case.name for case in cases} if few is None else set(few)
    return pytest.mark.parametrize(
        "algorithm, case",
        [
            pytest.param(
                algorithm,
                case,
                id=f"{algorithm}-{case}",
                marks=()
                if (fast is None or algorithm in fast)
                and case.name in (quick if algorithm in jconv.ALGORITHMS else quick & set(FEW))
                else pytest.mark.slow,
            )
            for algorithm in ALL
            for case in cases
        ],
    )


def draw(rng, case, count=()):
    """Draw an input and a kernel, or `count` of each along a new first axis."""
    shapes = ((*count, *case.x), (*count, *case.kernel))
    return tuple(rng.normal(size=shape).astype("float32") for shape in shapes)


def conv(case, algorithm):
    """Return `jconv.conv` of a case as a function of input and kernel."""
    return lambda x, kernel: jconv.conv(x, kernel, algorithm=ALL[algorithm], **case.options)


def by_definition(case, x, kernel):
    """Convolve by the definition, with the options of the case."""
    return conv_by_definition(x, kernel, **case.options)


def terms(case):
    """Count the products that are summed into one output."""
    return int(np.prod(case.kernel[:-1]))


def problem_of(case, dtype="float32"):
    """Return the case as the argument of `supports` and `error_bound`, with a border of zeros."""
    rank, groups = len(case.kernel) - 2, case.options.get("groups", 1)
    kept = ("stride", "padding", "dilation", "input_dilation")
    window = make_window(
        case.x[1:-1],
        case.kernel[:rank],
        **{name: value for name, value in case.options.items() if name in kept},
    )
    inputs, outputs = case.kernel[-2], case.kernel[-1] // groups
    return Problem(window, 1, case.x[0], groups, inputs, outputs, jnp.dtype(dtype))


def unsupported_reason(algorithm, case, dtype="float32"):
    """Return why the algorithm does not support the case, or None if it does."""
    value = ALL[algorithm]
    return None if value == "auto" else value.supports(problem_of(case, dtype))


def error_ratio(algorithm, case):
    """Return the largest ratio of the algorithm's error bounds to those of plain sums.

    The convolution and its two gradients are compared.
    """
    value, problem = ALL[algorithm], problem_of(case)
    if value == "auto":
        return 1.0
    window, ratios = problem.window, []
    for derived in (window, window.input_gradient(), window.kernel_gradient()):
        which = Problem(derived, *(problem.__dict__[name] for name in
                        ("pairs", "images", "groups", "inputs", "outputs", "dtype")))  # fmt: skip
        if math.prod(derived.output) and value.supports(which) is None:
            ratios.append(value.error_bound(which) / jconv.Xla().error_bound(which))
    return max(1.0, *ratios) if ratios else 1.0


def assert_close(actual, expected, terms, slack=1.0, eps=2**-23):
    """Check sums of `terms` products of normal numbers; `slack` scales the tolerance."""
    # Summing `terms` products of normal numbers errs by about sqrt(terms) roundings of
    # sqrt(terms); 16 of these leave room for the tails and for two sums in a row.
    actual = np.asarray(actual)
    assert actual.shape == expected.shape
    error = 16 * eps * slack
    np.testing.assert_allclose(actual, expected, rtol=error, atol=error * max(terms, 1))
