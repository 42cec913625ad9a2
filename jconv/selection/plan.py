"""The plan: which algorithm does the forward pass, and which each of the two gradients."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS, Algorithm, resolve_algorithm


@dataclass(frozen=True)
class WherePossible:
    """An algorithm for the convolutions that it supports; `"auto"` decides on the others."""

    algorithm: Algorithm


Chosen = Algorithm | WherePossible | str


@dataclass(frozen=True)
class Plan:
    """The algorithms of one convolution and of its two gradients.

    Derivatives of higher order are convolutions of these kinds too, and use the same algorithms
    where they can and `"auto"` where they cannot.

    Args:
      forward: `"auto"`, a name in `jconv.ALGORITHMS`, or one of its values.
      input_gradient: the same, or None for `forward` where it supports that convolution and
        `"auto"` where it does not.
      kernel_gradient: likewise.

    Raises:
      ValueError: for what is no algorithm, or cannot be that of a kernel's gradient.

    >>> Plan(forward="direct", kernel_gradient="xla").kernel_gradient
    Xla(cudnn=None)
    """

    forward: Chosen = "auto"
    input_gradient: Chosen | None = None
    kernel_gradient: Chosen | None = None

    def __post_init__(self):
        for field in fields(self):
            given = getattr(self, field.name)
            if given is None and field.name != "forward":
                given = lenient(self.forward)
                given = for_any_kernel(given) if field.name == "kernel_gradient" else given
            elif not isinstance(given, WherePossible):
                given = resolve_algorithm(given, field.name)
            object.__setattr__(self, field.name, given)
        if for_any_kernel(given) != given:  # that of the last field
            raise ValueError(
                f"`kernel_gradient` must be an algorithm for kernels of any rank, since the "
                f"output's cotangent takes the kernel's place. "
                f"Received: kernel_gradient={self.kernel_gradient!r}."
            )

    @property
    def choices(self) -> dict[str, Any]:
        """The three as parameters of the primitive."""
        return {
            "algorithm": self.forward,
            "input_gradient": self.input_gradient,
            "kernel_gradient": self.kernel_gradient,
        }

    @property
    def reads_kernel(self) -> bool:
        """Whether the forward pass depends on the kernel's values."""
        return isinstance(self.forward, Algorithm) and self.forward.reads_kernel

    def for_kernel(self, kernel: np.ndarray) -> Plan:
        """The plan for one canonical kernel whose values are known."""
        assert isinstance(self.forward, Algorithm)
        if self.input_gradient == lenient(self.forward):
            return Plan(self.forward.for_kernel(kernel), None, self.kernel_gradient)
        return replace(self, forward=self.forward.for_kernel(kernel))


def lenient(chosen: Chosen) -> Chosen:
    """The same where it can, `"auto"` where it cannot."""
    return WherePossible(chosen) if isinstance(chosen, Algorithm) else chosen


def for_any_kernel(chosen: Chosen) -> Chosen:
    """The same, or `"auto"` for what is exact for some kernels only."""
    algorithm = chosen.algorithm if isinstance(chosen, WherePossible) else chosen
    known = isinstance(algorithm, Algorithm)
    return "auto" if known and not algorithm.takes_any_kernel else chosen


def resolve_plan(algorithm: str | Algorithm | Plan) -> Plan:
    """The plan that a caller's `algorithm` stands for.

    Raises:
      ValueError: for what is none.
    """
    if isinstance(algorithm, Plan):
        return algorithm
    return Plan(resolve_algorithm(algorithm))


def settle(chosen: Chosen, problem: Problem) -> Algorithm | str:
    """The algorithm of one convolution, once its shapes are known; `"auto"` stays.

    Raises:
      ValueError: where it does not support the problem, with its reason and with those that do.
    """
    if isinstance(chosen, str):
        return chosen
    strict = not isinstance(chosen, WherePossible)
    algorithm = chosen if strict else chosen.algorithm
    reason = algorithm.supports(problem)
    if reason is None:
        return algorithm
    if not strict:
        return "auto"
    able = [name for name, other in ALGORITHMS.items() if other.supports(problem) is None]
    raise ValueError(
        f"`algorithm` must be one that can do this convolution: {able}. "
        f"Received: algorithm={algorithm!r}, which cannot, because {reason}."
    )
