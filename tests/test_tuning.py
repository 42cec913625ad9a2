"""The tuning table goes before the model, and nothing that was measured is lost."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv.algorithms.algorithm import Problem
from jconv.bench import fit
from jconv.bench.random_layers import KINDS, random_layers
from jconv.bench.tune import forget_choices, tune_problems
from jconv.cli import main
from jconv.cost_model import model_of
from jconv.selection import choose, contenders
from jconv.train.run_folder import environment
from jconv.tuning import TuningTable, read_table, write_table
from jconv.window import make_window


def problem(images=2, size=9, taps=3, groups=1, inputs=4, outputs=4):
    window = make_window((size,) * 2, (taps,) * 2, padding="SAME")
    f32 = jnp.dtype("float32")
    return Problem(window, 1, images, groups, inputs, outputs, f32, f32)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The path of the table that this process goes by; there is none yet."""
    path = tmp_path / "tables" / "here.json"
    monkeypatch.setenv("JCONV_TUNING", str(path))
    forget_choices()
    yield path
    monkeypatch.undo()
    forget_choices()


def test_a_table_comes_back_as_it_was_written(table):
    strided = dataclasses.replace(
        problem(), window=make_window((9, 8), (3, 2), stride=2, padding="VALID")
    )
    before = TuningTable("cpu", {problem(): {"xla": 1.0}, strided: {"direct": 2.0}}, {"jax": "1"})
    write_table(before, table)
    assert read_table(table) == before


def test_what_was_measured_goes_before_what_is_predicted(table):
    slow = dict.fromkeys(contenders(problem()), 1.0) | {"im2col": 1e-9}
    write_table(TuningTable("cpu", {problem(): slow}), table)
    choice = choose(problem(), "cpu")
    assert choice.algorithm == "im2col" and "measured on this device" in choice.reason
    assert "predicted" in choose(problem(images=3), "cpu").reason
    x, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    assert jconv.choose(x, kernel) == choice
    lowered = jax.jit(jconv.conv).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in lowered


def test_tune_measures_what_a_function_convolves_and_keeps_what_was_there(table):
    write_table(TuningTable("cpu", {problem(images=7): {"xla": 1.0}}), table)
    x, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    loss = lambda kernel: jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ).sum()
    tuned = jconv.tune(jax.value_and_grad(loss), path=table, budget=0.01)(kernel)
    assert tuned == read_table(table)
    assert problem(images=7) in tuned.seconds and len(tuned.seconds) == 3
    for asked, seconds in tuned.seconds.items():
        assert seconds["xla"] > 0
        assert choose(asked, "cpu").algorithm == min(seconds, key=seconds.get)


def test_a_run_records_the_table_it_went_by(table):
    write_table(TuningTable("cpu", {problem(): {"xla": 1.0}}), table)
    forget_choices()
    recorded = environment()["tuning_table"]
    assert recorded["path"] == str(table) and recorded["convolutions"] == 1


def test_a_table_is_kept_when_measuring_ends_early(table):
    measuring = tune_problems([problem(), problem(images=3)], path=table, budget=0.01)
    next(measuring)
    measuring.close()
    assert list(read_table(table).seconds) == [problem()]


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0}', '{"format": 1}', "\xff"])
def test_a_file_that_is_no_table_is_told(table, content):
    table.parent.mkdir()
    table.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"here.json must be a tuning table"):
        choose(problem(), "cpu")


def test_a_table_of_another_device_or_none_is_told(table):
    with pytest.raises(ValueError, match="`JCONV_TUNING` must be the path of a tuning table"):
        choose(problem(), "cpu")
    write_table(TuningTable("abacus", {}), table)
    with pytest.raises(ValueError, match="must be of this kind of device, 'cpu'"):
        choose(problem(), "cpu")
    with pytest.raises(ValueError, match="`path` must be that of a table of this kind"):
        next(tune_problems([problem()], path=table, budget=0.01))


def test_the_command_line_tunes_and_says_where_the_table_is(tmp_path, capsys):
    path = tmp_path / "table.json"
    assert main(["tune", "--random", "0.02", "--budget", "0.01", "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out.replace("\n", "")
    assert len(read_table(path).seconds) >= 1


def made_up(count):
    """Times of two algorithms that follow from counts: `direct` wins on thin problems alone."""
    rng = np.random.default_rng(0)
    found = {}
    for _ in range(count):
        images, size, inputs, outputs = (int(2**n) for n in rng.uniform(1, 6, 4))
        p = problem(images=images, size=size, inputs=inputs, outputs=outputs)
        found[p] = {
            "xla": 1e-4 + 1e-11 * p.multiply_adds,
            "direct": 1e-5 + 1e-10 * p.multiply_adds,
        }
    return found


def test_a_model_fitted_to_made_up_times_chooses_right_on_what_it_has_not_seen():
    measured = made_up(150)
    model = fit.fit(measured, "cpu")
    assert all(w >= 0 for by in model.coefficients.values() for own in by.values() for w in own)
    unseen = fit.cross_validated(measured)
    assert len(unseen) == len(measured)
    assert np.exp(np.log(unseen).mean()) < 1.03


def test_fitting_writes_what_the_model_reads(tmp_path):
    table, out = tmp_path / "table.json", tmp_path / "cpu-0.0.json"
    made_with = {"jax": jax.__version__, "jaxlib": "0.0.1"}
    write_table(TuningTable("cpu", made_up(150), made_with), table)
    fit.main([table], out)
    content = json.loads(out.read_text())
    assert content["device"] == "cpu" and set(content["coefficients"]) == {"xla", "direct"}


def test_the_shipped_models_know_every_algorithm_that_auto_may_take():
    model = model_of("cpu")
    expected = {name for name in jconv.ALGORITHMS if name != "separable"}
    assert set(model.coefficients) == set(model.corrections) == expected
    assert model_of("gpu") is None


def test_predictions_are_positive_and_finite_far_from_what_was_measured():
    model = model_of("cpu")
    for p in (problem(size=1, taps=1, inputs=1, outputs=1), problem(size=5000, taps=900, groups=4)):
        for seconds in model.seconds(p, contenders(p)).values():
            assert 0 < seconds < 1e9


def test_random_layers_are_the_same_for_the_same_seed_and_of_every_kind():
    first, second = random_layers(3), random_layers(3)
    drawn = [next(first) for _ in KINDS]
    assert drawn == [next(second) for _ in KINDS]
    assert [layer.kind for layer in drawn] == list(KINDS)
