"""Fits the cost model of a kind of device to tuning tables that were measured on it.

    jconv tune --random 40 --out table.json       # 40 minutes of random layers
    python -m jconv.bench.fit_cost_model table.json --out jconv/selection/coefficients/cpu-0.12.json

The fit minimizes a robust loss of the logarithms of the ratios of predicted to measured times, with
non-negative coefficients. The quality of the choices is estimated by cross-validation.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich import print
from scipy.optimize import least_squares, nnls

from jconv._core.problem import Problem
from jconv.algorithms import ALGORITHMS
from jconv.selection.cost_model import FEATURES, CostModel, coordinates, features, rbf_kernel
from jconv.selection.select import fastest_or_xla
from jconv.selection.tuning_table import Seconds, read_table

MIN_MEASUREMENTS = 12  # a regime with fewer shares the coefficients of its algorithm
# Consecutive entries of a table belong to the same layer, so cross-validation leaves out blocks.
BLOCK_SIZE = 30

NOISE_VARIANCE = 0.3  # of a measurement, relative to the variance of the corrections
MAX_CORRECTION = 3.0  # of the logarithm of a time; larger values are outliers and are clipped


def fit(measured: Mapping[Problem, Seconds], device: str) -> CostModel:
    """Fit the coefficients of each algorithm and regime, then a Gaussian process of the residuals.

    Args:
      measured: seconds by problem and algorithm.
      device: the kind of device, as JAX names it.
    """
    inputs = np.array([coordinates(problem) for problem in measured])
    counted = CostModel(device, _coefficients(measured), inputs, {})
    corrections = {}
    for name in counted.coefficients:
        rows = [i for i, times in enumerate(measured.values()) if name in times]
        residuals = [
            math.log(times[name] / counted.counted(name, problem))
            for problem, times in measured.items()
            if name in times
        ]
        covariance = rbf_kernel(inputs[rows], inputs[rows]) + NOISE_VARIANCE * np.eye(len(rows))
        clipped = np.clip(residuals, -MAX_CORRECTION, MAX_CORRECTION)
        corrections[name] = np.zeros(len(inputs))
        corrections[name][rows] = np.linalg.solve(covariance, clipped)
    return replace(counted, corrections=corrections)


def _coefficients(measured: Mapping[Problem, Seconds]) -> dict[str, dict[str, list[float]]]:
    fitted: dict[str, dict[str, list[float]]] = {}
    for name, algorithm in ALGORITHMS.items():
        rows = [(p, times[name]) for p, times in measured.items() if name in times]
        if len(rows) < MIN_MEASUREMENTS:
            continue
        counts = np.array([features(p) for p, _ in rows])
        times = np.array([time for _, time in rows])
        regimes = np.array([algorithm.regime(p) for p, _ in rows])
        fitted[name] = {"": _fit_weights(counts, times)}
        for regime in np.unique(regimes):
            in_regime = regimes == regime
            if in_regime.sum() >= MIN_MEASUREMENTS:
                fitted[name][str(regime)] = _fit_weights(counts[in_regime], times[in_regime])
    return fitted


def _fit_weights(counts: np.ndarray, times: np.ndarray) -> list[float]:
    """Return non-negative weights that predict `times` from `counts` with small relative error."""
    start, _ = nnls(counts / times[:, None], np.ones(len(times)))
    min_log = np.log(1e-4 * max(start.max(), 1e-3))

    def residuals(logs):
        return np.log(counts @ np.exp(logs)) - np.log(times)

    def jacobian(logs):
        weighted = counts * np.exp(logs)
        return weighted / weighted.sum(1, keepdims=True)

    with np.errstate(divide="ignore"):
        start = np.maximum(np.log(start), min_log)
    options: dict[str, Any] = dict(jac=jacobian, loss="soft_l1", max_nfev=60, bounds=(-60, 20))
    weights = np.exp(least_squares(residuals, start, **options).x)
    # Weights that contribute less than a thousandth to every prediction are set to zero.
    share = (counts * weights / (counts @ weights)[:, None]).max(0)
    return [float(f"{w:.4g}") if s > 1e-3 else 0.0 for w, s in zip(weights, share, strict=True)]


def regrets(model: CostModel, measured: Mapping[Problem, Seconds]) -> list[float]:
    """Return the time of the model's choice relative to the fastest algorithm, for each problem."""
    ratios = []
    for problem, times in measured.items():
        predicted = model.seconds(problem, times)
        chosen = fastest_or_xla(dict(sorted(predicted.items(), key=lambda item: item[1])))
        ratios.append(times[chosen] / min(times.values()))
    return ratios


def cross_validated(measured: Mapping[Problem, Seconds], folds: int = 6) -> list[float]:
    """Return the regret of each problem under a model that was fitted without it.

    Args:
      measured: seconds by problem and algorithm.
      folds: number of models that are fitted.
    """
    fold = [(i // BLOCK_SIZE) % folds for i in range(len(measured))]
    ratios = []
    for k in range(folds):
        training = {p: t for (p, t), f in zip(measured.items(), fold, strict=True) if f != k}
        test = {p: t for (p, t), f in zip(measured.items(), fold, strict=True) if f == k}
        ratios += regrets(fit(training, ""), test)
    return ratios


def summarize(ratios: Sequence[float]) -> str:
    """Return the mean and the quantiles of regrets in one line."""
    mean = math.exp(np.log(ratios).mean())
    q90, q95, largest = np.quantile(ratios, [0.9, 0.95, 1])
    return (
        f"{len(ratios)} problems: regret {mean:.3f} in the geometric mean, at most {q90:.2f} for "
        f"90 %, {q95:.2f} for 95 %, {largest:.2f} for all"
    )


def main(tables: tyro.conf.Positional[list[Path]], out: Path) -> None:
    """Fit the cost model of a kind of device to times measured on it.

    Args:
      tables: files written by `jconv tune`, all for one kind of device and one version of jaxlib.
      out: file of the coefficients; jconv loads jconv/selection/coefficients/PLATFORM-JAXLIB.json.
    """
    try:
        contents = [read_table(path) for path in tables]
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    if len({(table.device, table.made_with["jaxlib"]) for table in contents}) > 1:
        raise SystemExit("The tables must be of one kind of device and one version of jaxlib.")
    measured = {problem: times for table in contents for problem, times in table.seconds.items()}
    if len(measured) < 4 * BLOCK_SIZE:
        raise SystemExit(
            f"The tables must hold at least {4 * BLOCK_SIZE} convolutions. "
            f"Received: {len(measured)}. "
            f"Measure more: jconv tune --random MINUTES --out TABLE."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        print("cross-validation,", summarize(cross_validated(measured)))
        model = fit(measured, contents[0].device)
    print("training set,", summarize(regrets(model, measured)))
    content = {
        "device": model.device,
        "made_with": dict(contents[0].made_with),
        "features": FEATURES,
        "coefficients": model.coefficients,
        "training_inputs": model.training_inputs.round(2).tolist(),
        "corrections": {name: c.round(3).tolist() for name, c in model.corrections.items()},
    }
    out.write_text(_readable(content))


def _readable(content: Mapping) -> str:
    """Return JSON with one line for each list of numbers."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[[^\[\]]*\]", lambda match: " ".join(match[0].split()), text) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
