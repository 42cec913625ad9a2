"""Lists the convolutions of a JAX function: position, cost, algorithm, and the reason for it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jconv._core.jaxpr import shape_of
from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS, Algorithm
from jconv.functional.primitive import conv_p
from jconv.profiling.single_op import measure_seconds
from jconv.selection.plan import Plan
from jconv.selection.select import estimated_seconds, select_algorithm
from jconv.transforms.accelerate import accelerated
from jconv.transforms.inspection import CallSite, Convolution, Inspection
from jconv.transforms.source_info import is_transposed, named_scopes, source_position


def inspect(
    fn: Callable[..., Any], *, algorithm: str | Algorithm | Plan = "auto", timed: bool = False
) -> Callable[..., Inspection]:
    """Return a function that lists the convolutions of `fn` without running it.

    Args:
      fn: any JAX function, such as a model or a training step.
      algorithm: the algorithm for convolutions of `lax`, as in `jconv.accelerate`.
      timed: measure each distinct convolution on random numbers, on the default device. If False,
        `seconds` are predicted.

    Returns:
      A function that takes the arguments of `fn`, or `jax.ShapeDtypeStruct` for its arrays, and
      returns an `Inspection`, which prints as a table. Convolutions of `lax` are listed as
      `jconv.accelerate` would compute them.

    Raises:
      ValueError: if `fn` is not callable, or `algorithm` is not an algorithm.

    >>> square = lambda x: jax.lax.conv(x, x, (1, 1), "SAME")
    >>> inspection = inspect(square, algorithm="xla")(jnp.ones((3, 3, 5, 5)))
    >>> [(c.algorithm, c.multiply_adds) for c in inspection.convolutions]
    [('xla', 16875)]
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be a function. Received: fn={fn!r}.")

    @functools.wraps(fn)
    def inspected(*args, **kwargs) -> Inspection:
        with accelerated(algorithm):
            jaxpr = _trace(fn, args, kwargs)
        platform = jax.default_backend()
        measure = functools.cache(measure_seconds) if timed else None
        equations = _conv_equations(jaxpr, CallSite(), itertools.count())
        return Inspection([_describe(eqn, site, platform, measure) for eqn, site in equations])

    return inspected


def _trace(fn: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Jaxpr:
    """Trace a call of `fn`, whose arguments and outputs need not all be arrays."""
    # `fn` is flattened too: Flax allows a model to change only in the trace that it was made in.
    leaves, tree = jax.tree.flatten((fn, args, kwargs))
    # Arrays in `fn` are not traced, because a model may read their values.
    of_fn = len(jax.tree.leaves(fn))
    traced = [
        i
        for i, leaf in enumerate(leaves)
        if isinstance(leaf, jax.ShapeDtypeStruct) or (i >= of_fn and _is_array(leaf))
    ]

    def array_outputs(arrays):
        inputs = list(leaves)
        for i, array in zip(traced, arrays, strict=True):
            inputs[i] = array
        fn, args, kwargs = jax.tree.unflatten(tree, inputs)
        return [leaf for leaf in jax.tree.leaves(fn(*args, **kwargs)) if _is_array(leaf)]

    return jax.make_jaxpr(array_outputs)([leaves[i] for i in traced]).jaxpr


def _is_array(leaf) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) or hasattr(leaf, "__array__")


def _conv_equations(
    jaxpr: Jaxpr, outer: CallSite, conds: Iterator[int]
) -> Iterator[tuple[JaxprEqn, CallSite]]:
    """Yield the convolutions of a program at any depth, each with its position."""
    for eqn in jaxpr.eqns:
        # JAX traces a function once for several callers and keeps the position of none of them:
        # the position of the equation around it is used then.
        site = replace(
            outer,
            source=source_position(eqn) or outer.source,
            scope=(*outer.scope, *named_scopes(eqn)),
            is_gradient=outer.is_gradient or is_transposed(eqn),
        )
        if eqn.primitive is conv_p:
            yield eqn, site
        length = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        inside = replace(site, runs=site.runs * length)
        cond = next(conds) if eqn.primitive.name == "cond" else None
        for i, inner in enumerate(jaxprs_in_params(eqn.params)):
            branches = inside.branches if cond is None else (*inside.branches, (cond, i))
            yield from _conv_equations(inner, replace(inside, branches=branches), conds)


def _describe(
    eqn: JaxprEqn, site: CallSite, platform: str, measure: Callable[..., float] | None
) -> Convolution:
    x, kernel = (variable.aval for variable in eqn.invars)
    requested = eqn.params["algorithm"]
    result = jnp.dtype(eqn.params["preferred_element_type"])
    problem = Problem.of(x, kernel, eqn.params["window"], result)
    if requested == "auto":
        choice = select_algorithm(problem, platform, eqn.params["selector"].tolerance)
        algorithm, reason, seconds = choice.algorithm, choice.reason, choice.seconds
        value = ALGORITHMS[algorithm]
    else:
        algorithm = next((n for n, a in ALGORITHMS.items() if a == requested), repr(requested))
        value, reason = requested, "requested"
        seconds = estimated_seconds(problem, platform)[0].get(algorithm)
    if measure and not any(problem.symbolic) and not problem.is_empty:
        seconds = measure(value, problem)
    return Convolution(
        site=site,
        x=shape_of(eqn.invars[0]),
        kernel=shape_of(eqn.invars[1]),
        problem=problem,
        algorithm=algorithm,
        value=value,
        reason=reason,
        seconds=seconds,
    )
