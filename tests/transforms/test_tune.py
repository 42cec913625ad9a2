"""`jconv.tune` measures the convolutions of a function, and `auto` uses the times."""

import jax
import jax.numpy as jnp
import pytest
from helpers.tuning import PLATFORM, make_problem, make_table, tuning_path

import jconv
from jconv.selection.choice import MEASURED
from jconv.selection.select import select_algorithm
from jconv.selection.tuning_table import describe_table, read_table, write_table
from jconv.transforms.tune import tune, tune_problems


@pytest.fixture
def table_path(tmp_path, monkeypatch):
    """The path of this process's tuning table; the file does not exist yet."""
    with tuning_path(tmp_path / "tables" / "here.json", monkeypatch) as path:
        yield path


KERNEL = jnp.ones((3, 3, 4, 4))


def loss(kernel):
    return jconv.conv(jnp.ones((2, 9, 9, 4)), kernel).sum()


def test_tune_measures_every_convolution_and_keeps_other_entries(table_path):
    write_table(make_table({make_problem(images=7): {"xla": 1.0}}), table_path)

    def lax_loss(kernel):
        x, numbers = jnp.ones((2, 9, 9, 4)), ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers
        ).sum()

    tuned = jconv.tune(jax.value_and_grad(lax_loss), path=table_path, budget=0.01)(KERNEL)
    assert tuned == read_table(table_path)
    assert make_problem(images=7) in tuned.seconds and len(tuned.seconds) == 3
    for problem, seconds in tuned.seconds.items():
        assert seconds["xla"] > 0
        assert select_algorithm(problem, PLATFORM).algorithm == min(seconds, key=seconds.get)


def test_a_process_uses_the_table_that_it_tuned_last(table_path, tmp_path):
    elsewhere, other = tmp_path / "t.json", make_problem(images=7)
    write_table(make_table({other: {"direct": 1e-9, "xla": 1.0}}), elsewhere)
    first = jconv.tune(loss, budget=0.01)(KERNEL).seconds  # at `JCONV_TUNING`
    assert read_table(table_path).seconds == first
    assert select_algorithm(other, PLATFORM).basis != MEASURED

    tuned = jconv.tune(loss, path=elsewhere, budget=0.01)(KERNEL)
    assert set(tuned.seconds) == {other, *first}
    for problem, seconds in tuned.seconds.items():
        choice = select_algorithm(problem, PLATFORM)
        assert "measured on this device" in choice.reason
        assert choice.algorithm == min(seconds, key=seconds.get)
    description = describe_table(PLATFORM)
    assert description["path"] == str(elsewhere)
    assert description["convolutions"] == len(tuned.seconds)

    jconv.tune(loss, budget=0.01)(KERNEL)
    assert set(read_table(table_path).seconds) == set(first)
    assert select_algorithm(other, PLATFORM).basis != MEASURED


def test_the_table_is_kept_when_tuning_ends_early(table_path):
    problems = [make_problem(), make_problem(images=3)]
    races = tune_problems(problems, path=table_path, budget=0.01)
    next(races)
    races.close()
    assert list(read_table(table_path).seconds) == problems[:1]


@pytest.mark.parametrize("budget", [float("inf"), float("nan"), 0.0, -1.0])
def test_a_budget_that_is_not_positive_and_finite_is_an_error(budget):
    with pytest.raises(ValueError, match="`budget` must be a number of seconds, above 0"):
        tune(loss, budget=budget)


def test_tune_refuses_what_is_not_a_function():
    with pytest.raises(ValueError, match="`fn` must be a function. Received: fn=3"):
        jconv.tune(3)
