"""Points of a sweep: a grid over its axes, or random samples of them."""

import itertools
import json
import math
import random
from collections.abc import Sequence

from jconv.train.config.loading import ConfigError
from jconv.train.sweep.axes import Axis, Choices
from jconv.train.sweep.config_values import Values

MAX_POINTS = 1000


def grid(axes: Sequence[Axis]) -> list[Values]:
    """Return all combinations of the axes' values; the last axis changes fastest.

    Raises:
      ConfigError: if an axis is a range, or there are more than `MAX_POINTS` combinations.
    """
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) < len(axes):
        first = next(axis for axis in axes if axis not in choices)
        raise ConfigError(
            f"`--{first.path}` is a range, and a grid needs values with commas between them. "
            f"List some values, or sample points with `--random N` or `--optuna N`."
        )
    size = math.prod(len(axis.values) for axis in choices)
    if size > MAX_POINTS:
        raise ConfigError(
            f"a grid must have at most {MAX_POINTS:,} points. Received: {size:,}. "
            f"List fewer values, or sample points of it with `--random N`."
        )
    paths = [axis.path for axis in choices]
    return [
        dict(zip(paths, values, strict=True))
        for values in itertools.product(*(axis.values for axis in choices))
    ]


def sample(axes: Sequence[Axis], count: int, seed: int) -> list[Values]:
    """Return different random points; with the same seed, fewer points are a prefix of more.

    Raises:
      ConfigError: if there are not so many different points.
    """
    rng = random.Random(seed)
    points: dict[str, Values] = {}
    for _ in range(200 * count):  # far more tries than it takes to find `count` points
        values = {axis.path: axis.sample(rng) for axis in axes}
        points.setdefault(json.dumps(values), values)
        if len(points) == count:
            return list(points.values())
    raise ConfigError(
        f"`--random` must be at most the number of different points, which is {len(points):,} "
        f"here. Received: {count:,}. Omit it for a grid of all of them."
    )


def points_to_check(axes: Sequence[Axis]) -> list[Values]:
    """Return points that together contain every value that `values_to_check` lists."""
    first = {axis.path: axis.values_to_check()[0] for axis in axes}
    return [first | {axis.path: value} for axis in axes for value in axis.values_to_check()]
