"""How much of a jitted step's speed a run keeps, logging included; and against plain Flax.

    python experiments/loop_throughput.py configs/digits.yaml

Three ways to take the same steps on the same batches: a run, as `jconv train` does it; the bare
jitted step of that run, called in turn; and the step of the same network as Flax users write it,
over `lax`. They take turns, round by round; ratios are medians over the rounds.
"""

import contextlib
import statistics
import tempfile
import time
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
from jconv.train.optimizer import build_rule
from jconv.train.trainer import Training


def main(
    config: Annotated[Path, tyro.conf.Positional], steps: int | None = None, rounds: int = 3
) -> None:
    """Prints images a second of each, and the ratios.

    Args:
      config: of the run; its rhythm of logging is kept.
      steps: of each round; by default as many as the config asks for.
      rounds: of all three.
    """
    if min(rounds, 1 if steps is None else steps) < 1:
        raise SystemExit(
            f"`--steps` and `--rounds` must be at least 1. Received: {steps} and {rounds}."
        )
    # Each round's run is compiled anew: the programs of the first, which is not counted, are kept.
    jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    run = load_config(config, TrainConfig)
    run = run.model_copy(update={"steps": run.steps if steps is None else steps})
    ways = {"run": in_a_run(run), "bare step": bare(run), "plain Flax, lax": plain_flax(run)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            seconds[name].append(way())
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(values[1:], seconds["run"][1:], strict=True)]
        speed = run.steps * run.batch_size / statistics.median(values[1:])
        print(f"{name:16} {speed:9,.0f} images/s   run is {statistics.median(ratios):.2f}x as fast")


def in_a_run(config: TrainConfig):
    """Seconds of a run after its first call, which compiles; what stands between steps counts."""

    def way() -> float:
        with tempfile.TemporaryDirectory() as runs, contextlib.redirect_stderr(None):
            summary = train(config, runs=runs)[1]
            return summary["seconds"] - summary["first_call_seconds"]

    return way


def bare(config: TrainConfig):
    """Seconds of the run's own step, jitted alone and called in turn, nothing logged."""
    training = Training(config)
    step = jax.jit(training.learner.step, donate_argnums=0)
    examples = training.data.train
    images, targets = map(jnp.asarray, examples.take(np.arange(len(examples))))
    key = jax.random.key(config.seed)

    @jax.jit
    def batch(indices, number):
        return images[indices], targets[indices], jax.random.fold_in(key, number)

    def way() -> float:
        state = jax.tree.map(jnp.copy, training.state)
        order = training.order()
        jax.block_until_ready(step(jax.tree.map(jnp.copy, state), *batch(next(order), 0)))
        start = time.perf_counter()
        for number in range(config.steps):
            state, _ = step(state, *batch(next(order), number))
        jax.block_until_ready(state)
        return time.perf_counter() - start

    return way


def plain_flax(config: TrainConfig):
    """Seconds of the same network's step as Flax's documentation has it, over `lax`."""
    training = Training(config)
    model = over_lax(training.learner.model(training.state, evaluation=False))
    optimizer = nnx.Optimizer(model, build_rule(config), wrt=nnx.Param)
    loss = LOSSES[config.loss]
    train_split = training.data.train

    @nnx.jit
    def step(model, optimizer, x, y):
        value, gradient = nnx.value_and_grad(lambda model: loss(model(x), y))(model)
        optimizer.update(model, gradient)
        return value

    def way() -> float:
        order = training.order()
        jax.block_until_ready(step(model, optimizer, *train_split.take(next(order))))
        start = time.perf_counter()
        for _ in range(config.steps):
            value = step(model, optimizer, *train_split.take(np.asarray(next(order))))
        jax.block_until_ready(value)
        return time.perf_counter() - start

    return way


if __name__ == "__main__":
    tyro.cli(main)
