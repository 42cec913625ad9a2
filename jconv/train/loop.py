"""The run: data, model, step after step, log."""

import itertools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.analysis.summary import EVALUATION, summarize
from jconv.data import Split, Splits, batches
from jconv.train import run_folder
from jconv.train.build import build_data, build_model, build_optimizer, build_schedule
from jconv.train.checkpoint import save_checkpoint
from jconv.train.config import TrainConfig
from jconv.train.log import RunLog, kernels_of
from jconv.train.progress import Progress
from jconv.train.step import LOSSES, Loss, evaluate, shift, train_step


def train(
    config: TrainConfig, *, runs: Path | str = "runs", overwrite: bool = False
) -> tuple[Path, dict]:
    """Trains what `config` describes and writes the run's folder, `runs/NAME`.

    Interrupted by Ctrl-C it ends early, with everything logged so far and the state saved.

    Args:
      config: the run.
      runs: the folder in which the run's folder is made.
      overwrite: replace a run of that name.

    Returns:
      The run's folder and its final figures, as in summary.json.

    Raises:
      RunExists: if there is a run of that name; nothing has been touched then.
      ValueError: if the parts of the config do not fit the data; no folder has been made then.
    """
    run = Path(runs) / config.name
    run_folder.check_free(run, overwrite=overwrite)

    data = build_data(config.data)
    _check_batch_size(config.batch_size, data.train)
    model = build_model(config.model, data.input_shape, data.outputs, nnx.Rngs(config.seed))
    schedule = build_schedule(config)
    optimizer = nnx.Optimizer(model, build_optimizer(config.optimizer, schedule), wrt=nnx.Param)
    network = summarize(model, data.input_shape)

    run_folder.create(run, config, overwrite=overwrite)
    run_folder.write_json(run / "layers.json", network.as_rows())
    if data.hidden_kernel is not None:
        np.savez(run / "target.npz", kernel=data.hidden_kernel)
    summary = {"status": "failed", "steps": 0, "parameters": network.parameters}
    with RunLog(run) as log, Progress(config.steps) as progress:
        started = time.perf_counter()
        try:
            for step in _steps(config, data, model, optimizer, schedule, log, progress):
                summary["steps"] = step
            summary["status"] = "finished"
        except KeyboardInterrupt:
            summary["status"] = "interrupted"
            log.kernels(summary["steps"], model)
        except Exception as error:
            summary["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            seconds = time.perf_counter() - started
            summary |= {"seconds": round(seconds, 2), "train_images": len(data.train)}
            run_folder.write_json(run / "summary.json", summary)
    save_checkpoint(run / "checkpoints", summary["steps"], model, optimizer)
    summary |= _final_figures(model, data, LOSSES[config.loss])
    summary["images_per_second"] = round(summary["steps"] * config.batch_size / seconds, 1)
    run_folder.write_json(run / "summary.json", summary)
    return run, summary


def _steps(config, data: Splits, model, optimizer, schedule, log: RunLog, progress: Progress):
    """Yields the number of each step when it is done and logged."""
    loss, key = LOSSES[config.loss], jax.random.key(config.seed)
    images, targets = jnp.asarray(data.train.inputs), jnp.asarray(data.train.targets)
    evaluated = nnx.view(model, **EVALUATION, raise_if_not_found=False)
    order = batches(len(data.train), config.batch_size, seed=config.seed)

    log.kernels(0, model)
    since, since_step = time.perf_counter(), 0
    for step, indices in enumerate(itertools.islice(order, config.steps), start=1):
        inputs = shift(images[indices], config.shift, jax.random.fold_in(key, step))
        metrics = train_step(model, optimizer, inputs, targets[indices], loss=loss)

        last = step == config.steps
        if step == 1 or last or step % config.log.every == 0:
            line = {name: float(value) for name, value in metrics.items()}
            now = time.perf_counter()
            speed = (step - since_step) * config.batch_size / (now - since)
            since, since_step = now, step
            line |= {"learning_rate": float(schedule(step - 1)), "images_per_second": speed}
            if data.hidden_kernel is not None:
                line["kernel_error"] = _kernel_error(model, data)
            if last or step % config.log.evaluate_every == 0:
                line |= _prefixed("validation_", _evaluate(evaluated, data.validation, loss))
            log.scalars(step, line)
            progress.show(step, line)
        if last or step % config.log.kernels_every == 0:
            log.kernels(step, model)
        progress.advance(step)
        yield step


def _final_figures(model: nnx.Module, data: Splits, loss: Loss) -> dict:
    """How the model does on what it has not learned from."""
    model = nnx.view(model, **EVALUATION, raise_if_not_found=False)
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
