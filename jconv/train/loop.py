"""The run: config -> data -> model -> step -> log, from the first step or from where it ended."""

import contextlib
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jconv._core.atomic_io import atomically
from jconv.train import run_folder
from jconv.train.checkpoint import Checkpoints, NoCheckpoint
from jconv.train.config import TrainConfig
from jconv.train.config.loading import load_config
from jconv.train.distributed import agreed, join, refused_by_all, wait_for_all, writes
from jconv.train.log import RunLog, rewind, spread
from jconv.train.optimizer import build_schedule
from jconv.train.progress import Progress
from jconv.train.signals import CutShort, stop_when_asked
from jconv.train.step import forget, take_steps
from jconv.train.trainer import NotFinite, Training, rhythms

LONGEST = 0.5  # seconds of one call, so that who asks a run to end does not wait


def train(
    config: TrainConfig, *, runs: Path | str = "runs", overwrite: bool = False
) -> tuple[Path, dict]:
    """Trains what `config` describes and writes the run's folder, `runs/NAME`.

    Ctrl-C or SIGTERM ends it early, within about a second, with everything logged and the state
    saved; SIGTERM without waiting for an evaluation or the final figures. A second Ctrl-C ends it
    at once. `resume` goes on with what was ended or killed.

    Args:
      config: the run.
      runs: the folder in which the run's folder is made.
      overwrite: replace a run of that name.

    Returns:
      The run's folder and its final figures, as in summary.json.

    Raises:
      RunExists: if there is a run of that name; nothing has been touched then.
      RunBusy: if another process is writing it.
      ValueError: if the parts of the config do not fit the data; no folder has been made then.
      RunFailed: by an error after that; the folder holds what was logged until then.
    """
    join(config.distributed)
    run = Path(runs) / config.name
    with refused_by_all():
        if writes():
            run_folder.check_free(run, overwrite=overwrite)
        training = Training(config)
    with contextlib.ExitStack() as stack:
        with refused_by_all():
            stack.enter_context(run_folder.create(run, config, overwrite=overwrite))
        return run, _carried_out(training, run)


def resume(run: Path | str, *, tell: Callable[[str], None] = warnings.warn) -> tuple[Path, dict]:
    """Goes on with a run that was ended or killed, from its newest checkpoint.

    It ends with the same bits, on a CPU, as one that was not: parameters, optimizer, metrics and
    kernel files.

    Args:
      run: the run's folder.
      tell: is told, in a sentence, of checkpoints that cannot be read, and where it goes on.

    Returns:
      As `train`.

    Raises:
      ValueError: where there is no run, it is finished, or its config.yaml was changed.
      RunBusy: if another process is writing it.
      RunFailed: as `train`.
    """
    run = Path(run)
    if not (run / "config.yaml").is_file():
        raise ValueError(
            f"`RUN` must be the folder of a run. Received: {run}, without config.yaml."
        )
    config = load_config(run / "config.yaml", TrainConfig)
    join(config.distributed)
    with contextlib.ExitStack() as stack:
        with refused_by_all():
            stack.enter_context(run_folder.locked(run))
            if run_folder.status(run) == "finished":
                raise ValueError(f"{run} is finished: there is nothing left to do.")
            training = Training(config)
        with training.checkpoints(run) as checkpoints, contextlib.suppress(NoCheckpoint):
            step, state, facts = checkpoints.restore_newest(
                training.state,
                tell,
                check=lambda facts: run_folder.check_same_config(config, facts["config"], run),
            )
            training.go_on(step, state, facts)
        tell(f"goes on after step {training.step} of {config.steps}")
        if writes():
            rewind(run, training.step, config, judged=training.unjudged is None)
        wait_for_all("the log is what it was")
        return run, _carried_out(training, run)


class RunFailed(RuntimeError):
    """An error ended a run after its folder was made; what was logged until then is in `run`."""

    def __init__(self, run: Path, error: str):
        super().__init__(f"{error}. What was logged until then is in {run}.")
        self.run = run


