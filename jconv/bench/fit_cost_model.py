"""Fits the cost model of a kind of device to tuning tables that were measured on it.

    jconv tune --random 40 --out table.json       # minutes of random layers
    python -m jconv.bench.fit_cost_model table.json --out jconv/coefficients/cpu-0.12.json

The coefficients are those that make the logarithms of predicted and measured times differ least,
outliers counting less; none is negative. How good the choices are is told by cross-validation: on
problems that the model they were made by has not seen.
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
from jconv.selection.cost_model import FEATURES, CostModel, closeness, coordinates, features
from jconv.selection.select import fastest_or_xla
from jconv.selection.tuning_table import Seconds, read_table

FEWEST = 12  # measurements that a regime must have for coefficients of its own
FOLD = 30  # neighbours in a table are of the same layer: they are left out together

NOISE = 0.3  # variance of a measurement, over that of the corrections
MOST = 3.0  # of a correction: beyond, a measurement is an outlier


def fit(measured: Mapping[Problem, Seconds], device: str) -> CostModel:
    """Fits coefficients of each algorithm and of each regime measured enough, then corrections."""
    places = np.array([coordinates(problem) for problem in measured])
    counted = CostModel(device, _coefficients(measured), places, {})
    corrections = {}
    for name in counted.coefficients:
        rows = [i for i, times in enumerate(measured.values()) if name in times]
        off = [
            math.log(times[name] / counted.counted(name, problem))
            for problem, times in measured.items()
            if name in times
        ]
        near = closeness(places[rows], places[rows]) + NOISE * np.eye(len(rows))
        corrections[name] = np.zeros(len(places))
        corrections[name][rows] = np.linalg.solve(near, np.clip(off, -MOST, MOST))
    return replace(counted, corrections=corrections)


def _coefficients(measured: Mapping[Problem, Seconds]) -> dict[str, dict[str, list[float]]]:
    fitted: dict[str, dict[str, list[float]]] = {}
    for name, algorithm in ALGORITHMS.items():
        rows = [(p, times[name]) for p, times in measured.items() if name in times]
        if len(rows) < FEWEST:
            continue
        counts = np.array([features(p) for p, _ in rows])
        times = np.array([time for _, time in rows])
        regimes = np.array([algorithm.regime(p) for p, _ in rows])
        fitted[name] = {"": _fit_one(counts, times)}
        for regime in np.unique(regimes):
            own = regimes == regime
            if own.sum() >= FEWEST:
                fitted[name][str(regime)] = _fit_one(counts[own], times[own])
    return fitted


def _fit_one(counts: np.ndarray, times: np.ndarray) -> list[float]:
    """Non-negative weights with which `counts` give `times`, relative errors counting."""
    start, _ = nnls(counts / times[:, None], np.ones(len(times)))
    least = np.log(1e-4 * max(start.max(), 1e-3))

    def residuals(logs):
        return np.log(counts @ np.exp(logs)) - np.log(times)

    def slopes(logs):
        weighted = counts * np.exp(logs)
        return weighted / weighted.sum(1, keepdims=True)

    with np.errstate(divide="ignore"):
        start = np.maximum(np.log(start), least)
    options: dict[str, Any] = dict(jac=slopes, loss="soft_l1", max_nfev=60, bounds=(-60, 20))
    found = least_squares(residuals, start, **options)
    weights = np.exp(found.x)
    # What never makes up a thousandth of a prediction is left out.
    share = (counts * weights / (counts @ weights)[:, None]).max(0)
    return [float(f"{w:.4g}") if s > 1e-3 else 0.0 for w, s in zip(weights, share, strict=True)]


def regrets(model: CostModel, measured: Mapping[Problem, Seconds]) -> list[float]:
    """Time of what the model would choose over that of the fastest, of each problem."""
    found = []
    for problem, times in measured.items():
        predicted = model.seconds(problem, times)
        chosen = fastest_or_xla(dict(sorted(predicted.items(), key=lambda item: item[1])))
        found.append(times[chosen] / min(times.values()))
    return found


def cross_validated(measured: Mapping[Problem, Seconds], folds: int = 6) -> list[float]:
    """Regrets on problems that the model was not fitted to."""
    problems = list(measured)
    fold = [(i // FOLD) % folds for i in range(len(problems))]
    found = []
    for k in range(folds):
        seen = {p: measured[p] for p, f in zip(problems, fold, strict=True) if f != k}
        unseen = {p: measured[p] for p, f in zip(problems, fold, strict=True) if f == k}
        found += regrets(fit(seen, ""), unseen)
    return found


def summary(found: Sequence[float]) -> str:
    """Regrets in a line."""
    mean = math.exp(np.log(found).mean())
    most = np.quantile(found, [0.9, 0.95, 1])
    return (
        f"{len(found)} problems: regret {mean:.3f} in the geometric mean, {most[0]:.2f} at most in "
        f"9 of 10, {most[1]:.2f} in 19 of 20, {most[2]:.2f} in all"
    )


def main(tables: tyro.conf.Positional[list[Path]], out: Path) -> None:
    """Fit the cost model of a kind of device to what was measured on it.

    Args:
      tables: files that `jconv tune` wrote, all on one kind of device and with one jaxlib.
      out: where the coefficients go; jconv/coefficients/PLATFORM-JAXLIB.json is where they are
        looked for.
    """
    try:
        read = [read_table(path) for path in tables]
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from error
    if len({(table.device, table.made_with["jaxlib"]) for table in read}) > 1:
        raise SystemExit("The tables must be of one kind of device and of one jaxlib.")
    measured = {problem: times for table in read for problem, times in table.seconds.items()}
    if len(measured) < 4 * FOLD:
        raise SystemExit(
            f"The tables must hold at least {4 * FOLD} convolutions. Received: {len(measured)}. "
            f"Measure more: jconv tune --random MINUTES --out TABLE."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        print("unseen,", summary(cross_validated(measured)))
        model = fit(measured, read[0].device)
    print("seen,", summary(regrets(model, measured)))
    content = {
        "device": model.device,
        "made_with": dict(read[0].made_with),
        "features": FEATURES,
        "coefficients": model.coefficients,
        "places": model.places.round(2).tolist(),
        "corrections": {name: own.round(3).tolist() for name, own in model.corrections.items()},
    }
    out.write_text(_readable(content))


def _readable(content: Mapping) -> str:
    """JSON with one line for each list of numbers."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[[^\[\]]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
