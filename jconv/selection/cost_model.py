"""The cost model: how long each algorithm will take, predicted from shapes alone.

    seconds = exp(correction) * sum over f of coefficient[algorithm, regime, f] * feature[f]

The features are counts that a loop nest, a matrix product, a transform or a cache is slow by:
calls, multiply-adds, numbers read and written. They are the problem's, so that one count serves
all algorithms and a choice takes microseconds; what an algorithm makes of them is in its
coefficients, of which it has some for each of the ways ("regimes") in which it computes. None is
negative. Threads, caches and thin matrices have cliffs that counts do not know, so what the sum
is off by on similar problems corrects it: a Gaussian process over the logarithms of the shapes,
which fades to nothing where nothing similar was measured. Forward pass, input gradient and kernel
gradient are told apart by their shapes.

`python -m jconv.bench.fit_cost_model` fits both to times measured on one kind of device.

Reference: Rasmussen & Williams, "Gaussian Processes for Machine Learning" (2006), section 2.7.
"""

from __future__ import annotations

import functools
import json
import math
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS

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
    "narrow_multiply_add",  # as many as 16 output channels would have, where there are fewer
    "tap",
    "transform",  # of input, kernel and output, at the size of the input
    "number_beyond_cache",
)
CACHE = 2**19  # numbers
# Brings coefficients of the features near 1.
SCALE = (2e-5, 1e-6, *(1e-9,) * 7, 1e-6, *(1e-9,) * 2)
WIDTH = 16
REACH = 4.0  # doublings, over all coordinates, past which problems are unlike


def features(problem: Problem) -> list[float]:
    """What the time of one call is made of, in the order of `FEATURES`, each times its scale."""
    window = problem.window
    taps, outputs, pixels = map(math.prod, (window.taps, window.output, window.padded))
    parts = problem.pairs * problem.groups
    each = parts * problem.images
    matrix = parts * problem.inputs * problem.outputs
    patch = each * outputs * taps * problem.inputs
    x, y = each * pixels * problem.inputs, each * outputs * problem.outputs
    counts = (
        1,
        parts,
        patch * problem.outputs,
        patch,
        y,
        x,
        taps * matrix,
        taps * y,
        patch * max(problem.outputs, WIDTH),
        taps,
        (x + y + pixels * matrix) * math.log2(max(2, pixels)),
        max(0, x + y + taps * matrix - CACHE),
    )
    return [count * scale for count, scale in zip(counts, SCALE, strict=True)]


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
    return np.exp(squares / (-2 * REACH**2))


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
        known = [name for name in names if name in self.coefficients]
        counts = features(problem)
        counted = [_summed(self._weights(name, problem), counts) for name in known]
        # Logarithms of `closeness` to all places, in one product of float32: the larger part of
        # what a choice takes is this.
        at = coordinates(problem)
        near = np.array([*at, 1.0, _summed(at, at)], np.float32) @ self._squares
        corrections = (self._corrections @ np.exp(near, near)).tolist()
        return {
            name: seconds * math.exp(corrections[self._order[name]])
            for name, seconds in zip(known, counted, strict=True)
        }

    @cached_property
    def _order(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.corrections)}

    @cached_property
    def _corrections(self) -> np.ndarray:
        return np.stack(list(self.corrections.values())).astype(np.float32)

    @cached_property
    def _squares(self) -> np.ndarray:
        """-|a - b|^2 / (2 REACH^2) for each place b, as the weights of a, 1 and |a|^2."""
        b = self.places.T
        weights = [*(2 * b), -(b**2).sum(0), -np.ones(len(self.places))]
        return np.array(weights, np.float32) / (2 * REACH**2)

    def counted(self, name: str, problem: Problem) -> float:
        """The same by counts alone."""
        return _summed(self._weights(name, problem), features(problem))

    def _weights(self, name: str, problem: Problem) -> Sequence[float]:
        by_regime = self.coefficients[name]
        return by_regime.get(ALGORITHMS[name].regime(problem)) or by_regime[""]


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
    """Reads what `jconv.bench.fit_cost_model` wrote."""
    content = json.loads(path.read_text())
    assert tuple(content["features"]) == FEATURES
    corrections = {name: np.array(own) for name, own in content["corrections"].items()}
    return CostModel(
        content["device"], content["coefficients"], np.array(content["places"]), corrections
    )


if sys.version_info >= (3, 12):
    _summed = math.sumprod
else:

    def _summed(weights: Sequence[float], counts: Sequence[float]) -> float:
        return sum(map(operator.mul, weights, counts))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(".")[:2])