def _carried_out(training: Training, run: Path) -> dict:
    """Takes the steps that are left, and writes the summary whatever happens."""
    parameters = training.network.parameters
    summary = {"status": "failed", **training.so_far, "parameters": parameters}
    try:
        run_folder.write_json(run / "layers.json", training.network.as_rows())
        if training.data.hidden_kernel is not None and writes():
            with atomically(run / "target.npz", "wb") as file:
                np.savez(file, kernel=training.data.hidden_kernel)
        with stop_when_asked() as asked:
            why = _learn(training, run, summary, asked)
            try:
                if why != signal.SIGTERM.name:  # who sends that does not wait for long
                    summary |= _final_figures(training, asked)
            except CutShort:
                why = signal.SIGTERM.name
        summary["status"] = "finished"
        if why in signal.Signals.__members__:
            summary |= {"status": "interrupted", "signal": why}
        elif why == "early":
            summary["stopped_early"] = True
    except KeyboardInterrupt:
        summary["status"] = "interrupted"
        raise
    except Exception as error:
        summary["error"] = f"{type(error).__name__}: {error}"
        raise RunFailed(run, summary["error"]) from error
    finally:
        forget()
        # Where the disk is full, why the run ended is told all the same.
        with contextlib.suppress(OSError) if "error" in summary else contextlib.nullcontext():
            run_folder.write_json(run / "summary.json", summary)
    return summary


def _learn(training: Training, run: Path, summary: dict, asked: list) -> str:
    """Takes steps until all are taken, one is `asked` to be the last, or it does not get better.

    Returns:
      Which of them it was: `"all"`, the name of a signal, or `"early"`.
    """
    config = training.config
    before, started, first = training.seconds, time.perf_counter(), training.step
    with (
        RunLog(run, training.step, writes=writes()) as log,
        training.checkpoints(run) as checkpoints,
        Progress(config.steps, shown=writes()) as progress,
        _saved_when_bad(training, checkpoints),
    ):
        if training.step == 0:
            log.kernels(0, training.kernels())
        elif training.stops_early and training.step < config.steps:  # and was killed then
            log.kernels(training.step, training.kernels())
            return "early"
        for line, heard in _calls(training, log, progress, asked):
            step = training.step
            passed = time.perf_counter() - started
            training.seconds = before + passed
            if step > first:
                summary.setdefault("first_call_seconds", round(passed, 2))  # with compilation
            summary |= training.so_far
            last = step == config.steps
            validation_loss = line.get("validation_loss")
            if validation_loss is not None:
                training.judge(validation_loss)
            early = training.stops_early and not last
            if (heard or early) and not last:
                log.kernels(step, training.kernels())
            if heard or early or last or step % config.checkpoints.every == 0:
                if validation_loss is not None:
                    training.best_saved = min(training.best_saved, (validation_loss, step))
                checkpoints.save(step, training.state, training.facts, training.best_saved[1])
            if early:
                return "early"
            if heard and (not last or training.unjudged is not None):
                return signal.Signals(heard[-1]).name
    return "all"


@contextlib.contextmanager
def _saved_when_bad(training: Training, checkpoints: Checkpoints):
    """Saves the state before a step that could not be taken."""
    try:
        yield
    except NotFinite:
        checkpoints.save(training.step, training.state, training.facts, training.best_saved[1])
        raise


