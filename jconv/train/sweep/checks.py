"""Check of all points of a sweep before the first is trained."""

from collections.abc import Sequence

from flax import nnx
from pydantic import ValidationError

from jconv.train.build import build_data, build_model
from jconv.train.config import TrainConfig
from jconv.train.config.loading import ConfigError, describe
from jconv.train.mesh import DeviceMesh
from jconv.train.sweep.config_values import Values, format_values, with_values


def check_points(config: TrainConfig, points: Sequence[Values]) -> None:
    """Check that every point can be trained.

    Raises:
      ConfigError: listing all problems, each with the first point that has it.
    """
    points_by_problem: dict[str, list[Values]] = {}
    checker = _Checker()
    for values in points:
        try:
            checker.check(with_values(config, values, name="point"))
        except ValueError as error:
            points_by_problem.setdefault(describe_error(error), []).append(values)
    if points_by_problem:
        count = sum(map(len, points_by_problem.values()))
        lines = [f"{problem} ({_where(some)})" for problem, some in points_by_problem.items()]
        raise ConfigError(
            "\n  ".join([f"{count} of {len(points)} points cannot be trained", *lines])
        )


def describe_error(error: ValueError) -> str:
    """Return the problems of a config, without the line that counts them."""
    if isinstance(error, ValidationError):
        return describe(error, TrainConfig).partition("\n  ")[2]
    return str(error)


def _where(points: Sequence[Values]) -> str:
    more = f", and {len(points) - 1} more" if len(points) > 1 else ""
    return f"at {format_values(points[0])}{more}"


class _Checker:
    """Checks that data, model and mesh of a config fit each other.

    Each data set is loaded, and each model traced, only once.
    """

    def __init__(self):
        self._sizes: dict[str, tuple[int, tuple[int, ...], int]] = {}
        self._checked_models: set[str] = set()

    def check(self, config: TrainConfig) -> None:
        """Check one config.

        Raises:
          ValueError: if it cannot be trained.
        """
        key = config.data.model_dump_json()
        if key not in self._sizes:
            data = build_data(config.data)
            self._sizes[key] = len(data.train), data.input_shape, data.outputs
        examples, input_shape, outputs = self._sizes[key]
        if config.batch_size > examples:
            raise ValueError(
                f"`batch_size` must be at most the number of training examples, {examples}. "
                f"Received: {config.batch_size}."
            )
        DeviceMesh(config.mesh)
        key += config.model.model_dump_json()
        if key not in self._checked_models:
            nnx.eval_shape(lambda: build_model(config.model, input_shape, outputs, nnx.Rngs(0)))
            self._checked_models.add(key)
