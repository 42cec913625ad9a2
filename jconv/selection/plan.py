"""Plans: which algorithm computes the forward pass, and which each of the two gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS, Algorithm, resolve_algorithm


@dataclass(frozen=True)
class Preferred:
    """An algorithm for the convolutions that it supports; `"auto"` selects one for the others."""

    algorithm: Algorithm


# The algorithm of a pass: `"auto"`, one that is required, or one that is preferred.
PassAlgorithm = Algorithm | Preferred | str

# Returns the algorithm of a problem on a platform (`"cpu"`, `"gpu"` or `"tpu"`) for `"auto"`.
Selector = Callable[[Problem, str], Algorithm]


@dataclass(frozen=True)
class Plan:
    """The algorithms of one convolution and of its two gradients.

    Derivatives of higher order are convolutions of these kinds too. They use the same algorithms
    where these support them, and `"auto"` elsewhere.

    Args:
      forward: `"auto"`, a name in `jconv.ALGORITHMS`, or one of its values.
      input_gradient: likewise, or None for `forward` where it supports that convolution and
        `"auto"` where it does not.
      kernel_gradient: likewise.

    Raises:
      ValueError: if an argument is not an algorithm.

    >>> Plan(forward="direct", kernel_gradient="xla").kernel_gradient
    Xla(cudnn=None)
    """

    forward: PassAlgorithm = "auto"
    input_gradient: PassAlgorithm | None = None
    kernel_gradient: PassAlgorithm | None = None

    def __post_init__(self):
        for field in fields(self):
            algorithm = getattr(self, field.name)
            if algorithm is None and field.name != "forward":
                algorithm = preferred(self.forward)
            elif not isinstance(algorithm, Preferred):
                algorithm = resolve_algorithm(algorithm, field.name)
            object.__setattr__(self, field.name, algorithm)

    @property
    def parameters(self) -> dict[str, Any]:
        """The three algorithms as parameters of the primitive."""
        return {
            "algorithm": self.forward,
            "input_gradient": self.input_gradient,
            "kernel_gradient": self.kernel_gradient,
        }


def preferred(algorithm: PassAlgorithm) -> PassAlgorithm:
    """Return the algorithm as a preference, with `"auto"` where it does not support a problem."""
    return Preferred(algorithm) if isinstance(algorithm, Algorithm) else algorithm


def make_plan(algorithm: str | Algorithm | Plan) -> Plan:
    """Return the plan that the `algorithm` of a caller stands for.

    Raises:
      ValueError: if it is neither a plan nor an algorithm.
    """
    if isinstance(algorithm, Plan):
        return algorithm
    return _plan_of(resolve_algorithm(algorithm))


@functools.lru_cache(maxsize=256)
def _plan_of(algorithm: str | Algorithm) -> Plan:
    return Plan(algorithm)


def resolve(algorithm: PassAlgorithm, problem: Problem) -> Algorithm | str:
    """Return the algorithm of one problem; `"auto"` stays, until the platform is known.

    Raises:
      ValueError: if the algorithm is required and does not support the problem. The error has the
        reason, and the algorithms that do support it.
    """
    if isinstance(algorithm, str):
        return algorithm
    if isinstance(algorithm, Preferred):
        preference = algorithm.algorithm
        return preference if preference.supports(problem) is None else "auto"
    reason = algorithm.supports(problem)
    if reason is None:
        return algorithm
    able = [name for name, other in ALGORITHMS.items() if other.supports(problem) is None]
    raise ValueError(
        f"`algorithm` must be one that can do this convolution: {able}. "
        f"Received: algorithm={algorithm!r}, which cannot, because {reason}."
    )
