"""Throughput of a run with logging, against its bare jitted step and against plain Flax.

    python experiments/loop_throughput.py configs/digits.yaml

Three variants take the same steps on the same batches: a run, as `jconv train` does it; the run's
jitted step, called once for each batch; and the step of the same network in plain Flax over `lax`.
They alternate round by round; ratios are medians over the rounds.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

from jconv.bench.networks import over_lax
from jconv.train import TrainConfig, load_config, train
from jconv.train.losses import LOSSES
from jconv.train.optimizer import build_optimizer
from jconv.train.trainer import Trainer


def main(
    config: Annotated[Path, tyro.conf.Positional], steps: int | None = None, rounds: int = 3
) -> None:
    """Print images per second of each variant, and the ratios.

    Args:
      config: the run; its logging intervals are used.
      steps: steps of each round; by default those of the config.
      rounds: number of rounds.
    """
    if min(rounds, 1 if steps is None else steps) < 1:
        raise SystemExit(
            f"`--steps` and `--rounds` must be at least 1. Received: {steps} and {rounds}."
        )
    # Each run compiles its programs again; the cache keeps those of the first, uncounted round.
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    run = load_config(config, TrainConfig)
    run = run.model_copy(update={"steps": run.steps if steps is None else steps})
    variants = {
        "run": time_run(run),
        "bare step": time_bare_step(run),
        "plain Flax, lax": time_plain_flax(run),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):
        for name, measure in variants.items():
            seconds[name].append(measure())
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values[1:], seconds["run"][1:], strict=True)]
        speed = run.steps * run.batch_size / statistics.median(values[1:])
        print(f"{name:16} {speed:9,.0f} images/s   run is {statistics.median(ratios):.2f}x as fast")


def time_run(config: TrainConfig) -> Callable[[], float]:
    """Return a function that times a run after its first call, which compiles."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stderr(None):
            summary = train(config, runs=runs)[1]
            return summary["seconds"] - summary["first_call_seconds"]

    return measure


def time_bare_step(config: TrainConfig) -> Callable[[], float]:
    """Return a function that times the run's jitted step, called in a loop without logging."""
    trainer = Trainer(config)
    step = jax.jit(trainer.train_step, donate_argnums=0)
    examples = trainer.data.train
    images, targets = map(jnp.asarray, examples.take(np.arange(len(examples))))
    key = jax.random.key(config.seed)

    @jax.jit
    def batch(indices, number):
        return images[indices], targets[indices], jax.random.fold_in(key, number)

    def measure() -> float:
        state = jax.tree.map(jnp.copy, trainer.state)
        order = trainer.step_indices()
        jax.block_until_ready(step(jax.tree.map(jnp.copy, state), *batch(next(order), 0)))
        start = time.perf_counter()
        for number in range(config.steps):
            state, _ = step(state, *batch(next(order), number))
        jax.block_until_ready(state)
        return time.perf_counter() - start

    return measure


def time_plain_flax(config: TrainConfig) -> Callable[[], float]:
    """Return a function that times the same network's step in plain Flax over `lax`."""
    trainer = Trainer(config)
    model = over_lax(trainer.train_step.model(trainer.state, evaluation=False))
    optimizer = nnx.Optimizer(model, build_optimizer(config), wrt=nnx.Param)
    loss = LOSSES[config.loss]
    examples = trainer.data.train

    @nnx.jit
    def step(model, optimizer, x, y):
        value, grads = nnx.value_and_grad(lambda model: loss(model(x), y))(model)
        optimizer.update(model, grads)
        return value

    def measure() -> float:
        order = trainer.step_indices()
        jax.block_until_ready(step(model, optimizer, *examples.take(next(order))))
        start = time.perf_counter()
        for _ in range(config.steps):
            value = step(model, optimizer, *examples.take(np.asarray(next(order))))
        jax.block_until_ready(value)
        return time.perf_counter() - start

    return measure


if __name__ == "__main__":
    tyro.cli(main)
