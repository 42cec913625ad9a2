"""Axes of a sweep: parsing, grids and samples."""

import numpy as np
import pytest
from helpers.sweeps import DROPOUT, RATE

from jconv.train.config.loading import ConfigError
from jconv.train.sweep.axes import Choices, Range, parse_axes
from jconv.train.sweep.config_values import short_names, with_values
from jconv.train.sweep.points import MAX_POINTS, grid, sample


def test_values_with_commas_are_axes(config):
    arguments = ["--optimizer.learning-rate", "1e-3,3e-3", "--replicates", "4"]
    arguments += ["--model.norm=true,no", "--overwrite", "--clip_norm=None,1.5"]
    axes, rest = parse_axes(arguments, config)
    assert axes == (
        Choices(RATE, (0.001, 0.003)),
        Choices("model.norm", (True, False)),
        Choices("clip_norm", (None, 1.5)),
    )
    assert rest == ["--replicates", "4", "--overwrite"]


def test_commas_in_brackets_do_not_separate_values(config):
    axes, rest = parse_axes(["--model.blocks", "[{1: 2, 3: 4}],[{1: 4}]"], config)
    assert axes[0].values == ([{"1": 2, "3": 4}], [{"1": 4}])
    blocks = [with_values(config, point, "x").model.blocks for point in grid(axes)]
    assert blocks == [({1: 2, 3: 4},), ({1: 4},)]
    assert parse_axes(["--model.blocks", "[{1: 2, 3: 4}]"], config)[1] == [
        "--model.blocks", "[{1: 2, 3: 4}]"]  # fmt: skip


def test_wide_range_is_logarithmic_and_integer_if_the_config_is(config):
    arguments = [f"--{RATE}", "1e-4..1e-1", "--steps", "10..1000", f"--{DROPOUT}", "0..0.5"]
    (rate, steps, dropout), _ = parse_axes(arguments, config)
    assert (rate.log, steps.log, dropout.log) == (True, True, False)
    assert (rate.integer, steps.integer, dropout.integer) == (False, True, False)
    points = sample((rate, steps, dropout), 400, seed=0)
    sampled = np.array([[p[RATE], p["steps"], p[DROPOUT]] for p in points])
    assert all(isinstance(point["steps"], int) for point in points)
    assert (sampled.min(0) >= (1e-4, 10, 0)).all() and (sampled.max(0) <= (1e-1, 1000, 0.5)).all()
    # Half of the points lie below the (geometric) mean; the standard error of 400 samples is 2.5%.
    shares = (sampled < (10**-2.5, 100, 0.25)).mean(0)
    np.testing.assert_allclose(shares, 0.5, atol=0.1)


def test_range_of_an_unset_value_is_integer_only_if_required(config):
    arguments = ["--clip_norm", "1..5", "--early_stopping.patience", "1..5"]
    (norm, patience), _ = parse_axes(arguments, config)
    assert (norm.integer, patience.integer) == (False, True)
    arguments = ["--data.kind", "photos,filtered_photos", "--data.patches", "100..900"]
    assert parse_axes(arguments, config)[0][1].integer


def test_random_points_differ_and_fewer_are_a_prefix_of_more(config):
    axes = (Choices(RATE, (0.1, 0.2, 0.3)), Choices(DROPOUT, (0.0, 0.1)))
    points = sample(axes, 6, seed=3)
    assert sorted(map(str, points)) == sorted(map(str, grid(axes)))
    assert sample(axes, 4, seed=3) == points[:4] != sample(axes, 4, seed=4)
    with pytest.raises(ConfigError, match="at most the number of different points, which is 6"):
        sample(axes, 7, seed=0)


def test_section_of_another_kind_starts_with_defaults(config):
    adamw = with_values(config, {RATE: 0.5, "optimizer.kind": "adamw"}, "x").optimizer
    assert (adamw.kind, adamw.learning_rate, adamw.weight_decay) == ("adamw", 0.5, 1e-4)
    stopping = with_values(config, {"early_stopping.patience": 3}, "x").early_stopping
    assert stopping.patience == 3


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--steps", "1,2,"], "`--steps` must be different values with commas between them"),
        (["--steps", "1,2,1"], "1 and 1 are equal"),
        (["--steps", "10..5"], "`--steps` must go from a whole number to a larger one"),
        (["--steps", "1.5..5"], "must go from a whole number"),
        (["--steps", "1,2", "--steps", "3,4"], "`--steps` is given twice"),
        (["--name", "a,b"], "`--name` must be one name: that of the whole sweep"),
        (["--steps.x", "1,2"], "`--steps.x` must be the path of a value of the config"),
        (["--clip_norm", "{a,b"], None),
    ],
)
def test_invalid_axis_is_an_error(arguments, expected, config):
    if expected is None:
        assert parse_axes(arguments, config) == ((), arguments)
        return
    with pytest.raises(ConfigError) as error:
        parse_axes(arguments, config)
    assert expected in str(error.value)


def test_grid_of_a_range_or_of_too_many_points_is_an_error():
    with pytest.raises(ConfigError, match="is a range, and a grid needs values"):
        grid([Range("steps", 1, 5, True)])
    numbers = tuple(range(40))
    with pytest.raises(ConfigError, match=f"at most {MAX_POINTS:,} points. Received: 1,600"):
        grid([Choices("seed", numbers), Choices("data.seed", numbers)])


def test_short_names_are_unique():
    names = short_names(["optimizer.learning_rate", "data.seed", "seed", "a.b.x", "c.b.x"])
    assert list(names.values()) == ["learning_rate", "data.seed", "seed", "a.b.x", "c.b.x"]
