"""The verb `walkthrough`: one convolution, step by step."""

import re
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.kernels import KERNELS
from jconv.walkthrough import walkthrough as make_walkthrough


def walkthrough(arguments: Sequence[str]) -> int:
    """Run `jconv walkthrough`."""

    def compute(
        x: str = "1 2 3 4; 5 6 7 8; 9 10 11 12; 13 14 15 16",
        kernel: str = "prewitt",
        stride: int = 1,
        padding: str = "VALID",
        dilation: int = 1,
        flip: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ):
        """Compute one convolution step by step, with every product and sum written out.

        Args:
          x: the input, rows separated by semicolons.
          kernel: the kernel in the same format, or the name of a kernel in jconv.kernels.
          stride: pixels between neighbouring outputs.
          padding: VALID, SAME, FULL, or pixels on every side.
          dilation: pixels between neighbouring taps.
          flip: rotate the kernel by 180 degrees first: convolution instead of cross-correlation.
        """
        return make_walkthrough(
            _matrix("x", x),
            np.asarray(KERNELS[kernel]()) if kernel in KERNELS else _matrix("kernel", kernel),
            stride=stride,
            padding=int(padding) if re.fullmatch("-?[0-9]+", padding) else padding,
            dilation=dilation,
            flip=flip,
        )

    Console().print(parse(compute, "walkthrough", arguments))
    return OK


def _matrix(name: str, text: str) -> np.ndarray:
    """Parse numbers separated by spaces or commas, in rows separated by semicolons."""
    try:
        rows = [[float(word) for word in row.replace(",", " ").split()] for row in text.split(";")]
    except ValueError:
        rows = []
    if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
        names = f", or one of {list(KERNELS)}" if name == "kernel" else ""
        raise ValueError(
            f"`--{name}` must be rows of equal length, separated by semicolons, such as "
            f"'1 2; 3 4'{names}. Received: {text!r}."
        )
    return np.array(rows)
