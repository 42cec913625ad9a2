"""Fitting the cost model to synthetic times."""

import json

import jax
import numpy as np
from helpers.tuning import make_problem

from jconv.bench import fit_cost_model as fit
from jconv.selection.cost_model import read_model
from jconv.selection.tuning_table import TuningTable, write_table


def synthetic_times(count):
    """Return times of two algorithms that are linear in counts; `direct` wins on small problems."""
    rng = np.random.default_rng(0)
    times = {}
    for _ in range(count):
        images, size, inputs, outputs = (int(2**n) for n in rng.uniform(1, 6, 4))
        problem = make_problem(images=images, size=size, inputs=inputs, outputs=outputs)
        times[problem] = {
            "xla": 1e-4 + 1e-11 * problem.multiply_adds,
            "direct": 1e-5 + 1e-10 * problem.multiply_adds,
        }
    return times


def test_choices_on_problems_outside_of_the_training_set_have_low_regret():
    measured = synthetic_times(150)
    model = fit.fit(measured, "cpu")
    regimes = [weights for by in model.coefficients.values() for weights in by.values()]
    assert all(weight >= 0 for weights in regimes for weight in weights)
    regrets = fit.cross_validated(measured)
    assert len(regrets) == len(measured)
    assert np.exp(np.log(regrets).mean()) < 1.03


def test_the_written_file_can_be_read(tmp_path):
    table, out = tmp_path / "table.json", tmp_path / "cpu-0.0.json"
    made_with = {"jax": jax.__version__, "jaxlib": "0.0.1"}
    times = synthetic_times(150)
    write_table(TuningTable("cpu", times, made_with), table)
    fit.main([table], out)
    content = json.loads(out.read_text())
    assert content["device"] == "cpu" and set(content["coefficients"]) == {"xla", "direct"}
    model, problem = read_model(out), next(iter(times))
    assert model.training_inputs.shape[0] == len(times)
    assert set(model.seconds(problem, times[problem])) == {"xla", "direct"}
