"""Points that Optuna chooses, each by how the ones before it did: Akiba et al. (2019).

It pays where a run is long and the axes are ranges: a dozen points find what a grid of a hundred
finds. Its memory is study.db in the sweep's folder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jconv.train.sweep.axes import Axis, Choices, Values, text_of


class Study:
    """The trials of a sweep, numbered from 1.

    Args:
      folder: of the sweep.
      axes: what is chosen.
      metric: of summary.json, by which a trial is judged: an accuracy, or a loss.
      seed: of the first choices.
    """

    def __init__(self, folder: Path, axes: Sequence[Axis], *, metric: str, seed: int):
        import optuna  # pyright: ignore[reportMissingImports]

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._state = optuna.trial.TrialState
        self._axes, self._metric = axes, metric
        self._spaces = {axis.path: _space(axis, optuna.distributions) for axis in axes}
        self._study = optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{(folder / 'study.db').resolve()}",
            direction="maximize" if metric.endswith("accuracy") else "minimize",
            load_if_exists=True,
        )
        # The same seed would make the first choices after a pause those of the beginning.
        self._study.sampler = optuna.samplers.TPESampler(seed=seed + self.size)

    @staticmethod
    def check_installed() -> None:
        """Refuses to begin without Optuna.

        Raises:
          ValueError: saying how to install it.
        """
        if importlib.util.find_spec("optuna") is None:
            raise ValueError(
                "`--optuna` needs Optuna, which is not installed. "
                "Install it with `pip install 'jconv[optuna]'`, or draw points with `--random N`."
            )

    @property
    def size(self) -> int:
        """How many trials were begun."""
        return len(self._study.get_trials(deepcopy=False))

    def points(self) -> Iterator[tuple[int, Values]]:
        """Number and values of each trial."""
        for trial in self._study.get_trials(deepcopy=False):
            if set(trial.params) == set(self._spaces):  # not so after a kill while it was chosen
                yield trial.number + 1, self._values(trial.params)

    def under_way(self) -> list[tuple[int, Values]]:
        """Number and values of the trials that were begun and not told of."""
        begun = {
            trial.number + 1
            for trial in self._study.get_trials(deepcopy=False, states=[self._state.RUNNING])
        }
        return [(number, values) for number, values in self.points() if number in begun]

    def ask(self) -> None:
        """Begins a trial."""
        self._study.ask(self._spaces)

    def tell(self, number: int, summary: Mapping[str, Any]) -> None:
        """Learns how good a trial was; one that is not finished stays under way, to be gone on with
        or tried again."""
        value = summary.get(self._metric)
        if summary.get("status") == "finished" and value is not None:
            self._study.tell(number - 1, value)

    def _values(self, chosen: Mapping[str, Any]) -> Values:
        values = {}
        for axis in self._axes:
            own = chosen[axis.path]
            if isinstance(axis, Choices):
                values[axis.path] = next(v for v in axis.values if text_of(v) == own)
            else:
                values[axis.path] = axis.rounded(own)
        return values


def _space(axis: Axis, kinds: Any) -> Any:
    if isinstance(axis, Choices):  # by their texts: a choice may also be a section of the config
        return kinds.CategoricalDistribution([text_of(value) for value in axis.values])
    kind = kinds.IntDistribution if axis.whole else kinds.FloatDistribution
    return kind(axis.low, axis.high, log=axis.log)
