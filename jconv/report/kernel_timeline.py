"""The kernels of each layer during training: images over the steps, and their relative change."""

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
from jconv.report.curves import Chart, make_chart
from jconv.report.formatting import number
from jconv.report.run_reader import Run

MAX_FRAMES = 60  # snapshots of the slider
MAX_WEIGHTS = 1_500_000  # on one page, approximately; larger networks get fewer snapshots
STRIP_LENGTH = 6  # snapshots side by side
SIZE = 128  # of the image of one layer, in CSS pixels at most


@dataclass(frozen=True)
class LayerTimeline:
    """The kernels of one layer during training.

    Attributes:
      name: parameter path.
      description: its sizes and its relative change, as text.
      selection: which part of the kernel is drawn; empty if all of it is.
      limit: the magnitude with the strongest colour, as text.
      sheet: the frames of the slider, from top to bottom.
      strip: `(label, image)` of some steps, side by side.
      change: the last kernel minus the first.
      changes: relative change over the steps.
    """

    name: str
    description: list[str]
    selection: str
    limit: str
    sheet: EmbeddedImage
    strip: list[tuple[str, EmbeddedImage]]
    change: EmbeddedImage | None
    changes: Chart | None


def select_steps(run: Run) -> list[int]:
    """Return the steps whose kernels are drawn on the page."""
    steps = list(run.snapshots)
    if not steps:
        return []
    kernels = (run.kernel(name, steps[0]) for name in run.kernel_names())
    weights = sum(select_kernels(kernel).size for kernel in kernels if kernel is not None)
    return _evenly_spaced(steps, min(max(MAX_WEIGHTS // max(weights, 1), STRIP_LENGTH), MAX_FRAMES))


def _evenly_spaced(steps: Sequence[int], count: int) -> list[int]:
    """Return at most `count` of `steps`, including the first and the last."""
    indices = np.linspace(0, len(steps) - 1, min(count, len(steps))).round().astype(int)
    return [steps[index] for index in indices.tolist()]


def step_labels(run: Run, steps: Sequence[int]) -> list[tuple[str, str]]:
    """Return for each step the label below an image, and the longer label of the slider."""
    losses, last = dict(run.series("loss")), number(run.last_step)

    def slider_label(step: int) -> str:
        loss = f" · training loss {number(losses[step], 3)}" if step in losses else ""
        return f"{number(step)} of {last}{loss}"

    return [(_label(step), slider_label(step)) for step in steps]


def _label(step: int) -> str:
    return f"step {number(step)}"


def layer_timelines(run: Run, steps: Sequence[int]) -> list[LayerTimeline]:
    """Return the timeline of every layer that was logged at any of `steps`."""
    timelines = (_layer_timeline(name, run, steps) for name in run.kernel_names())
    return [timeline for timeline in timelines if timeline]


def _layer_timeline(name: str, run: Run, steps: Sequence[int]) -> LayerTimeline | None:
    drawn: dict[int, np.ndarray] = {}
    changes: list[tuple[int, float]] = []
    first = last = None
    for step in steps:
        kernel = run.kernel(name, step)
        if kernel is not None and kernel.size:
            first, last = kernel if first is None else first, kernel
            drawn[step] = select_kernels(kernel)
            changes.append((step, _relative_change(first, kernel)))
    if first is None or last is None:
        return None
    limit = colour_limit(*drawn.values())
    draw = partial(embed_kernels, limit=limit, scale=scale_to_fit(last.shape, SIZE))
    missing = np.zeros((0, 0), np.float32)
    difference = _difference(drawn)
    return LayerTimeline(
        name=name,
        description=[
            *_sizes(last),
            *([_describe_change(first, last)] if len(drawn) > 1 else []),
            *_count_non_finite(last),
        ],
        selection=describe_selection(last.shape),
        limit=number(limit, 3),
        sheet=draw([drawn.get(step, missing) for step in steps]),
        strip=[
            (_label(step), draw([drawn[step]]))
            for step in _evenly_spaced(list(drawn), STRIP_LENGTH)
        ],
        change=None if difference is None else draw([difference]),
        changes=make_chart("", {"": changes}, last_step=run.last_step, log=False),
    )


def _sizes(kernel: Num[np.ndarray, "..."]) -> list[str]:
    window = " × ".join(map(str, kernel.shape[:-2]))
    channels = " → ".join(f"{size:,}" for size in kernel.shape[-2:])
    weights = f"{kernel.size:,} weight{'s' if kernel.size > 1 else ''}"
    return [part for part in (f"{window}, {channels}" if window else channels, weights) if part]


def _count_non_finite(kernel: Num[np.ndarray, "..."]) -> list[str]:
    count = int(np.count_nonzero(~np.isfinite(kernel)))
    return [f"{count:,} weights are not finite at the end"] if count else []


def _describe_change(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> str:
    if first.shape == last.shape and not first.any():
        return f"norm {number(float(np.linalg.norm(last)), 2)} at the end, from zero"
    change = _relative_change(first, last)
    return f"relative change {number(change, 2)}" if math.isfinite(change) else "not comparable"


def _relative_change(first: Num[np.ndarray, "..."], last: Num[np.ndarray, "..."]) -> float:
    """Return the norm of the change over the norm of the first kernel; NaN if it is undefined."""
    norm = float(np.linalg.norm(first))
    if first.shape != last.shape or norm == 0:
        return math.nan
    return float(np.linalg.norm(last - first)) / norm


def _difference(drawn: Mapping[int, np.ndarray]) -> np.ndarray | None:
    kernels = list(drawn.values())
    if len(kernels) < 2 or kernels[0].shape != kernels[-1].shape:
        return None
    return kernels[-1] - kernels[0]
