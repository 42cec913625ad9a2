"""The kernels of each layer through training: pictures over the steps, and how far they went."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Num

from jconv.analysis.kernel_images import (
    EmbeddedImage,
    colour_limit,
    describe_selection,
    embed_kernels,
    scale_to_fit,
    select_kernels,
)
from jconv.report.curves import Chart, chart
from jconv.report.formatting import number
from jconv.report.run_reader import Run

FRAMES = 60  # snapshots the slider holds at most
WEIGHTS = 1_500_000  # drawn on one page, about; larger networks get fewer snapshots
STRIP = 6  # snapshots drawn side by side
SIZE = 128  # of one layer's picture, in CSS pixels at most


@dataclass(frozen=True)
class Layer:
    """The kernels of one layer through training.

    Attributes:
      name: parameter path.
      facts: its sizes and how far it moved, as text.
      shown: which part is drawn; empty where all is.
      limit: the magnitude in full colour, as text.
      sheet: the frames of the slider, one below the other.
      strip: `(label, picture)` of some steps, side by side.
      change: the last kernel minus the first.
      moves: relative change over the steps.
    """

    name: str
    facts: list[str]
    shown: str
    limit: str
    sheet: EmbeddedImage
    strip: list[tuple[str, EmbeddedImage]]
    change: EmbeddedImage | None
    moves: Chart | None


def drawn_steps(run: Run) -> list[int]:
    """The steps whose kernels go onto the page."""
    steps = list(run.snapshots)
    if not steps:
        return []
    kernels = (run.kernel(name, steps[0]) for name in run.kernel_names())
    drawn = sum(select_kernels(kernel).size for kernel in kernels if kernel is not None)
    return _evenly(steps, min(max(WEIGHTS // max(drawn, 1), STRIP), FRAMES))


def _evenly(steps: Sequence[int], count: int) -> list[int]:
    """At most `count` of `steps`, with the first and the last among them."""
    places = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[place] for place in places.tolist()]


def moments(run: Run, steps: Sequence[int]) -> list[tuple[str, str]]:
    """What to call each step below a picture, and what to say of it beside the slider."""
    losses, last = dict(run.series("loss")), number(run.last_step)

    def beside_slider(step: int) -> str:
        loss = f" · training loss {number(losses[step], 3)}" if step in losses else ""
        return f"{number(step)} of {last}{loss}"

    return [(_label(step), beside_slider(step)) for step in steps]


def _label(step: int) -> str:
    return f"step {number(step)}"


def layers(run: Run, steps: Sequence[int]) -> list[Layer]:
    """Every layer that was logged at any of `steps`."""
    drawn = (_layer(name, run, steps) for name in run.kernel_names())
    return [layer for layer in drawn if layer]


def _layer(name: str, run: Run, steps: Sequence[int]) -> Layer | None:
    drawn: dict[int, np.ndarray] = {}
    moves: list[tuple[int, float]] = []
    first = last = None
    for step in steps:
        kernel = run.kernel(name, step)
        if kernel is not None and kernel.size:
            first, last = kernel if first is None else first, kernel
            drawn[step] = select_kernels(kernel)
            moves.append((step, _relative_change(first, kernel)))
    if first is None or last is None:
        return None
    limit = colour_limit(*drawn.values())
    draw = partial(embed_kernels, limit=limit, scale=scale_to_fit(last.shape, SIZE))
    missing = np.zeros((0, 0), np.float32)
    change = _change(drawn)
    return Layer(
        name=name,
        facts=[
            *_sizes(last),
            *([_moved(first, last)] if len(drawn) > 1 else []),
            *_not_numbers(last),
        ],
        shown=describe_selection(last.shape),
        limit=number(limit, 3),
        sheet=draw([drawn.get(step, missing) for step in steps]),
        strip=[(_label(step), draw([drawn[step]])) for step in _evenly(list(drawn), STRIP)],
        change=None if change is None else draw([change]),
        moves=chart("", {"": moves}, last_step=run.last_step, log=False),
    )


def _sizes(kernel: Num[np.ndarray, "..."]) -> list[str]:
    window = " × ".join(map(str, kernel.shape[:-2]))
    sides = " → ".join(f"{size:,}" for size in kernel.shape[-2:])
    weights = f"{kernel.size:,} weight{'s' if kernel.size > 1 else ''}"
    return [part for part in (f"{window}, {sides}" if window else sides, weights) if part]


def _not_numbers(kernel: Num[np.ndarray, "..."]) -> list[str]:
    count = int(np.count_nonzero(~np.isfinite(kernel)))
    return [f"{count:,} weights are not finite at the end"] if count else []


def _moved(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> str:
    if first.shape == last.shape and not first.any():
        return f"went {number(float(np.linalg.norm(last)), 2)} from zero"
    change = _relative_change(first, last)
    return f"relative change {number(change, 2)}" if math.isfinite(change) else "not comparable"


def _relative_change(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> float:
    """How far a whole layer went, in lengths of its start; not a number if it cannot be said."""
    start = float(np.linalg.norm(first))
    if first.shape != last.shape or start == 0:
        return math.nan
    return float(np.linalg.norm(last - first)) / start


def _change(drawn: Mapping[int, np.ndarray]) -> np.ndarray | None:
    kernels = list(drawn.values())
    if len(kernels) < 2 or kernels[0].shape != kernels[-1].shape:
        return None
    return kernels[-1] - kernels[0]
