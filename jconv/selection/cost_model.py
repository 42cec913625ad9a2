"""The cost model: predicts the time of each algorithm from shapes alone.

    seconds = exp(correction) * sum over f of coefficient[algorithm, regime, f] * feature[f]

The features are counts on which the time of a loop nest, a matrix product, a transform or a cache
depends: calls, multiply-adds, numbers read and written. They are features of the problem, not of
the algorithm, so they are computed once for all algorithms and a choice takes microseconds. Each
algorithm has non-negative coefficients for each of its code paths ("regimes"). Threads, caches and
thin matrices cause discontinuities that the counts do not express. The residuals on similar
problems correct the sum: a Gaussian process over the logarithms of the shapes, whose correction
vanishes where no similar problem was measured. Forward pass, input gradient and kernel gradient
differ by their shapes.

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
LENGTH_SCALE = 4.0  # of the Gaussian process, in doublings of a size


def features(problem: Problem) -> list[float]:
    """Return the counts of a problem in the order of `FEATURES`, each multiplied by its scale."""
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
    """Return a problem's point in the Gaussian process: logarithms of its sizes, and its kind."""
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


def rbf_kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the radial basis function kernel, (m, n), of points `a` (m, d) and `b` (n, d)."""
    squares = (a**2).sum(-1)[:, None] + (b**2).sum(-1) - 2 * a @ b.T
    return np.exp(squares / (-2 * LENGTH_SCALE**2))


@dataclass(frozen=True, eq=False)
class CostModel:
    """A cost model fitted to one kind of device.

    Attributes:
      device: the kind of device, as JAX names it.
      coefficients: coefficients in the order of `FEATURES`, by algorithm and regime. The regime
        `""` applies to regimes without coefficients.
      training_inputs: coordinates of the measured problems, (m, d).
      corrections: weights of the measured problems in the Gaussian process, (m,), by algorithm.
    """

    device: str
    coefficients: Mapping[str, Mapping[str, Sequence[float]]]
    training_inputs: np.ndarray
    corrections: Mapping[str, np.ndarray]

    def seconds(self, problem: Problem, names: Iterable[str]) -> dict[str, float]:
        """Return the predicted time of one call, in seconds, by algorithm.

        Args:
          problem: the convolution.
          names: names of algorithms; those without coefficients are left out.
        """
        known = [name for name in names if name in self.coefficients]
        counts = features(problem)
        counted = [_summed(self._weights(name, problem), counts) for name in known]
        # Logarithms of `rbf_kernel` with all training inputs, as one product in float32, because
        # this takes most of the time of a choice.
        point = coordinates(problem)
        logs = np.array([*point, 1.0, _summed(point, point)], np.float32) @ self._squares
        corrections = (self._corrections @ np.exp(logs, logs)).tolist()
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
        """Weights of a, 1, |a|^2 in -|a - b|^2 / (2 LENGTH_SCALE^2) for each training input b."""
        b = self.training_inputs.T
        weights = [*(2 * b), -(b**2).sum(0), -np.ones(b.shape[1])]
        return np.array(weights, np.float32) / (2 * LENGTH_SCALE**2)

    def counted(self, name: str, problem: Problem) -> float:
        """Return the predicted time of one algorithm without the Gaussian process."""
        return _summed(self._weights(name, problem), features(problem))

    def _weights(self, name: str, problem: Problem) -> Sequence[float]:
        by_regime = self.coefficients[name]
        return by_regime.get(ALGORITHMS[name].regime(problem)) or by_regime[""]


@functools.cache
def model_of(platform: str) -> CostModel | None:
    """Return the cost model of a platform, or None if none was fitted.

    The model is that of the newest jaxlib up to the installed one, or else of the oldest.
    """
    installed = _version(version("jaxlib"))
    fitted = {
        _version(path.stem.split("-")[-1]): path for path in FOLDER.glob(f"{platform}-*.json")
    }
    if not fitted:
        return None
    earlier = [release for release in fitted if release <= installed]
    return read_model(fitted[max(earlier) if earlier else min(fitted)])


def read_model(path: Path) -> CostModel:
    """Read a file written by `jconv.bench.fit_cost_model`."""
    content = json.loads(path.read_text())
    assert tuple(content["features"]) == FEATURES
    corrections = {name: np.array(weights) for name, weights in content["corrections"].items()}
    inputs = np.array(content["training_inputs"])
    return CostModel(content["device"], content["coefficients"], inputs, corrections)


if sys.version_info >= (3, 12):
    _summed = math.sumprod
else:

    def _summed(weights: Sequence[float], counts: Sequence[float]) -> float:
        return sum(map(operator.mul, weights, counts))


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(".")[:2])
