"""The run: data, model, step after step, log."""

import contextlib
import itertools
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.analysis.summary import summarize
from jconv.data import Split, Splits, batches
from jconv.files import atomically
from jconv.nn.calls import in_evaluation
from jconv.train import run_folder
from jconv.train.build import build_data, build_model, build_optimizer, build_schedule
from jconv.train.checkpoint import Checkpoints, NoCheckpoint
from jconv.train.config import TrainConfig
from jconv.train.interrupt import stop_when_asked
from jconv.train.load import load_config
from jconv.train.log import RunLog, kernels_of, rewind
from jconv.train.progress import Progress
from jconv.train.step import LOSSES, Loss, evaluate, first_bad_layer, shift, train_step


def train(
    config: TrainConfig, *, runs: Path | str = "runs", overwrite: bool = False
) -> tuple[Path, dict]:
    """Trains what `config` describes and writes the run's folder, `runs/NAME`.

    Ctrl-C or SIGTERM ends it early, after the step that is under way, with everything logged and
    the state saved; a second Ctrl-C ends it at once. `resume` goes on with what was ended or
    killed.

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
    run = Path(runs) / config.name
    run_folder.check_free(run, overwrite=overwrite)
    training = _Training(config)
    with run_folder.create(run, config, overwrite=overwrite):
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
    with run_folder.locked(run):
        if run_folder.status(run) == "finished":
            raise ValueError(f"{run} is finished: there is nothing left to do.")
        training = _Training(config)
        with training.checkpoints(run) as checkpoints:
            try:
                step, facts = checkpoints.restore_newest(training.model, training.optimizer, tell)
            except NoCheckpoint:
                step, facts = 0, training.facts
        _check_same_config(config, facts["config"], run)
        tell(f"goes on after step {step} of {config.steps}")
        training.seconds = facts["seconds"]
        rewind(run, step, config)
        return run, _carried_out(training, run, after=step)


class RunFailed(RuntimeError):
    """An error ended a run after its folder was made; what was logged until then is in `run`."""

    def __init__(self, run: Path, error: str):
        super().__init__(f"{error}. What was logged until then is in {run}.")
        self.run = run


class NotFinite(ArithmeticError):
    """A step that was not taken: its loss or gradient is not finite."""


class _Training:
    """What a config makes: data, model and optimizer, as before the first step."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.data = build_data(config.data)
        _check_batch_size(config.batch_size, self.data.train)
        rngs = nnx.Rngs(config.seed)
        self.model = build_model(config.model, self.data.input_shape, self.data.outputs, rngs)
        rule = build_optimizer(config.optimizer, build_schedule(config))
        self.optimizer = nnx.Optimizer(self.model, rule, wrt=nnx.Param)
        self.network = summarize(self.model, self.data.input_shape)
        self.loss = LOSSES[config.loss]
        self.seconds = 0.0
        self.halted = jnp.zeros((), bool)

    def shifted(self, images, step: int):
        """Images as a step sees them."""
        key = jax.random.fold_in(jax.random.key(self.config.seed), step)
        return shift(images, self.config.shift, key)

    def check(self) -> None:
        """Stops where a step was not taken.

        Raises:
          NotFinite: naming it, and the layer that went bad.
        """
        if not self.halted:
            return
        taken = int(self.optimizer.step[...])
        indices = next(
            batches(
                len(self.data.train), self.config.batch_size, seed=self.config.seed, start=taken
            )
        )
        batch = self.data.train.take(indices)
        inputs = self.shifted(jnp.asarray(batch.inputs), taken + 1)
        where = first_bad_layer(self.model, inputs, jnp.asarray(batch.targets), loss=self.loss)
        raise NotFinite(
            f"step {taken + 1} was not taken: {where}. Lower `optimizer.learning_rate`, or look at "
            f"the data; the state before it was saved"
        )

    def checkpoints(self, run: Path) -> Checkpoints:
        """Those in the run's folder."""
        return Checkpoints(run / "checkpoints", keep=self.config.checkpoints.keep)

    @property
    def facts(self) -> dict:
        """What is saved beside the state."""
        return {"config": self.config.model_dump(mode="json"), "seconds": round(self.seconds, 2)}


def _check_same_config(config: TrainConfig, saved: dict, run: Path) -> None:
    now, before = (_flat(content) for content in (config.model_dump(mode="json"), saved))
    changed = [
        f"{key}: {before.get(key)!r} when it was saved, {now.get(key)!r} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(
            f"{run / 'config.yaml'} must be as it was when the run was saved. Received:\n  "
            + "\n  ".join(changed)
            + "\nPut it back, or start a run of another name with it."
        )


def _flat(content, path: str = "") -> dict:
    if not isinstance(content, dict):
        return {path: content}
    found = {}
    for key, own in content.items():
        found |= _flat(own, f"{path}.{key}".lstrip("."))
    return found


def _carried_out(training: _Training, run: Path, after: int = 0) -> dict:
    """Takes the steps that are left, and writes the summary whatever happens."""
    summary = {"status": "failed", "steps": after, "parameters": training.network.parameters}
    try:
        run_folder.write_json(run / "layers.json", training.network.as_rows())
        if training.data.hidden_kernel is not None:
            with atomically(run / "target.npz", "wb") as file:
                np.savez(file, kernel=training.data.hidden_kernel)
        with stop_when_asked() as asked:
            _learn(training, run, summary, asked, after)
            summary |= _final_figures(training.model, training.data, training.loss)
        finished = summary["steps"] == training.config.steps
        summary["status"] = "finished" if finished else "interrupted"
        if not finished:
            summary["signal"] = signal.Signals(asked[0]).name
    except KeyboardInterrupt:
        summary["status"] = "interrupted"
        raise
    except Exception as error:
        summary["error"] = f"{type(error).__name__}: {error}"
        raise RunFailed(run, summary["error"]) from error
    finally:
        run_folder.write_json(run / "summary.json", summary)
    return summary