def _calls(
    training: Training, log: RunLog, progress: Progress, asked: list[int]
) -> Iterator[tuple[dict[str, float], list[int]]]:
    """Yields after every call, of some steps, what was logged of the last of them, if anything,
    and the signals that any process got."""
    config, take = training.config, training.take_from()
    schedule = jax.jit(build_schedule(config))
    training.try_evaluation()  # compiles, during which somebody may have asked to end
    if heard := agreed(asked, 0)[0]:
        yield {}, heard
    clock = _Clock(training.step)
    at_once = 1
    progress.advance(training.step)
    if training.unjudged is not None:
        with clock.stopped():
            made_up_for = _judged(training, log, progress, training.unjudged, asked)
        yield made_up_for
    while training.step < config.steps:
        first = training.step + 1
        stop = _next_stop(config, training.step)
        count = min(stop - training.step, at_once, training.most_at_once)
        taken, metrics = _steps(training, take, first, count)
        if taken < count:
            raise training.not_finite(first + taken)
        training.step += count
        clock.passed(count)
        heard, at_once = agreed(asked, clock.steps_at_once)
        progress.advance(training.step)
        line = {}
        if training.step == stop:
            with clock.stopped():
                evaluating = _due(config.log.evaluate_every, stop, config)
                if stop == 1 or evaluating or _due(config.log.every, stop, config):
                    line = spread({name: values[count - 1] for name, values in metrics.items()})
                    rate = schedule((stop - 1) // config.accumulate)
                    line |= {"learning_rate": float(rate)}
                    images = config.batch_size * config.replicates
                    line |= {"images_per_second": images * clock.steps_per_second()}
                    line |= spread(training.kernel_error())
                    if evaluating:
                        line, heard = _judged(training, log, progress, line, asked)
                    else:
                        log.scalars(stop, line)
                        progress.show(stop, line)
                if _due(config.log.kernels_every, stop, config):
                    log.kernels(stop, training.kernels())
        yield line, heard


def _judged(
    training: Training, log: RunLog, progress: Progress, line: dict[str, float], asked: list[int]
) -> tuple[dict[str, float], list[int]]:
    """Adds to the figures of a step how good the model is, and logs them.

    Where SIGTERM comes first they are left for `resume` to do so.

    Returns:
      The line that was logged, and the signals that any process got.
    """
    training.unjudged = line
    try:
        figures = training.figures(training.data.validation, asked)
    except CutShort:
        return {}, [signal.SIGTERM]
    training.unjudged = None
    line = line | spread(_without_tables(figures), "validation_")
    log.scalars(training.step, line)
    progress.show(training.step, line)
    return line, agreed(asked, 0)[0]


def _steps(training: Training, take: Callable, first: int, count: int) -> tuple[int, dict]:
    """Takes `count` steps, or as many as there are before one that goes bad.

    Returns:
      How many were taken, and what each of them figured.
    """
    data, order = take(count)
    training.state, metrics, taken = take_steps(
        training.learner,
        training.state,
        data,
        order,
        training.keys,
        np.int32(first),
        np.int32(count),
    )
    return int(taken), jax.device_get(metrics)


def _next_stop(config: TrainConfig, step: int) -> int:
    """The next step after which something is looked at."""
    if step == 0:
        return 1
    return min(config.steps, *((step // every + 1) * every for every in rhythms(config)))


def _due(every: int, step: int, config: TrainConfig) -> bool:
    return step == config.steps or step % every == 0


class _Clock:
    """Times the steps, and not the evaluation and logging between them."""

    def __init__(self, step: int):
        self._since, self._steps = time.perf_counter(), 0
        self.steps_at_once = 1

    def passed(self, steps: int) -> None:
        """Takes note of a call; the next takes so many steps as last for half of `LONGEST`."""
        self._steps += steps
        self.steps_at_once = max(1, int(self.steps_per_second() * LONGEST / 2))

    def steps_per_second(self) -> float:
        """Since steps were looked at last."""
        return self._steps / (time.perf_counter() - self._since)

    @contextlib.contextmanager
    def stopped(self):
        yield
        self._since, self._steps = time.perf_counter(), 0


def _final_figures(training: Training, asked: list[int]) -> dict:
    """How the model does on what it has not learned from.

    Raises:
      CutShort: by SIGTERM.
    """
    data = training.data
    figures: dict[str, Any] = {
        "validation_images": len(data.validation),
        "test_images": len(data.test),
    }
    validation = training.figures(data.validation, asked)
    figures |= spread(_without_tables(validation), "validation_")
    found = training.figures(data.test, asked)
    figures |= spread(_without_tables(found), "test_") | spread(training.kernel_error())
    if "confusion" in found:
        table = found["confusion"].reshape(-1, *found["confusion"].shape[-2:]).sum(0)
        figures["test_confusion"] = table.astype(int).tolist()
    if data.classes is not None:
        figures["classes"] = list(data.classes)
    return figures


def _without_tables(figures: dict) -> dict:
    return {name: value for name, value in figures.items() if name != "confusion"}
