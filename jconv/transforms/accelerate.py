"""Any JAX function with its convolutions ours: what someone else wrote, made fast by one line.

While `accelerated()` holds, what `lax.conv_general_dilated` would put into a program, jconv's
primitive puts there: at whatever depth, since JAX traces the bodies of `jit`, `scan`, `while_loop`,
`cond`, `checkpoint` and `shard_map` by calling them. Nothing else changes, so that gradients,
`vmap`, donation and state work as they did. JAX remembers what it traced under the context that it
was traced in, so that a function which was jitted before is traced anew, and again after.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive

from jconv.algorithms import Algorithm
from jconv.algorithms.xla_lowering import replacement
from jconv.functional.conv import conv_general_dilated
from jconv.selection.plan import Plan, lenient, resolve_plan

F = TypeVar("F", bound=Callable[..., Any])

lax_conv_p: Primitive = lax.conv_general_dilated_p

# Functions with rules of their own, which JAX may trace much later, when nothing is accelerated
# any more: that of a gradient of a jitted function, say; and the attributes that hold the rules.
LATER: tuple[Any, ...] = (jax.custom_vjp, jax.custom_jvp)
LATER_NAMES = ("fun", "fwd", "bwd", "jvp", "remat_rules")


@contextlib.contextmanager
def accelerated(algorithm: str | Algorithm | Plan = "auto") -> Iterator[None]:
    """All that is traced inside convolves by jconv where it would by `lax`.

    Args:
      algorithm: as in `jconv.conv`, for every convolution; one that a name or a value does not
        support is left to `"auto"`, while a `jconv.Plan` is held to.

    Raises:
      ValueError: for what is no algorithm.

    >>> with accelerated():
    ...     y = jax.jit(lambda x: lax.conv(x, x, (1, 1), "SAME"))(jax.numpy.ones((3, 3, 3, 3)))
    """
    plan = resolve_plan(algorithm)
    if not isinstance(algorithm, Plan):
        plan = Plan(lenient(plan.forward), plan.input_gradient, plan.kernel_gradient)
    _intercept()
    with replacement(plan):
        yield


def accelerate(fn: F, algorithm: str | Algorithm | Plan = "auto") -> F:
    """The same function, convolving by jconv where it convolved by `lax`.

    Args:
      fn: any function of JAX, also a jitted one, a layer or a model.
      algorithm: as in `accelerated`.

    Raises:
      ValueError: for an `fn` that cannot be called, or what is no algorithm.

    >>> fast = accelerate(lambda x: lax.conv(x, x, (1, 1), "SAME"))
    >>> str(jax.make_jaxpr(fast)(jax.numpy.ones((3, 3, 3, 3)))).count("jconv_conv[")
    1
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be a function. Received: fn={fn!r}.")
    resolve_plan(algorithm)

    @functools.wraps(fn)
    def accelerated_fn(*args, **kwargs):
        with accelerated(algorithm):
            return fn(*args, **kwargs)

    return accelerated_fn  # type: ignore[return-value]


@functools.cache
def _intercept() -> None:
    """Puts us before JAX, once: what is bound while no `replacement` is set goes on as before."""
    bind = lax_conv_p.bind

    def bind_ours(lhs, rhs, **params):
        plan = replacement.value
        if plan is None or not _can_do(lhs, rhs, **params):
            return bind(lhs, rhs, **params)
        return conv_general_dilated(lhs, rhs, **params, algorithm=plan)

    lax_conv_p.bind = bind_ours
    for wrapper in LATER:
        wrapper.__call__ = _called_within(wrapper.__call__)


def _can_do(lhs, rhs, *, padding, dimension_numbers, **_) -> bool:
    """Whether jconv can what `lax` can: numbers, in space, where all but the batch has a size."""
    if not all(jnp.issubdtype(operand.dtype, jnp.number) for operand in (lhs, rhs)):
        return False
    sizes = [n for axis, n in enumerate(lhs.shape) if axis != dimension_numbers.lhs_spec[0]]
    sizes += [*rhs.shape, *(side for pair in padding for side in pair)]
    return len(lhs.shape) > 2 and not any(map(jax.export.is_symbolic_dim, sizes))


def _called_within(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call of such a wrapper, with rules that are ours whenever JAX comes to trace them."""

    @functools.wraps(call)
    def call_ours(function, /, *args, **kwargs):
        plan = replacement.value
        return call(function if plan is None else _within(plan, function), *args, **kwargs)

    return call_ours


def _within(plan: Plan, function: Any) -> Any:
    """The same wrapped function, each of its functions traced while `replacement` is the plan."""
    ours = object.__new__(type(function))
    vars(ours).update(vars(function))
    for name in LATER_NAMES:
        if name in vars(ours):
            setattr(ours, name, _each_within(plan, vars(ours)[name]))
    return ours


def _each_within(plan: Plan, rule: Any) -> Any:
    """A rule, or a tuple with rules in it; what is no function stays."""
    if isinstance(rule, tuple):
        return tuple(_each_within(plan, part) for part in rule)
    if not callable(rule):
        return rule

    @functools.wraps(rule)
    def traced(*args, **kwargs):
        with replacement(plan):
            return rule(*args, **kwargs)

    return traced
