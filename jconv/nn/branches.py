"""Parallel branches on the same input, whose outputs are joined."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Num

from jconv.nn.layer_arguments import AnyArray


class Concatenate(nnx.Module):
    """Concatenation of a list of arrays along their channels, the last axis."""

    def __call__(self, xs: Any) -> Num[AnyArray, "..."]:
        """Return the arrays `xs` in one array."""
        return jnp.concatenate(_listed(xs, "concatenate"), axis=-1)


class Add(nnx.Module):
    """Sum of a list of arrays of one shape."""

    def __call__(self, xs: Any) -> Num[AnyArray, "..."]:
        """Return the sum of the arrays `xs`."""
        return functools.reduce(operator.add, _listed(xs, "add"))


JOINS = {"concatenate": Concatenate, "add": Add}


class Parallel(nnx.Module):
    """Branches applied to the same input, whose outputs are joined.

    Args:
      branches: modules or functions whose outputs have equal numbers of rows and columns.
      join: `"concatenate"` along channels, or `"add"`.

    Raises:
      ValueError: if there are no branches, or `join` is unknown.
    """

    def __init__(self, branches: Sequence[Callable], *, join: str = "concatenate"):
        if join not in JOINS:
            raise ValueError(f"`join` must be one of {list(JOINS)}. Received: join={join!r}.")
        if not branches or not all(map(callable, branches)):
            raise ValueError(
                f"`branches` must be a list of modules or functions, at least one. "
                f"Received: branches={branches!r}."
            )
        self.branches = nnx.List(branches)
        self.join = JOINS[join]()

    def __call__(self, x: Num[AnyArray, "..."]) -> Num[AnyArray, "..."]:
        """Return the joined outputs of the branches for `x`."""
        return self.join([branch(x) for branch in self.branches])


def _listed(xs, call: str) -> list:
    if hasattr(xs, "shape"):
        raise ValueError(
            f"`xs` must be a list of arrays. Received: one array. "
            f"Put the arrays into a list: {call}([a, b])."
        )
    return list(xs)
