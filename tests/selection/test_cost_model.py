"""The cost models in the package."""

from helpers.tuning import make_problem

import jconv
from jconv.selection.cost_model import model_of
from jconv.selection.select import eligible_algorithms


def test_the_cpu_model_has_coefficients_for_every_algorithm():
    model = model_of("cpu")
    assert set(model.coefficients) == set(model.corrections) == set(jconv.ALGORITHMS)
    assert model_of("gpu") is None


def test_predictions_far_from_the_training_inputs_are_positive_and_finite():
    model = model_of("cpu")
    tiny = make_problem(size=1, taps=1, inputs=1, outputs=1)
    huge = make_problem(size=5000, taps=900, groups=4)
    for problem in (tiny, huge):
        for seconds in model.seconds(problem, eligible_algorithms(problem)).values():
            assert 0 < seconds < 1e9
