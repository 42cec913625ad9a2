"""The run: data, model, step after step, log."""

import contextlib
import itertools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.analysis.summary import summarize
from jconv.data import Split, Splits, batches
from jconv.nn.calls import in_evaluation
from jconv.train import run_folder
from jconv.train.build import build_data, build_model, build_optimizer, build_schedule
from jconv.train.checkpoint import save_checkpoint
from jconv.train.config import TrainConfig
from jconv.train.interrupt import stop_when_asked
from jconv.train.log import RunLog, kernels_of
from jconv.train.progress import Progress
from jconv.train.step import LOSSES, Loss, evaluate, shift, train_step


def train(
    config: TrainConfig, *, runs: Path | str = "runs", overwrite: bool = False
) -> tuple[Path, dict]:
    """Trains what `config` describes and writes the run's folder, `runs/NAME`.

    Ctrl-C ends it early, after the step that is under way, with everything logged and the state
    saved; a second one ends it at once.

    Args:
      config: the run.
      runs: the folder in which the run's folder is made.
      overwrite: replace a run of that name.

    Returns:
      The run's folder and its final figures, as in summary.json.

    Raises:
      RunExists: if there is a run of that name; nothing has been touched then.
      ValueError: if the parts of the config do not fit the data; no folder has been made then.
      RunFailed: by an error after that; the folder holds what was logged until then.
    """
    run = Path(runs) / config.name
    run_folder.check_free(run, overwrite=overwrite)

    data = build_data(config.data)
    _check_batch_size(config.batch_size, data.train)
    model = build_model(config.model, data.input_shape, data.outputs, nnx.Rngs(config.seed))
    rule = build_optimizer(config.optimizer, build_schedule(config))
    optimizer = nnx.Optimizer(model, rule, wrt=nnx.Param)
    network = summarize(model, data.input_shape)

    run_folder.create(run, config, overwrite=overwrite)
    run_folder.write_json(run / "layers.json", network.as_rows())
    if data.hidden_kernel is not None:
        np.savez(run / "target.npz", kernel=data.hidden_kernel)
    summary = {"status": "failed", "steps": 0, "parameters": network.parameters}
    try:
        with stop_when_asked() as asked:
            _learn(config, data, model, optimizer, run, summary, asked)
            save_checkpoint(run / "checkpoints", summary["steps"], model, optimizer)
            summary |= _final_figures(model, data, LOSSES[config.loss])
        summary["status"] = "finished" if summary["steps"] == config.steps else "interrupted"
    except KeyboardInterrupt:
        summary["status"] = "interrupted"
        raise
    except Exception as error:
        summary["error"] = f"{type(error).__name__}: {error}"
        raise RunFailed(run, summary["error"]) from error
    finally:
        run_folder.write_json(run / "summary.json", summary)
    return run, summary


class RunFailed(RuntimeError):
    """An error ended a run after its folder was made; what was logged until then is in `run`."""

    def __init__(self, run: Path, error: str):
        super().__init__(f"{error}. What was logged until then is in {run}.")
        self.run = run


def _learn(config, data: Splits, model, optimizer, run: Path, summary: dict, asked: list) -> None:
    """Takes all steps, or as many as there are until one is `asked` to be the last."""
    started = time.perf_counter()
    with RunLog(run) as log, Progress(config.steps) as progress:
        for step in _steps(config, data, model, optimizer, log, progress):
            seconds = time.perf_counter() - started
            summary |= {
                "steps": step,
                "seconds": round(seconds, 2),
                "images_per_second": round(step * config.batch_size / seconds, 1),
                "train_images": len(data.train),
            }
            if asked:
                log.kernels(step, model)
                break


def _steps(config, data: Splits, model, optimizer, log: RunLog, progress: Progress):
    """Yields the number of each step when it is done and logged."""
    schedule = build_schedule(config)
    loss, key = LOSSES[config.loss], jax.random.key(config.seed)
    images, targets = jnp.asarray(data.train.inputs), jnp.asarray(data.train.targets)
    evaluated = in_evaluation(model)
    order = batches(len(data.train), config.batch_size, seed=config.seed)

    log.kernels(0, model)
    clock = _Clock(config.batch_size)
    for step, indices in enumerate(itertools.islice(order, config.steps), start=1):
        inputs = shift(images[indices], config.shift, jax.random.fold_in(key, step))
        metrics = train_step(model, optimizer, inputs, targets[indices], loss=loss)

        last = step == config.steps
        evaluating = last or step % config.log.evaluate_every == 0
        if step == 1 or evaluating or step % config.log.every == 0:
            line = {name: float(value) for name, value in metrics.items()}
            line |= {"learning_rate": float(jnp.asarray(schedule(step - 1)))}
            line |= {"images_per_second": clock.images_per_second(step)}
            if data.hidden_kernel is not None:
                line["kernel_error"] = _kernel_error(model, data)
            if evaluating:
                line |= _prefixed("validation_", _evaluate(evaluated, data.validation, loss))
            log.scalars(step, line)
            progress.show(step, line)
            clock.restart(step)
        if last or step % config.log.kernels_every == 0:
            jax.block_until_ready(metrics)
            with clock.stopped():
                log.kernels(step, model)
        progress.advance(step)
        yield step


class _Clock:
    """Times the steps, and not the evaluation and logging between them."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self.restart(0)

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
