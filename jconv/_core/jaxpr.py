"""Reading traced programs: their multiply-adds, and whether they act on each number alone."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, JaxprEqn, Literal, jaxprs_in_params

from jconv._core.problem import Problem

CONV_PRIMITIVE_NAME = "jconv_conv"  # of the primitive in `jconv.functional.primitive`


def multiply_adds(jaxpr: Jaxpr) -> int:
    """Count the products that a program sums, in convolutions and matrix products.

    The count follows the convention for networks: padding costs as much as pixels; biases, pooling
    and activations cost nothing. A `scan` costs its body times its length, a `cond` its most
    expensive branch, a `while` one iteration.
    """
    return sum(map(of_equation, jaxpr.eqns))


def of_equation(eqn: JaxprEqn) -> int:
    """Count the products that one equation sums."""
    match eqn.primitive.name:
        case name if name == CONV_PRIMITIVE_NAME:
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
    """Return the shape of a variable of a program."""
    return variable.aval.shape


# Primitives that compute each element of the output from the input elements at the same index.
ELEMENTWISE_PRIMITIVES = frozenset(
    """
    abs acos acosh add and asin asinh atan atanh cbrt ceil clamp convert_element_type copy
    copy_p cos cosh custom_jvp_call custom_vjp_call digamma div eq erf erf_inv erfc exp exp2
    expm1 floor ge gt integer_pow is_finite jit le lgamma log log1p logistic lt max min mul ne
    neg not or pjit pow rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan
    tanh xor
    """.split()  # noqa: SIM905, one word per primitive is easier to read than quoted strings
)


def is_elementwise(function: Callable) -> bool:
    """Return whether a function applies one scalar function to every element of an array.

    The function is traced, not run. It counts as elementwise if its jaxpr contains elementwise
    primitives and scalar constants only.
    """
    jaxpr = _trace_on_one_array(function)
    return jaxpr is not None and _has_elementwise_primitives_only(jaxpr)


def is_identity(function: Callable) -> bool:
    """Return whether a function returns its argument unchanged."""
    jaxpr = _trace_on_one_array(function)
    return jaxpr is not None and not jaxpr.eqns and jaxpr.outvars == jaxpr.invars


def _trace_on_one_array(function: Callable) -> Jaxpr | None:
    """Return the jaxpr of a function from one array to one of the same shape, else None."""
    x = jax.ShapeDtypeStruct((2, 3, 4, 5), jnp.float32)
    try:
        closed_jaxpr = jax.make_jaxpr(function)(x)
    except Exception:  # A function that cannot be traced is not known to be elementwise.
        return None
    shapes = [getattr(aval, "shape", None) for aval in closed_jaxpr.out_avals]
    return closed_jaxpr.jaxpr if shapes == [x.shape] else None


def _has_elementwise_primitives_only(jaxpr: Jaxpr) -> bool:
    # A constant array could hold another value for each element.
    if any(shape_of(variable) for variable in jaxpr.constvars):
        return False
    for eqn in jaxpr.eqns:
        arrays = [v for v in eqn.invars if not isinstance(v, Literal) and shape_of(v)]
        if eqn.primitive.name == "broadcast_in_dim" and not arrays:
            continue  # Broadcasting a scalar gives every element the same value.
        if eqn.primitive.name not in ELEMENTWISE_PRIMITIVES:
            return False
        if not all(map(_has_elementwise_primitives_only, jaxprs_in_params(eqn.params))):
            return False
    return True
