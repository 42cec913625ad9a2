"""Replicates: several seeds in one run."""

import numpy as np
import pytest
from helpers.tiny_run import TINY, read_arrays, read_metrics, tiny_config

from jconv.train import train


def test_replicates_are_the_runs_of_their_seeds(tmp_path):
    # Few steps: the rounding of near-equal values in max pooling grows with every step.
    changes = {"model": TINY["model"] | {"norm": True}, "steps": 20,
               "log": {"every": 10, "evaluate_every": 10, "kernels_every": 20}}  # fmt: skip
    run, summary = train(tiny_config(replicates=3, seed=5, **changes), runs=tmp_path / "run")
    singles = [
        train(tiny_config(seed=seed, **changes), runs=tmp_path / str(seed)) for seed in (5, 6, 7)
    ]
    lines = [read_metrics(single) for single, _ in singles]
    for i, line in enumerate(read_metrics(run)):
        for name in ("loss", "accuracy", "grad_norm"):
            values = [single[i][name] for single in lines]
            assert line[name] == pytest.approx(np.mean(values), rel=2e-3)
            error = np.std(values, ddof=1) / np.sqrt(3)
            assert line[f"{name}_error"] == pytest.approx(error, rel=0.05, abs=2e-3)
    values = [single["test_accuracy"] for _, single in singles]
    assert summary["test_accuracy"] == pytest.approx(np.mean(values), abs=5e-3)
    assert np.sum(summary["test_confusion"]) == 3 * summary["test_images"]
    kernels = read_arrays(run / "kernels" / "000020.npz")  # of the first replicate
    for name, expected in read_arrays(singles[0][0] / "kernels" / "000020.npz").items():
        np.testing.assert_allclose(kernels[name], expected, atol=2e-3)