def _learn(training: _Training, run: Path, summary: dict, asked: list, after: int) -> None:
    """Takes all steps, or as many as there are until one is `asked` to be the last."""
    config, before = training.config, training.seconds
    started = time.perf_counter()
    with (
        RunLog(run, after) as log,
        training.checkpoints(run) as checkpoints,
        Progress(config.steps) as progress,
        _saved_when_bad(training, checkpoints),
    ):
        for step, line in _steps(training, log, progress, after):
            training.seconds = before + time.perf_counter() - started
            summary |= {
                "steps": step,
                "seconds": round(training.seconds, 2),
                "images_per_second": round(step * config.batch_size / training.seconds, 1),
                "train_images": len(training.data.train),
            }
            if asked:
                log.kernels(step, training.model)
            if asked or step == config.steps or step % config.checkpoints.every == 0:
                training.check()
                validation_loss = line.get("validation_loss")
                checkpoints.save(
                    step, training.model, training.optimizer, training.facts, validation_loss
                )
            if asked:
                break


@contextlib.contextmanager
def _saved_when_bad(training: _Training, checkpoints: Checkpoints):
    """Saves the state before a step that could not be taken."""
    try:
        yield
    except NotFinite:
        step = int(training.optimizer.step[...])
        checkpoints.save(step, training.model, training.optimizer, training.facts)
        raise


def _steps(training: _Training, log: RunLog, progress: Progress, after: int):
    """Yields the number of each step when it is done and logged, and what was logged of it."""
    config, data, model = training.config, training.data, training.model
    schedule = build_schedule(config)
    images, targets = jnp.asarray(data.train.inputs), jnp.asarray(data.train.targets)
    evaluated = in_evaluation(model)
    order = batches(len(data.train), config.batch_size, seed=config.seed, start=after)

    if not after:
        log.kernels(0, model)
    clock = _Clock(config.batch_size, after)
    for step, indices in enumerate(itertools.islice(order, config.steps - after), start=after + 1):
        inputs = training.shifted(images[indices], step)
        metrics = train_step(
            model,
            training.optimizer,
            inputs,
            targets[indices],
            loss=training.loss,
            halted=training.halted,
        )
        training.halted = metrics.pop("halted")

        last, line = step == config.steps, {}
        evaluating = last or step % config.log.evaluate_every == 0
        if step == 1 or evaluating or step % config.log.every == 0:
            training.check()
            line = {name: float(value) for name, value in metrics.items()}
            line |= {"learning_rate": float(jnp.asarray(schedule(step - 1)))}
            line |= {"images_per_second": clock.images_per_second(step)}
            if data.hidden_kernel is not None:
                line["kernel_error"] = _kernel_error(model, data)
            if evaluating:
                line |= _prefixed(
                    "validation_", _evaluate(evaluated, data.validation, training.loss)
                )
            log.scalars(step, line)
            progress.show(step, line)
            clock.restart(step)
        if last or step % config.log.kernels_every == 0:
            jax.block_until_ready(metrics)
            with clock.stopped():
                log.kernels(step, model)
        progress.advance(step)
        yield step, line


class _Clock:
    """Times the steps, and not the evaluation and logging between them."""

    def __init__(self, batch_size: int, step: int):
        self._batch_size = batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        self._since, self._step = time.perf_counter(), step

    def images_per_second(self, step: int) -> float:
        seconds = time.perf_counter() - self._since
        return (step - self._step) * self._batch_size / seconds

    @contextlib.contextmanager
    def stopped(self):
        before = time.perf_counter()
        yield
        self._since += time.perf_counter() - before


def _final_figures(model: nnx.Module, data: Splits, loss: Loss) -> dict:
    """How the model does on what it has not learned from."""
    model = in_evaluation(model)
    figures = {"validation_images": len(data.validation), "test_images": len(data.test)}
    figures |= _prefixed("validation_", _evaluate(model, data.validation, loss))
    figures |= _prefixed("test_", _evaluate(model, data.test, loss))
    if data.hidden_kernel is not None:
        figures["kernel_error"] = _kernel_error(model, data)
    return figures


def _evaluate(model: nnx.Module, split: Split, loss: Loss, at_once: int = 512) -> dict[str, float]:
    """Averages over a split, some hundred examples at a time so that memory stays bounded."""
    totals: dict[str, float] = {}
    for start in range(0, len(split), at_once):
        part = split.take(np.arange(start, min(start + at_once, len(split))))
        metrics = evaluate(model, jnp.asarray(part.inputs), jnp.asarray(part.targets), loss=loss)
        for name, value in metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(part)
    return {name: total / len(split) for name, total in totals.items()}


def _kernel_error(model: nnx.Module, data: Splits) -> float:
    """The largest difference between a tap of the learned kernel and of the hidden one."""
    (learned,) = kernels_of(model).values()
    return float(np.max(np.abs(learned[..., 0, 0] - data.hidden_kernel)))


def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {prefix + name: value for name, value in metrics.items()}


def _check_batch_size(batch_size: int, split: Split) -> None:
    if batch_size > len(split):
        raise ValueError(
            f"`batch_size` must be at most the number of training examples, {len(split)}. "
            f"Received: batch_size={batch_size}."
        )
