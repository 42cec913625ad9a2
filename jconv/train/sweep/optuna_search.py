"""Points that Optuna chooses, each based on the results of earlier points.

This is worthwhile if a run takes long and the axes are ranges: a dozen points then find what a grid
of a hundred finds. The state is kept in study.db in the folder of the sweep.

Reference: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework" (2019).
"""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jconv.train.sweep.axes import Axis, Choices
from jconv.train.sweep.config_values import Values, format_value


class OptunaSearch:
    """The trials of a sweep, numbered from 1.

    Args:
      folder: folder of the sweep.
      axes: what a trial chooses a value of.
      metric: the key of summary.json to optimize: an accuracy, or a loss.
      seed: seed of the sampler.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], *, metric: str, seed: int):
        import optuna  # pyright: ignore[reportMissingImports]

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._state = optuna.trial.TrialState
        self._axes, self._metric = axes, metric
        self._distributions = {axis.path: _distribution(axis, optuna) for axis in axes}
        self._study = optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{(folder / 'study.db').resolve()}",
            direction="maximize" if metric.endswith("accuracy") else "minimize",
            load_if_exists=True,
        )
        # With the same seed, a continued sweep would sample its first points again.
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + self.size)

    @staticmethod
    def check_installed() -> None:
        """Check that Optuna is installed.

        Raises:
          ValueError: with the command that installs it.
        """
        if importlib.util.find_spec("optuna") is None:
            raise ValueError(
                "`--optuna` needs Optuna, which is not installed. Install it with "
                "`pip install 'jconv[optuna]'`, or sample points with `--random N`."
            )

    @property
    def size(self) -> int:
        """Number of trials that were started."""
        return len(self._study.get_trials(deepcopy=False))

    def points(self) -> Iterator[tuple[int, Values]]:
        """Yield number and values of each trial."""
        for trial in self._study.get_trials(deepcopy=False):
            # A process that was killed may have left a trial with some of its values.
            if set(trial.params) == set(self._distributions):
                yield trial.number + 1, self._values(trial.params)

    def unfinished(self) -> list[tuple[int, Values]]:
        """Return number and values of the trials that were started and have no result."""
        running = {
            trial.number + 1
            for trial in self._study.get_trials(deepcopy=False, states=[self._state.RUNNING])
        }
        return [(number, values) for number, values in self.points() if number in running]

    def start_trial(self) -> None:
        """Let Optuna choose the values of a new trial."""
        self._study.ask(self._distributions)

    def report(self, number: int, summary: Mapping[str, Any]) -> None:
        """Report the result of a trial; one that did not finish can be continued later."""
        value = summary.get(self._metric)
        if summary.get("status") == "finished" and value is not None:
            self._study.tell(number - 1, value)

    def _values(self, params: Mapping[str, Any]) -> Values:
        values = {}
        for axis in self._axes:
            chosen = params[axis.path]
            if isinstance(axis, Choices):
                values[axis.path] = next(v for v in axis.values if format_value(v) == chosen)
            else:
                values[axis.path] = axis.round(chosen)
        return values


def _distribution(axis: Axis, optuna: Any) -> Any:
    if isinstance(axis, Choices):
        # Optuna stores text: a choice may also be a section of the config.
        texts = [format_value(value) for value in axis.values]
        return optuna.distributions.CategoricalDistribution(texts)
    if axis.integer:
        return optuna.distributions.IntDistribution(axis.low, axis.high, log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
