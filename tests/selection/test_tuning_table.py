"""The tuning table: its file, its precedence over the cost model, and errors."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from helpers.tuning import DEVICE_KIND, PLATFORM, make_problem, make_table, tuning_path

import jconv
from jconv._core.geometry import make_window
from jconv.selection.choice import MEASURED
from jconv.selection.select import eligible_algorithms, select_algorithm
from jconv.selection.tuning_table import (
    TuningTable,
    describe_table,
    read_table,
    table_of,
    versions,
    write_table,
)
from jconv.transforms.tune import clear_choice_cache, tune_problems


@pytest.fixture
def table_path(tmp_path, monkeypatch):
    """The path of this process's tuning table; the file does not exist yet."""
    with tuning_path(tmp_path / "tables" / "here.json", monkeypatch) as path:
        yield path


def test_a_table_round_trips_through_its_file(table_path):
    window = make_window((9, 8), (3, 2), stride=2, padding="VALID")
    strided = dataclasses.replace(make_problem(), window=window)
    times = {make_problem(): {"xla": 1.0}, strided: {"direct": 2.0}}
    table = TuningTable("cpu", times, {"jax": "1"})
    write_table(table, table_path)
    assert read_table(table_path) == table


def test_measured_times_take_precedence_over_predictions(table_path):
    problem = make_problem()
    times = dict.fromkeys(eligible_algorithms(problem), 1.0) | {"im2col": 1e-9}
    write_table(make_table({problem: times}), table_path)
    choice = select_algorithm(problem, PLATFORM)
    assert choice.algorithm == "im2col" and "measured on this device" in choice.reason
    assert select_algorithm(make_problem(images=3), PLATFORM).basis != MEASURED
    x, kernel = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 4, 4))
    assert jconv.choose(x, kernel) == choice
    lowered = jax.jit(jconv.conv).lower(x, kernel).as_text()
    assert "stablehlo.convolution" not in lowered


OLD_VERSIONS = {"jax": "0.4.0", "jaxlib": "0.4.0"}


@pytest.mark.parametrize("made_with", [OLD_VERSIONS, {}])
def test_a_table_of_another_jaxlib_is_ignored_and_replaced(table_path, made_with):
    times = {make_problem(): {"im2col": 1e-9, "xla": 1.0}}
    write_table(make_table(times, made_with=made_with), table_path)
    with pytest.warns(UserWarning, match="here.json was made with jaxlib"):
        assert select_algorithm(make_problem(), PLATFORM).basis != MEASURED
    # The warning is raised once only; a second one would be an error here.
    assert select_algorithm(make_problem(images=3), PLATFORM).basis != MEASURED
    assert describe_table(PLATFORM) is None
    for _ in tune_problems([make_problem(images=5)], path=table_path, budget=0.01):
        pass
    assert list(read_table(table_path).seconds) == [make_problem(images=5)]
    assert read_table(table_path).made_with == versions()
    assert "measured" in select_algorithm(make_problem(images=5), PLATFORM).reason


def test_a_table_of_another_patch_release_is_used(table_path):
    patch = {"jaxlib": ".".join([*versions()["jaxlib"].split(".")[:2], "99"])}
    times = {make_problem(): {"im2col": 1e-9, "xla": 1.0}}
    write_table(make_table(times, made_with=patch), table_path)
    assert select_algorithm(make_problem(), PLATFORM).algorithm == "im2col"


def test_the_description_of_a_table_has_its_path_and_size(table_path):
    write_table(make_table({make_problem(): {"xla": 1.0}}), table_path)
    clear_choice_cache()
    description = describe_table(PLATFORM)
    assert description["path"] == str(table_path) and description["convolutions"] == 1


def test_a_folder_is_an_error(tmp_path, monkeypatch, table_path):
    monkeypatch.setenv("JCONV_TUNING", str(tmp_path))
    with pytest.raises(ValueError, match="`JCONV_TUNING` must be .* which is a folder"):
        table_of(PLATFORM)
    with pytest.raises(ValueError, match="`path` must be the file .* which is a folder"):
        next(tune_problems([make_problem()], path=tmp_path, budget=0.01))


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0}', '{"format": 1}', "\xff"])
def test_a_file_that_is_not_a_table_is_an_error(table_path, content):
    table_path.parent.mkdir()
    table_path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"here.json must be a tuning table"):
        select_algorithm(make_problem(), PLATFORM)


def test_a_missing_table_and_one_of_another_device_are_errors(table_path):
    with pytest.raises(ValueError, match=r"`JCONV_TUNING` must be .*, which does not exist"):
        select_algorithm(make_problem(), PLATFORM)
    write_table(make_table({}, "abacus"), table_path)
    with pytest.raises(ValueError, match=f"must be of this kind of device, '{DEVICE_KIND}'"):
        select_algorithm(make_problem(), PLATFORM)
    with pytest.raises(ValueError, match="`path` must be a tuning table of this kind"):
        next(tune_problems([make_problem()], path=table_path, budget=0.01))
