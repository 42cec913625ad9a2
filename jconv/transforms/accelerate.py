"""Runs every convolution of an existing JAX function with jconv's algorithms.

Inside `accelerated()`, jconv's primitive takes the place of that of `lax.conv_general_dilated`, at
any depth of `jit`, `scan`, `while_loop`, `cond`, `checkpoint` and `shard_map`. Nothing else of the
program changes: gradients, `vmap`, donation and state work as before. A function that was jitted
before is traced again inside, and its first program is used again outside. How JAX is hooked into,
and how to undo it, is documented in `jconv._core.interception`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jconv._core.interception import intercept_convolutions
from jconv.algorithms import Algorithm
from jconv.functional.lax_compat import conv_general_dilated
from jconv.selection.plan import Plan, make_plan, preferred

F = TypeVar("F", bound=Callable[..., Any])


@contextlib.contextmanager
def accelerated(algorithm: str | Algorithm | Plan = "auto") -> Iterator[None]:
    """Run the convolutions of all functions that are traced inside with jconv's algorithms.

    Args:
      algorithm: the algorithm for every convolution, as in `jconv.conv`. A name or a value is used
        where it supports the convolution, and `"auto"` elsewhere; a `jconv.Plan` is used
        everywhere, and raises where it is not supported.

    Raises:
      ValueError: if `algorithm` is not an algorithm.

    >>> with accelerated():
    ...     y = jax.jit(lambda x: jax.lax.conv(x, x, (1, 1), "SAME"))(jnp.ones((3, 3, 3, 3)))
    """
    plan = make_plan(algorithm)
    if not isinstance(algorithm, Plan):
        plan = Plan(preferred(plan.forward), plan.input_gradient, plan.kernel_gradient)
    with intercept_convolutions(_ConvolveByPlan(plan)):
        yield


def accelerate(fn: F, *, algorithm: str | Algorithm | Plan = "auto") -> F:
    """Return a function that computes `fn` with jconv's algorithms for its convolutions.

    Args:
      fn: any JAX function, such as a jitted function, a layer, a model or a training step.
      algorithm: the algorithm for every convolution; see `accelerated`.

    Raises:
      ValueError: if `fn` is not callable, or `algorithm` is not an algorithm.

    >>> fast = accelerate(lambda x: jax.lax.conv(x, x, (1, 1), "SAME"))
    >>> str(jax.make_jaxpr(fast)(jnp.ones((3, 3, 3, 3)))).count("jconv_conv[")
    1
    """
    if not callable(fn):
        raise ValueError(f"`fn` must be a function. Received: fn={fn!r}.")
    make_plan(algorithm)

    @functools.wraps(fn)
    def accelerated_fn(*args, **kwargs):
        with accelerated(algorithm):
            return fn(*args, **kwargs)

    return accelerated_fn  # type: ignore[return-value]


@dataclass(frozen=True)
class _ConvolveByPlan:
    """The handler that computes the convolutions of `lax` by a plan; equal for equal plans."""

    plan: Plan

    def __call__(self, lhs, rhs, **params) -> jax.Array | None:
        if not _is_supported(lhs, rhs, **params):
            return None
        return conv_general_dilated(lhs, rhs, **params, algorithm=self.plan)


def _is_supported(lhs, rhs, *, padding, dimension_numbers, **_) -> bool:
    """Return whether jconv has this convolution of `lax`.

    The operands must be numbers with at least one spatial axis, and all sizes but that of the
    batch must be known.
    """
    if not all(jnp.issubdtype(operand.dtype, jnp.number) for operand in (lhs, rhs)):
        return False
    sizes = [n for axis, n in enumerate(lhs.shape) if axis != dimension_numbers.lhs_spec[0]]
    sizes += [*rhs.shape, *(side for pair in padding for side in pair)]
    return len(lhs.shape) > 2 and not any(map(jax.export.is_symbolic_dim, sizes))
