"""Comparison of the hidden kernel of a recovery experiment with the learned one."""

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

MAX_CELLS = 7  # a wider kernel is drawn as an image instead of a table of numbers
SIZE = 256  # of the image, in CSS pixels at most


@dataclass(frozen=True)
class KernelMatrix:
    """A small kernel as a table of numbers, or a large one as an image.

    Attributes:
      title: title of the table.
      cells: rows of `(number, colour, whether the colour is dark)`; empty for a large one.
      image: the kernel as an image.
    """

    title: str
    cells: list[list[tuple[str, str, bool]]]
    image: EmbeddedImage


@dataclass(frozen=True)
class Recovery:
    """The hidden kernel, the learned one and their difference.

    Attributes:
      matrices: hidden, learned and difference; only the hidden one if none was learned.
      limit: the magnitude with the strongest colour, as text.
      max_difference: the largest absolute difference, as text; empty if it is unknown.
    """

    matrices: list[KernelMatrix]
    limit: str
    max_difference: str


def compare_with_hidden_kernel(run: Run) -> Recovery | None:
    """Compare the learned kernel with the hidden one; None if the run has no hidden kernel."""
    hidden = run.target
    if hidden is None:
        return None
    learned = _learned_kernel(hidden, run)
    if learned is None:
        limit = colour_limit(hidden)
        return Recovery([_matrix("hidden", hidden, limit)], number(limit, 3), "")
    limit = colour_limit(hidden, learned)
    matrices = [_matrix("hidden", hidden, limit), _matrix("learned", learned, limit)]
    difference = learned - hidden
    largest = float(np.abs(difference).max())
    return Recovery([*matrices, _difference(difference)], number(limit, 3), number(largest, 3))


def _learned_kernel(hidden: Num[np.ndarray, "kh kw"], run: Run) -> Num[np.ndarray, "kh kw"] | None:
    """Return the last logged kernel of the size of the hidden one."""
    if not run.snapshots:
        return None
    kernels = (run.kernel(name, max(run.snapshots)) for name in run.kernel_names())
    size = np.squeeze(hidden).shape
    candidates = (k for k in kernels if k is not None and np.squeeze(k).shape == size)
    return next((kernel.reshape(hidden.shape) for kernel in candidates), None)


def _difference(kernel: Num[np.ndarray, "kh kw"]) -> KernelMatrix:
    """Return a difference in units of a power of ten that leaves significant digits."""
    limit = colour_limit(kernel)
    power = min(math.floor(math.log10(limit)), 0)
    unit = f", in units of {number(10.0**power)}" if power else ""
    scaled = kernel.astype(np.float64) / 10.0**power
    return _matrix(f"learned − hidden{unit}", scaled, limit / 10.0**power)


def _matrix(title: str, kernel: Num[np.ndarray, "kh kw"], limit: float) -> KernelMatrix:
    cells = _cells(kernel, limit) if max(kernel.shape) <= MAX_CELLS else []
    scale = scale_to_fit(kernel.shape, SIZE)
    return KernelMatrix(title, cells, embed_kernels([kernel], limit=limit, scale=scale))


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
