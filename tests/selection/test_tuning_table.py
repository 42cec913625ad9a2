"""The tuning table goes before the model, and nothing that was measured is lost."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv
from jconv._core.geometry import make_window
from jconv._core.problem import Problem
from jconv.bench import fit_cost_model as fit
from jconv.bench.random_layers import KINDS, random_layers
from jconv.cli import main
from jconv.selection.choice import MEASURED
from jconv.selection.cost_model import model_of
from jconv.selection.select import eligible_algorithms, select_algorithm
from jconv.selection.tuning_table import (
    TuningTable,
    describe_table,
    read_table,
    table_of,
    versions,
    write_table,
)
from jconv.train import TrainConfig, load_config
from jconv.train.inspect_step import first_step
from jconv.transforms.tune import clear_choice_cache, tune, tune_problems


def problem(images=2, size=9, taps=3, groups=1, inputs=4, outputs=4):
    window = make_window((size,) * 2, (taps,) * 2, padding="SAME")
    f32 = jnp.dtype("float32")
    return Problem(window, 1, images, groups, inputs, outputs, f32, f32)


HERE, KIND = jax.default_backend(), jax.devices()[0].device_kind


def made(seconds, device=KIND, made_with=None):
    """A table, of this jaxlib if nothing else is said."""
    return TuningTable(device, seconds, versions() if made_with is None else made_with)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """The path of the table that this process goes by; there is none yet."""
    path = tmp_path / "tables" / "here.json"
    monkeypatch.setenv("JCONV_TUNING", str(path))
    monkeypatch.setattr("jconv.selection.tuning_table._gone_by", {})
    clear_choice_cache()
    yield path
    monkeypatch.undo()
    clear_choice_cache()


def test_a_table_comes_back_as_it_was_written(table):
    strided = dataclasses.replace(
        problem(), window=make_window((9, 8), (3, 2), stride=2, padding="VALID")
    )
    before = TuningTable("cpu", {problem(): {"xla": 1.0}, strided: {"direct": 2.0}}, {"jax": "1"})
    write_table(before, table)
    assert read_table(table) == before


def test_what_was_measured_goes_before_what_is_predicted(table):
    slow = dict.fromkeys(eligible_algorithms(problem()), 1.0) | {"im2col": 1e-9}
    write_table(made({problem(): slow}), table)
    choice = select_algorithm(problem(), HERE)
    assert choice.algorithm == "im2col" and "measured on this device" in choice.reason
    assert select_algorithm(problem(images=3), HERE).basis != MEASURED
    x, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    assert jconv.choose(x, kernel) == choice
    lowered = jax.jit(jconv.conv).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in lowered


def test_tune_measures_what_a_function_convolves_and_keeps_what_was_there(table):
    write_table(made({problem(images=7): {"xla": 1.0}}), table)
    x, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    loss = lambda kernel: jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ).sum()
    tuned = jconv.tune(jax.value_and_grad(loss), path=table, budget=0.01)(kernel)
    assert tuned == read_table(table)
    assert problem(images=7) in tuned.seconds and len(tuned.seconds) == 3
    for asked, seconds in tuned.seconds.items():
        assert seconds["xla"] > 0
        assert select_algorithm(asked, HERE).algorithm == min(seconds, key=seconds.get)


LOSS = lambda kernel: jconv.conv(jnp.ones((2, 9, 9, 4)), kernel).sum()


def test_this_process_goes_by_the_table_that_was_tuned_last(table, tmp_path):
    elsewhere, other, kernel = tmp_path / "t.json", problem(images=7), jnp.ones((3, 3, 4, 4))
    write_table(made({other: {"direct": 1e-9, "xla": 1.0}}), elsewhere)
    asked = jconv.tune(LOSS, budget=0.01)(kernel).seconds  # `JCONV_TUNING` names none so far
    assert read_table(table).seconds == asked and select_algorithm(other, HERE).basis != MEASURED

    tuned = jconv.tune(LOSS, path=elsewhere, budget=0.01)(kernel)
    assert set(tuned.seconds) == {other, *asked}
    for one, seconds in tuned.seconds.items():
        choice = select_algorithm(one, HERE)
        assert "measured on this device" in choice.reason
        assert choice.algorithm == min(seconds, key=seconds.get)
    recorded = describe_table(HERE)
    assert recorded["path"] == str(elsewhere) and recorded["convolutions"] == len(tuned.seconds)

    jconv.tune(LOSS, budget=0.01)(kernel)
    assert set(read_table(table).seconds) == set(asked)
    assert select_algorithm(other, HERE).basis != MEASURED


OLD = {"jax": "0.4.0", "jaxlib": "0.4.0"}


@pytest.mark.parametrize("made_with", [OLD, {}])
def test_a_table_of_another_jaxlib_is_left_aside(table, made_with):
    write_table(made({problem(): {"im2col": 1e-9, "xla": 1.0}}, made_with=made_with), table)
    with pytest.warns(UserWarning, match="here.json was made with jaxlib"):
        assert select_algorithm(problem(), HERE).basis != MEASURED
    # Told once: warnings are errors.
    assert select_algorithm(problem(images=3), HERE).basis != MEASURED
    assert describe_table(HERE) is None
    for _ in tune_problems([problem(images=5)], path=table, budget=0.01):
        pass
    assert list(read_table(table).seconds) == [problem(images=5)]
    assert read_table(table).made_with == versions()
    assert "measured" in select_algorithm(problem(images=5), HERE).reason


def test_a_table_of_another_patch_release_counts(table):
    patch = {"jaxlib": ".".join([*versions()["jaxlib"].split(".")[:2], "99"])}
    write_table(made({problem(): {"im2col": 1e-9, "xla": 1.0}}, made_with=patch), table)
    assert select_algorithm(problem(), HERE).algorithm == "im2col"


def test_a_folder_is_no_table(tmp_path, monkeypatch, table):
    monkeypatch.setenv("JCONV_TUNING", str(tmp_path))
    with pytest.raises(ValueError, match="`JCONV_TUNING` must be .* which is a folder"):
        table_of(HERE)
    with pytest.raises(ValueError, match="`path` must be the file .* which is a folder"):
        next(tune_problems([problem()], path=tmp_path, budget=0.01))


@pytest.mark.parametrize("budget", ["inf", "nan", "0", "-1"])
def test_a_budget_is_a_number_of_seconds(budget, capsys):
    with pytest.raises(ValueError, match="`budget` must be a number of seconds, above 0"):
        tune(LOSS, budget=float(budget))
    assert main(["tune", "--only", "conv2", f"--budget={budget}"]) == 2
    assert "`--budget` more than 0 seconds, and finite" in capsys.readouterr().err


def test_a_run_records_the_table_it_went_by(table):
    write_table(made({problem(): {"xla": 1.0}}), table)
    clear_choice_cache()
    recorded = describe_table(HERE)
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
        select_algorithm(problem(), HERE)


def test_a_table_of_another_device_or_none_is_told(table):
    with pytest.raises(ValueError, match="`JCONV_TUNING` must be the path of a tuning table"):
        select_algorithm(problem(), HERE)
    write_table(made({}, "abacus"), table)
    with pytest.raises(ValueError, match=f"must be of this kind of device, '{KIND}'"):
        select_algorithm(problem(), HERE)
    with pytest.raises(ValueError, match="`path` must be a tuning table of this kind"):
        next(tune_problems([problem()], path=table, budget=0.01))


def test_the_command_line_tunes_and_says_where_the_table_is(tmp_path, capsys):
    path = tmp_path / "table.json"
    assert main(["tune", "--random", "0.02", "--budget", "0.01", "--out", str(path)]) == 0
    assert f"set JCONV_TUNING={path}" in capsys.readouterr().out
    assert len(read_table(path).seconds) >= 1


@pytest.fixture
def config(tmp_path):
    """A config with three convolutions, forward and in the kernel; two of them see images, which
    have no gradient."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "{data: {kind: digits}, batch_size: 4, steps: 1,\n"
        " model: {kind: parallel_net, blocks: [{1: 2, 3: 4}, {3: 4}]}}\n"
    )
    step, arguments = first_step(load_config(path, TrainConfig, name="tiny"))
    return path, jconv.inspect(step)(*arguments)


def test_the_command_line_inspects_the_step_of_a_config(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    path, found = config
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown and all(word in shown for word in ("bytes", "gradient", "total"))
    assert f"{found.multiply_adds:,}" in shown
    assert len(found.convolutions) == 7 and shown.count("gradient") == 4


@pytest.mark.slow
def test_the_command_line_tunes_for_the_step_of_a_config(config, tmp_path, capsys):
    path, found = tmp_path / "table.json", config[1]
    assert main(["tune", str(config[0]), "--budget", "0.01", "--out", str(path)]) == 0
    assert set(read_table(path).seconds) == {c.problem for c in found.convolutions}
    assert f"set JCONV_TUNING={path}" in capsys.readouterr().out


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
        for seconds in model.seconds(p, eligible_algorithms(p)).values():
            assert 0 < seconds < 1e9


def test_random_layers_are_the_same_for_the_same_seed_and_of_every_kind():
    first, second = random_layers(3), random_layers(3)
    drawn = [next(first) for _ in KINDS]
    assert drawn == [next(second) for _ in KINDS]
    assert [layer.kind for layer in drawn] == list(KINDS)
