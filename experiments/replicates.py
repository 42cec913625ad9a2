"""Speed of training several seeds in parallel, against the same over `lax` and against single runs.

    python experiments/replicates.py configs/digits.yaml

Three variants take the same steps of all seeds, without logging. They alternate round by round;
ratios are medians over the rounds.
"""

import statistics
import time
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from flax import nnx

from jconv.bench.networks import over_lax
from jconv.train import TrainConfig, load_config
from jconv.train.step import take_steps
from jconv.train.trainer import MAX_STEPS_PER_CALL, Trainer


def main(
    config: Annotated[Path, tyro.conf.Positional],
    replicates: int = 8,
    steps: int = 20,
    rounds: int = 5,
) -> None:
    """Print milliseconds of one step of all seeds, and the ratios.

    Args:
      config: the run.
      replicates: number of seeds.
      steps: steps of each round, all taken by one call.
      rounds: number of rounds.
    """
    if not 1 <= steps <= MAX_STEPS_PER_CALL:
        raise SystemExit(f"`--steps` must be from 1 to {MAX_STEPS_PER_CALL}. Received: {steps}.")
    if rounds < 1:
        raise SystemExit(f"`--rounds` must be at least 1. Received: {rounds}.")
    log = dict.fromkeys(("every", "evaluate_every", "kernels_every"), steps)
    single = load_config(config, TrainConfig).model_dump() | {"steps": steps, "log": log}
    single |= {"checkpoints": {"every": steps}, "schedule": {"kind": "constant"}}
    parallel = TrainConfig.model_validate(single | {"replicates": replicates})
    seeds = [single | {"seed": single["seed"] + i} for i in range(replicates)]
    variants = {
        "parallel": [Trainer(parallel)],
        "parallel, lax": [LaxTrainer(parallel)],
        "single runs": [Trainer(TrainConfig.model_validate(seed)) for seed in seeds],
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds + 1):  # the first round compiles and is not counted
        for name, trainers in variants.items():
            times[name].append(sum(map(seconds, trainers)))
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values[1:], times["parallel"][1:], strict=True)]
        ms = 1e3 * statistics.median(values[1:]) / steps
        print(
            f"{name:14} {ms:9.2f} ms a step   parallel is {statistics.median(ratios):.2f}x as fast"
        )


class LaxTrainer(Trainer):
    """A run whose convolutions are Flax's, over `lax`."""

    def build_model(self, seed: int) -> nnx.Module:
        """Return the network of a seed with its convolutions replaced."""
        return over_lax(super().build_model(seed))


def seconds(trainer: Trainer) -> float:
    """Return the seconds that one call of `steps` steps takes."""
    count = trainer.config.steps
    data, indices = trainer.next_batches(count)
    first, count = np.int32(1), np.int32(count)
    start = time.perf_counter()
    trainer.state, _, taken = take_steps(
        trainer.train_step, trainer.state, data, indices, trainer.keys, first, count
    )
    jax.block_until_ready(trainer.state)
    elapsed = time.perf_counter() - start
    assert taken == count
    return elapsed


if __name__ == "__main__":
    tyro.cli(main)
