"""The cost model: how long each algorithm will take, predicted from shapes alone.

    seconds = exp(correction) * sum over f of coefficient[algorithm, regime, f] * feature[f]

The features are counts that a loop nest, a matrix product or a cache is slow by: calls,
multiply-adds, numbers read and written, flops and bytes of the algorithm's own `cost`. No
coefficient is negative; each algorithm has some for each of the ways ("regimes") in which it
computes. Threads, caches and thin matrices have cliffs that counts do not know, so what the sum
is off by on similar problems corrects it: a Gaussian process over the logarithms of the shapes,
which fades to nothing where nothing similar was measured. Forward pass, input gradient and kernel
gradient are told apart by their shapes.

`python -m jconv.bench.fit` fits both to times measured on one kind of device.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), section 2.7.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from jconv.algorithms import ALGORITHMS
from jconv.algorithms.algorithm import Algorithm, Problem

FOLDER = Path(__file__).parent / "coefficients"
FEATURES = (
    "call",
    "part",  # a pair and a group each
    "multiply_add",
    "patch",  # numbers of the patches under all outputs
    "output",
    "input",
    "kernel",
    "partial_sum",  # numbers of all taps' contributions to all outputs
    "flop",
    "byte",
    "workspace_byte",
    "byte_beyond_cache",
    "narrow_multiply_add",  # as many as 16 output channels would have, where there are fewer
    "tap",
)
CACHE = 2 * 2**20  # bytes
# Brings coefficients of the features near 1.
SCALE = (2e-5, 1e-6, *(1e-9,) * 11, 1e-6)
WIDTH = 16
REACH = 4.0  # doublings, over all coordinates, past which problems are unlike


def features(problem: Problem, algorithm: Algorithm) -> tuple[float, ...]:
    """What the time of one call is made of, in the order of `FEATURES`, each times its scale."""
    window = problem.window
    taps, outputs = math.prod(window.taps), math.prod(window.output)
    parts = problem.pairs * problem.groups
    each = parts * problem.images
    patch = each * outputs * taps * problem.inputs
    cost = algorithm.cost(problem)
    counts = (
        1,
        parts,
        patch * problem.outputs,
        patch,
        each * outputs * problem.outputs,
        each * math.prod(window.padded) * problem.inputs,
        parts * taps * problem.inputs * problem.outputs,
        each * outputs * taps * problem.outputs,
        cost.flops,
        cost.bytes,
        cost.workspace,
        max(0, cost.bytes - CACHE),
        patch * max(problem.outputs, WIDTH),
        taps,
    )
    return tuple(map(float.__mul__, map(float, counts), SCALE))


def coordinates(problem: Problem) -> list[float]:
    """Where a problem is among others: logarithms of its sizes to base 2, and its kind."""
    window, log = problem.window, math.log2
    return [
        log(problem.images),
        log(problem.pairs * problem.groups),
        log(problem.inputs),
        log(problem.outputs),
        log(math.prod(window.input)),
        log(math.prod(window.taps)),
        log(math.prod(window.output)),
        log(window.taps[-1]),
        log(window.output[-1]),
        log(math.prod(window.stride)),
        log(math.prod(window.dilation)),
        log(math.prod(window.input_dilation)),
        min(log(problem.inputs), 2.0),
        min(log(problem.outputs), 3.0),
        2.0 * window.rank,
        2.0 * (problem.groups > 1),
        4.0 * problem.is_long,
        2.0 * (problem.inputs == 1),
        2.0 * (problem.outputs == 1),
        2.0 * (set(window.input_dilation) != {1}),
    ]


def closeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of problems at `a` (m, d) to those at `b` (n, d): 1 for the same, 0 for unlike ones."""
    squares = (a**2).sum(-1)[:, None] + (b**2).sum(-1) - 2 * a @ b.T
    return np.exp(-np.maximum(squares, 0) / (2 * REACH**2))


@dataclass(frozen=True, eq=False)
class CostModel:
    """What was fitted to one kind of device.

    Attributes:
      device: its kind, as JAX calls it.
      coefficients: by algorithm and regime, in the order of `FEATURES`; the regime `""` stands for
        those that have none of their own.
      places: coordinates of the problems measured, (m, d).
      corrections: by algorithm, (m,): what each of them adds to a logarithm, times its closeness.
    """

    device: str
    coefficients: Mapping[str, Mapping[str, Sequence[float]]]
    places: np.ndarray
    corrections: Mapping[str, np.ndarray]

    def seconds(self, problem: Problem, names: Iterable[str]) -> dict[str, float]:
        """Predicts one call of each algorithm named that the model knows."""
        at = np.array([coordinates(problem)])
        near = closeness(at, self.places)[0]
        return {
            name: self.counted(name, problem) * math.exp(near @ self.corrections[name])
            for name in names
            if name in self.coefficients
        }

    def counted(self, name: str, problem: Problem) -> float:
        """The same by counts alone."""
        by_regime, algorithm = self.coefficients[name], ALGORITHMS[name]
        weights = by_regime.get(algorithm.regime(problem)) or by_regime[""]
        return math.fsum(map(float.__mul__, weights, features(problem, algorithm)))


@functools.cache
def model_of(platform: str) -> CostModel | None:
    """The model of a platform, fitted with the version of jaxlib nearest to this one, or None."""
    wanted = _version(version("jaxlib"))
    fitted = {
        _version(path.stem.split("-")[-1]): path for path in FOLDER.glob(f"{platform}-*.json")
    }
    if not fitted:
        return None
    past = [own for own in fitted if own <= wanted]
    return read_model(fitted[max(past) if past else min(fitted)])


def read_model(path: Path) -> CostModel:
    """Reads what `jconv.bench.fit` wrote."""
    content = json.loads(path.read_text())
    assert tuple(content["features"]) == FEATURES
    corrections = {name: np.array(own) for name, own in content["corrections"].items()}
    return CostModel(
        content["device"], content["coefficients"], np.array(content["places"]), corrections
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(".")[:2])
