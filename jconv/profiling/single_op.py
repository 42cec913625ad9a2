"""The time of one algorithm on one convolution, with operands laid out as in a program."""

from __future__ import annotations

import statistics

import jax
import jax.numpy as jnp
import numpy as np

from jconv._core.problem import Problem
from jconv.algorithms import Algorithm
from jconv.profiling.timing import Call, time_interleaved


def random_operands(problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Return an input and a kernel for a problem, standard normal with a fixed seed.

    In a program, the operands of a kernel gradient have the layouts of the input and of the
    cotangent of the output, with the images first. They have the same layouts here, so that the
    time for rearranging them is measured too.
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


def jitted_call(algorithm: Algorithm, problem: Problem, x: jax.Array, kernel: jax.Array) -> Call:
    """Return a jitted call on `random_operands`, which waits for its result."""
    images_first = problem.is_kernel_gradient

    @jax.jit
    def run(x, kernel):
        if images_first:
            x, kernel = jnp.swapaxes(x, 1, -1), jnp.moveaxis(kernel, 1, -2)
        y = algorithm(x, kernel, problem.window, preferred_element_type=problem.result)
        return jnp.moveaxis(y, 1, -2) if images_first else y

    return lambda: jax.block_until_ready(run(x, kernel))


def measure_seconds(algorithm: Algorithm, problem: Problem, *, budget: float = 0.2) -> float:
    """Return the median time of one call on the default device, in seconds.

    Args:
      algorithm: the algorithm; it must support the problem.
      problem: the convolution; all its sizes must be known.
      budget: seconds for all measurements.
    """
    call = jitted_call(algorithm, problem, *random_operands(problem))
    call()  # compiles
    return statistics.median(time_interleaved({"": call}, budget=budget, rounds=(3, 15))[""])
