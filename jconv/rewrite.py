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
from jax import lax
from jax.extend.core import Primitive

from jconv.algorithms import Algorithm
from jconv.algorithms.xla import replacement
from jconv.convolution import conv_general_dilated
from jconv.plan import Plan, lenient, resolve_plan

F = TypeVar("F", bound=Callable[..., Any])

lax_conv_p: Primitive = lax.conv_general_dilated_p


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
    call = jax.custom_vjp.__call__

    def bind_ours(lhs, rhs, **params):
        plan = replacement.value
        if plan is None:
            return bind(lhs, rhs, **params)
        return conv_general_dilated(lhs, rhs, **params, algorithm=plan)

    @functools.wraps(call)
    def call_ours(function, *args, **kwargs):
        plan = replacement.value
        return call(function if plan is None else _within(plan, function), *args, **kwargs)

    lax_conv_p.bind = bind_ours
    jax.custom_vjp.__call__ = call_ours  # type: ignore[method-assign]


def _within(plan: Plan, function: Any) -> Any:
    """The same `jax.custom_vjp`, its backward pass, which JAX calls much later, ours too."""
    if function.bwd is None:
        return function  # JAX says what is missing

    @functools.wraps(function.bwd)
    def backward(*args):
        with replacement(plan):
            return function.bwd(*args)

    ours = jax.custom_vjp(function.fun, nondiff_argnums=function.nondiff_argnums)
    ours.defvjp(
        function.fwd,
        backward,
        symbolic_zeros=function.symbolic_zeros,
        optimize_remat=function.optimize_remat,
    )
    return ours
