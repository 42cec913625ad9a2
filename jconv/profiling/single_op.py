"""One algorithm alone on one convolution, its operands lying as they do in a program."""

from __future__ import annotations

import statistics

import jax
import jax.numpy as jnp
import numpy as np

from jconv._core.problem import Problem
from jconv.algorithms import Algorithm
from jconv.profiling.timing import Call, interleaved


def arrays(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Normal numbers as input and kernel.

    In a program a kernel gradient's operands lie as the input and the output's cotangent do,
    images first, and so do they here: what it takes to bring them in order counts.
    """
    rng = np.random.default_rng(0)
    window = problem.window
    shapes = (
        (problem.pairs, problem.images, *window.input, problem.groups, problem.inputs),
        (problem.pairs, *window.taps, problem.groups, problem.inputs, problem.outputs),
    )
    x, kernel = (jnp.asarray(rng.normal(size=s), problem.dtype) for s in shapes)
    if problem.is_kernel_gradient:
        return jnp.swapaxes(x, 1, -1), jnp.moveaxis(kernel, -2, 1)
    return x, kernel


def call_of(algorithm: Algorithm, problem: Problem, x: jax.Array, kernel: jax.Array) -> Call:
    """A jitted call on what `arrays` returned, which waits for its result."""
    turned = problem.is_kernel_gradient

    @jax.jit
    def run(x, kernel):
        if turned:
            x, kernel = jnp.swapaxes(x, 1, -1), jnp.moveaxis(kernel, 1, -2)
        y = algorithm(x, kernel, problem.window, preferred_element_type=problem.result)
        return jnp.moveaxis(y, 1, -2) if turned else y

    return lambda: jax.block_until_ready(run(x, kernel))


def seconds_alone(algorithm: Algorithm, problem: Problem, *, budget: float = 0.2) -> float:
    """Of one call on the default device, the median."""
    call = call_of(algorithm, problem, *arrays(problem))
    call()  # compiles
    return statistics.median(interleaved({"": call}, budget=budget, rounds=(3, 15))[""])
