"""The loop over a run's steps: take steps, log, evaluate, save."""

import time
from collections.abc import Sequence

import jax

from jconv.train.checkpoint import CheckpointStore
from jconv.train.config import TrainConfig
from jconv.train.distributed import min_over_processes, sync_signals
from jconv.train.log import RunLog, reduce_replicates
from jconv.train.optimizer import build_schedule
from jconv.train.progress import ProgressBar
from jconv.train.signals import EvaluationInterrupted
from jconv.train.trainer import NonFiniteError, Trainer, intervals

MAX_CALL_SECONDS = 0.5  # of one call of several steps, so that a signal takes effect soon


class StepLoop:
    """The loop over the remaining steps of a run.

    Args:
      trainer: the run's state.
      log: receives metrics and kernels.
      checkpoints: receives the state.
      bar: displays the progress.
      signals: the signals that this process has received, a list that grows while the loop runs.
    """

    def __init__(
        self,
        trainer: Trainer,
        log: RunLog,
        checkpoints: CheckpointStore,
        bar: ProgressBar,
        signals: Sequence[int],
    ):
        self.trainer = trainer
        self.log = log
        self.checkpoints = checkpoints
        self.bar = bar
        self.signals = signals
        self.schedule = jax.jit(build_schedule(trainer.config))
        self.clock = _Clock()

    def run(self) -> list[int]:
        """Take steps until the run is finished or a process receives a signal.

        An evaluation that SIGTERM interrupts remains in `trainer.pending_metrics`, is saved with
        the state, and is repeated first when the run is resumed.

        Returns:
          The signals on which the loop has stopped before the run was finished; empty otherwise.

        Raises:
          NonFiniteError: if a loss or gradient is not finite; the state before that step is saved.
        """
        trainer = self.trainer
        first, started, seconds_before = trainer.step, time.perf_counter(), trainer.seconds
        if trainer.step == 0:
            self.log.kernels(0, trainer.kernels())
        self.bar.advance(trainer.step)
        trainer.compile_evaluation()
        self.clock.restart()
        received = sync_signals(self.signals)
        try:
            while not (received or trainer.finished):
                if trainer.pending_metrics is None:
                    self._take_steps()
                if trainer.pending_metrics is not None:
                    self._evaluate()
                elapsed = time.perf_counter() - started
                trainer.seconds = seconds_before + elapsed
                if trainer.first_call_seconds is None and trainer.step > first:
                    trainer.first_call_seconds = elapsed
                received = sync_signals(self.signals)
                if trainer.finished or trainer.step % trainer.config.checkpoints.every == 0:
                    trainer.save(self.checkpoints)
        except NonFiniteError:
            trainer.save(self.checkpoints)
            raise
        if trainer.step < trainer.config.steps:
            self.log.kernels(trainer.step, trainer.kernels())
        if received:
            trainer.save(self.checkpoints)
        return [] if trainer.finished else received

    def _take_steps(self) -> None:
        """Take the steps of one call, and log the last one if it is due."""
        trainer, config = self.trainer, self.trainer.config
        stop = _next_stop(config, trainer.step)
        affordable = min_over_processes(self.clock.steps_per_call)
        count = min(stop - trainer.step, affordable, trainer.max_steps_per_call)
        metrics = trainer.take_steps(count)
        self.clock.add(count)
        self.bar.advance(trainer.step)
        if trainer.step < stop:
            return
        evaluate = _due(config.log.evaluate_every, stop, config)
        if stop == 1 or evaluate or _due(config.log.every, stop, config):
            line = reduce_replicates(metrics)
            line["learning_rate"] = float(self.schedule((stop - 1) // config.accumulate))
            images_per_step = config.batch_size * config.replicates
            line["images_per_second"] = images_per_step * self.clock.steps_per_second()
            line |= reduce_replicates(trainer.kernel_error())
            if evaluate:
                trainer.pending_metrics = line
            else:
                self._log(line)
        if _due(config.log.kernels_every, stop, config):
            self.log.kernels(stop, trainer.kernels())
        self.clock.restart()

    def _evaluate(self) -> None:
        """Evaluate the current step and log its metrics, unless SIGTERM interrupts it."""
        trainer = self.trainer
        assert trainer.pending_metrics is not None
        try:
            metrics = trainer.evaluate(trainer.data.validation, self.signals)
        except EvaluationInterrupted:
            return
        metrics.pop("confusion", None)
        line = trainer.pending_metrics | reduce_replicates(metrics, "validation_")
        trainer.pending_metrics = None
        trainer.update_early_stopping(line["validation_loss"])
        self._log(line)
        self.clock.restart()

    def _log(self, line: dict[str, float]) -> None:
        self.log.scalars(self.trainer.step, line)
        self.bar.show(self.trainer.step, line)


class _Clock:
    """Timer of the steps since the last restart, which excludes evaluation and logging."""

    def __init__(self):
        self.steps_per_call = 1
        self.restart()

    def restart(self) -> None:
        self._started, self._steps = time.perf_counter(), 0

    def add(self, steps: int) -> None:
        """Count the steps of a call; the next call may take half of `MAX_CALL_SECONDS`."""
        self._steps += steps
        self.steps_per_call = max(1, int(self.steps_per_second() * MAX_CALL_SECONDS / 2))

    def steps_per_second(self) -> float:
        return self._steps / (time.perf_counter() - self._started)


def _next_stop(config: TrainConfig, step: int) -> int:
    """Return the next step after which something is logged, evaluated or saved."""
    if step == 0:
        return 1
    return min(config.steps, *((step // every + 1) * every for every in intervals(config)))


def _due(every: int, step: int, config: TrainConfig) -> bool:
    return step == config.steps or step % every == 0
