"""The choice of an algorithm, from shapes alone, and the reason for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jconv.algorithms import ALGORITHMS, Direct
from jconv.algorithms.algorithm import Problem

# Terms up to which `direct` writes its sum out, and was fastest on each depthwise kernel measured.
MOST_TERMS = Direct.unroll

TOLERANCES = {"float32": 1e-4, "complex64": 1e-4, "float64": 1e-12, "complex128": 1e-12}


@dataclass(frozen=True)
class Choice:
    """An algorithm's name in `jconv.ALGORITHMS`, and why it."""

    algorithm: str
    reason: str


def choose(problem: Problem, platform: str, tolerance: float | None = None) -> Choice:
    """Picks the algorithm for one convolution.

    Only static shapes count: the same problem gets the same choice, under `jit` as elsewhere.

    Args:
      problem: the convolution; a gradient is a problem of its own.
      platform: `"cpu"`, `"gpu"` or `"tpu"`.
      tolerance: bars algorithms whose error bound exceeds both it and that of `"xla"`; 1e-4 for
        results in float32 and 1e-12 in float64 if None.
    """
    preferred = _preferred(problem, platform)
    if tolerance is None:
        tolerance = TOLERANCES.get(str(problem.result or problem.dtype), 0.0)
    limit = max(tolerance, ALGORITHMS["xla"].error_bound(problem))
    if ALGORITHMS[preferred.algorithm].error_bound(problem) > limit:
        return Choice("xla", f"{preferred.algorithm} may err by more than {limit:.1e}")
    return preferred


def _preferred(problem: Problem, platform: str) -> Choice:
    if platform != "cpu":
        return Choice("xla", f"nothing was measured to beat XLA's convolution on {platform}")
    window = problem.window
    taps, outputs = math.prod(window.taps), math.prod(window.output)
    if problem.groups > 1 and problem.inputs == 1 and taps <= MOST_TERMS:
        return Choice("direct", f"each channel's own {taps} taps are {taps} shifted products")
    if problem.groups > 1 and problem.images == problem.outputs == 1 and outputs <= MOST_TERMS:
        return Choice("direct", f"each channel's kernel gradient is {outputs} inner products")
    return Choice("xla", "channels are mixed, where XLA's blocked matrix product is fastest")
