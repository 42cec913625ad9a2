"""A hidden kernel beside the one that was learned, as numbers where there is room for them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from jconv.analysis.kernel_images import (
    EmbeddedImage,
    colour_limit,
    embed_kernels,
    kernel_image,
    scale_to_fit,
)
from jconv.report.formatting import number
from jconv.report.run_reader import Run

CELLS = 7  # a kernel up to this wide is shown with its numbers
SIZE = 256  # of the picture of a larger one, in CSS pixels at most


@dataclass(frozen=True)
class Matrix:
    """A small kernel to show with its numbers, or as a picture where it is large.

    Attributes:
      title: what it is.
      cells: rows of `(number, colour, whether the colour is dark)`; empty for a large one.
      picture: the same without numbers.
    """

    title: str
    cells: list[list[tuple[str, str, bool]]]
    picture: EmbeddedImage


@dataclass(frozen=True)
class Recovery:
    """A hidden kernel beside the learned one.

    Attributes:
      matrices: hidden, learned and their difference, as far as they are known.
      limit: the magnitude in full colour, as text.
      worst: the largest absolute difference, as text; empty where none is known.
    """

    matrices: list[Matrix]
    limit: str
    worst: str


def recovery_of(run: Run) -> Recovery | None:
    """Compares what a run learned with what was hidden; none where nothing was hidden."""
    hidden = run.target
    if hidden is None:
        return None
    learned = _learned_like(hidden, run)
    if learned is None:
        limit = colour_limit(hidden)
        return Recovery([_matrix("hidden", hidden, limit)], number(limit, 3), "")
    limit = colour_limit(hidden, learned)
    matrices = [_matrix("hidden", hidden, limit), _matrix("learned", learned, limit)]
    difference = learned - hidden
    worst = float(np.abs(difference).max())
    return Recovery([*matrices, _difference(difference)], number(limit, 3), number(worst, 3))


def _learned_like(hidden: Num[np.ndarray, "kh kw"], run: Run) -> Num[np.ndarray, "kh kw"] | None:
    """The last logged kernel that has the size of the hidden one."""
    if not run.snapshots:
        return None
    kernels = (run.kernel(name, max(run.snapshots)) for name in run.kernel_names())
    size = np.squeeze(hidden).shape
    alike = (k for k in kernels if k is not None and np.squeeze(k).shape == size)
    return next((kernel.reshape(hidden.shape) for kernel in alike), None)


def _difference(kernel: Num[np.ndarray, "kh kw"]) -> Matrix:
    """A matrix in units of a power of ten that leaves digits to be read."""
    limit = colour_limit(kernel)
    power = min(math.floor(math.log10(limit)), 0)
    unit = f", in units of {number(10.0**power)}" if power else ""
    scaled = kernel.astype(np.float64) / 10.0**power
    return _matrix(f"learned − hidden{unit}", scaled, limit / 10.0**power)


def _matrix(title: str, kernel: Num[np.ndarray, "kh kw"], limit: float) -> Matrix:
    cells = _cells(kernel, limit) if max(kernel.shape) <= CELLS else []
    scale = scale_to_fit(kernel.shape, SIZE)
    return Matrix(title, cells, embed_kernels([kernel], limit=limit, scale=scale))


def _cells(kernel: Num[np.ndarray, "kh kw"], limit: float) -> list[list[tuple[str, str, bool]]]:
    colours = kernel_image(kernel, limit=limit, scale=1)
    return [
        [_cell(weight, colour) for weight, colour in zip(weights, row, strict=True)]
        for weights, row in zip(kernel.tolist(), colours.tolist(), strict=True)
    ]


def _cell(weight: float, colour: Sequence[int]) -> tuple[str, str, bool]:
    r, g, b = colour
    text = f"{weight:.3f}".replace("-", "−").replace("−0.000", "0.000")
    return text, f"rgb({r} {g} {b})", r + g + b < 384
