"""How fast several seeds train at once: against the same over `lax`, and against runs in turn.

    python experiments/replicates.py configs/digits.yaml

Three ways to take the same steps of all seeds, nothing logged. They take turns, round by round;
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
from jconv.train.trainer import MOST_AT_ONCE, Training


def main(
    config: Annotated[Path, tyro.conf.Positional],
    replicates: int = 8,
    steps: int = 20,
    rounds: int = 5,
) -> None:
    """Prints milliseconds of one step of all seeds, and the ratios.

    Args:
      config: of the run.
      replicates: how many seeds.
      steps: of each round; one call takes them all.
      rounds: of all three.
    """
    if not 1 <= steps <= MOST_AT_ONCE:
        raise SystemExit(f"`--steps` must be from 1 to {MOST_AT_ONCE}. Received: {steps}.")
    if rounds < 1:
        raise SystemExit(f"`--rounds` must be at least 1. Received: {rounds}.")
    every = dict.fromkeys(("every", "evaluate_every", "kernels_every"), steps)
    one = load_config(config, TrainConfig).model_dump() | {"steps": steps, "log": every}
    one |= {"checkpoints": {"every": steps}, "schedule": {"kind": "constant"}}
    seeds = [one | {"seed": one["seed"] + i} for i in range(replicates)]
    ways = {
        "at once": [Training(read(one | {"replicates": replicates}))],
        "at once, lax": [OverLax(read(one | {"replicates": replicates}))],
        "in turn": [Training(read(seed)) for seed in seeds],
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, trainings in ways.items():
            times[name].append(sum(map(seconds, trainings)))
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values[1:], times["at once"][1:], strict=True)]
        each = 1e3 * statistics.median(values[1:]) / steps
        print(
            f"{name:14} {each:9.2f} ms a step   at once is {statistics.median(ratios):.2f}x as fast"
        )


class OverLax(Training):
    """A run whose convolutions are Flax's own."""

    def model(self, seed: int) -> nnx.Module:
        return over_lax(super().model(seed))


def read(content: dict) -> TrainConfig:
    return TrainConfig.model_validate(content)


def seconds(training: Training) -> float:
    """Of all steps of a run, taken by one call, from where it is."""
    count = training.config.steps
    data, order = training.take_from()(count)
    start = time.perf_counter()
    training.state, _, taken = take_steps(
        training.learner, training.state, data, order, training.keys, np.int32(1), np.int32(count)
    )
    jax.block_until_ready(training.state)
    assert taken == count
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
