"""Multiply-adds, counted on a traced program."""

import math

from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params

from jconv._core.problem import Problem
from jconv.functional.primitive import conv_p


def multiply_adds(jaxpr: Jaxpr) -> int:
    """Products that a program sums, in convolutions and matrix products.

    As networks are usually counted: padding costs what pixels cost; biases, pooling and
    activations cost nothing. A `scan` costs its body times its length, a `cond` its dearest
    branch, a `while` one turn.
    """
    return sum(map(of_equation, jaxpr.eqns))


def of_equation(eqn: JaxprEqn) -> int:
    """Products that one equation sums."""
    match eqn.primitive.name:
        case conv_p.name:
            x, kernel = (variable.aval for variable in eqn.invars)
            return Problem.of(x, kernel, eqn.params["window"]).multiply_adds
        case "conv_general_dilated":
            kernel, outputs = shape_of(eqn.invars[1]), eqn.params["dimension_numbers"].rhs_spec[0]
            per_output = math.prod(kernel) // kernel[outputs] if kernel[outputs] else 0
            return math.prod(shape_of(eqn.outvars[0])) * per_output
        case "dot_general":
            x, ((contracted, _), _) = shape_of(eqn.invars[0]), eqn.params["dimension_numbers"]
            return math.prod((*shape_of(eqn.outvars[0]), *(x[axis] for axis in contracted)))
        case "cond":
            return max(multiply_adds(branch.jaxpr) for branch in eqn.params["branches"])
    times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
    return times * sum(map(multiply_adds, jaxprs_in_params(eqn.params)))


def shape_of(variable) -> tuple[int, ...]:
    """The shape of a variable of a program."""
    return variable.aval.shape
