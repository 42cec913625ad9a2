"""Which functions act on each number by itself."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal, jaxprs_in_params

from jconv._core.jaxpr import shape_of

NUMBERWISE = frozenset(
    """
    abs acos acosh add and asin asinh atan atanh cbrt ceil clamp convert_element_type copy
    copy_p cos cosh custom_jvp_call custom_vjp_call digamma div eq erf erf_inv erfc exp exp2
    expm1 floor ge gt integer_pow is_finite jit le lgamma log log1p logistic lt max min mul ne
    neg not or pjit pow rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan
    tanh xor
    """.split()  # noqa: SIM905, a list of words
)


def is_elementwise(function: Callable) -> bool:
    """Whether what comes out at a place depends on what goes in at this place alone, and in the
    same way everywhere; told from the function's program."""
    program = _program(function)
    return program is not None and _is_numberwise(program)


def is_identity(function: Callable) -> bool:
    """Whether a function gives back what it is given."""
    program = _program(function)
    return program is not None and not program.eqns and program.outvars == program.invars


def _program(function: Callable) -> Jaxpr | None:
    """From one array to one of its shape; None where it is no such function."""
    x = jax.ShapeDtypeStruct((2, 3, 4, 5), jnp.float32)
    try:
        program = jax.make_jaxpr(function)(x)
    except Exception:  # whatever a stranger's function raises, it is not known to be elementwise
        return None
    shapes = [getattr(aval, "shape", None) for aval in program.out_avals]
    return program.jaxpr if shapes == [x.shape] else None


def _is_numberwise(jaxpr: Jaxpr) -> bool:
    """No constant is an array, and no equation moves a number to another place."""
    if any(shape_of(variable) for variable in jaxpr.constvars):
        return False
    for eqn in jaxpr.eqns:
        shaped = [v for v in eqn.invars if not isinstance(v, Literal) and shape_of(v)]
        if eqn.primitive.name == "broadcast_in_dim" and not shaped:
            continue  # of a number
        if eqn.primitive.name not in NUMBERWISE:
            return False
        if not all(map(_is_numberwise, jaxprs_in_params(eqn.params))):
            return False
    return True
