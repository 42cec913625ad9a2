"""The verb `tune`: measures the algorithms on this device."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import tyro
from rich.console import Console
from rich.progress import Progress

from jconv.bench.implementations import problems_of
from jconv.bench.layers import choose_layers
from jconv.bench.random_layers import random_problems
from jconv.bench.results import format_race
from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.selection.tuning_table import ENV_VAR, default_path
from jconv.train import TrainConfig, load_config, run_name
from jconv.train.inspect_step import first_step
from jconv.transforms.inspect import inspect
from jconv.transforms.tune import tune_problems


def tune(arguments: Sequence[str]) -> int:
    """Run `jconv tune [CONFIG.yaml]`."""

    def measure(
        config: tyro.conf.Positional[Path | None] = None,
        only: str = "",
        random: float = 0.0,
        seed: int = 0,
        budget: float = 0.5,
        out: Path | None = None,
    ) -> str:
        """Measure every algorithm on this device, as the basis of algorithm="auto".

        The convolutions are those of a config's training step or, without a config, those of the
        published layers that `jconv bench` times. After Ctrl-C the measurements made so far are
        kept. Earlier measurements of other convolutions stay in the table, unless they were made
        with another version of jaxlib.

        Args:
          config: a file for `jconv train`.
          only: published layers whose name or kind contains this, such as "depthwise".
          random: measure random layers instead, for so many minutes, as data for the cost model.
          seed: seed of the random layers.
          budget: seconds of measuring for each convolution.
          out: the file of the table. The default is the table of this kind of device in your cache
            folder; another file is used only if the environment variable JCONV_TUNING is its path.
        """
        if not (random >= 0 and 0 < budget < math.inf):  # false for NaN, too
            raise ValueError(
                f"`--random` must be at least 0 minutes and `--budget` more than 0 seconds, and "
                f"finite. Received: {random} and {budget}."
            )
        problems, total = _problems(config, only, random, seed)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("measuring", total=total)
            for result in tune_problems(problems, path=out, budget=budget):
                progress.console.print(format_race(result), highlight=False)
                progress.advance(task)
        if out is None:
            return f"The table is {default_path(jax.devices()[0].device_kind)}."
        return f"The table is {out}. To use it, set {ENV_VAR}={out.resolve()}"

    print(parse(measure, "tune", arguments))
    return OK


def _problems(
    config: Path | None, only: str, random: float, seed: int
) -> tuple[Iterable, int | None]:
    """Return the convolutions to measure, and their number if it is known."""
    if random:
        return random_problems(random, seed), None
    if config is None:
        layers = choose_layers(only)
        return (problem for layer in layers for problem in problems_of(layer)), None
    step, inputs = first_step(load_config(config, TrainConfig, name=run_name(config)))
    problems = [call.problem for call in inspect(step)(*inputs).convolutions]
    return problems, len(set(problems))
