"""The verb `inspect`: the convolutions of a training step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.train import TrainConfig, load_config, run_name
from jconv.train.inspect_step import first_step
from jconv.transforms.inspect import inspect as inspect_function


def inspect(arguments: Sequence[str]) -> int:
    """Run `jconv inspect CONFIG.yaml`."""

    def inspect_step(
        config: tyro.conf.Positional[Path],
        timed: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ):
        """List the convolutions of one training step of a config, gradients included.

        For each convolution: where in the source it is called, its input and window, its
        multiply-adds, the algorithm, its time (measured where `jconv tune` was run, predicted
        elsewhere), and the reason for the choice.

        Args:
          config: a file for `jconv train`.
          timed: run each convolution alone, and show how long it took.
        """
        step, inputs = first_step(load_config(config, TrainConfig, name=run_name(config)))
        return inspect_function(step, timed=timed)(*inputs)

    Console().print(parse(inspect_step, "inspect", arguments))
    return OK
