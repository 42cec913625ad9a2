"""The receptive field of an output: which pixels of the input it sees, along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jconv._core.geometry import Window


@dataclass(frozen=True)
class Field:
    """What output `o` sees along one axis: inputs `o * jump + low` to `o * jump + high`.

    Reference: Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks"
    (2019).
    """

    jump: float = 1
    low: float = 0
    high: float = 0

    @property
    def size(self) -> int:
        """Pixels of the input from the first to the last that is seen."""
        return math.floor(self.high) - math.ceil(self.low) + 1

    def through(
        self, taps: int = 1, stride: int = 1, dilation: int = 1, before: int = 0, gap: int = 1
    ) -> Field:
        """What an output of a window sees, if its inputs see this.

        Args:
          taps: of the window.
          stride: inputs between neighbouring outputs.
          dilation: inputs between neighbouring taps.
          before: pixels padded before the first input; negative crops.
          gap: pixels from one input to the next, with zeros between them.
        """
        reach = (taps - 1) * dilation
        return Field(
            jump=self.jump * stride / gap,
            low=self.low - self.jump * before / gap,
            high=self.high + self.jump * (reach - before) / gap,
        )

    def __or__(self, other: Field) -> Field:
        """What is seen by looking at both."""
        return Field(
            jump=max(self.jump, other.jump),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )


# For each spatial axis of the input: the axis of the array that it lies along, and the field there.
# Empty where everything is seen.
Seen = dict[int, tuple[int, Field]]


def through_window(seen: Seen, window: Window) -> Seen:
    """What the outputs of a window see, whose inputs see this."""
    found = {}
    for i, (axis, (dim, field)) in enumerate(sorted(seen.items())):
        found[axis] = (
            dim,
            field.through(
                window.taps[i],
                window.stride[i],
                window.dilation[i],
                window.padding[i][0],
                window.input_dilation[i],
            ),
        )
    return found


def placed(seen: Seen, shape: Sequence[int], dims: Sequence[int]) -> Seen:
    """The same if its axes lie along `dims`, in order; a single pixel may lie along any of them."""
    fits = len(seen) == len(dims) and all(
        dim == own or (dim < len(shape) and shape[dim] == shape[own] == 1)
        for dim, (_, (own, _)) in zip(dims, sorted(seen.items()), strict=True)
    )
    if not fits:
        return {}
    return {axis: (dims[i], field) for i, (axis, (_, field)) in enumerate(sorted(seen.items()))}


def joined(seen: Sequence[Seen | None]) -> Seen:
    """What is seen by looking at all of these; None is what does not depend on the input."""
    found = [own for own in seen if own is not None]
    if len({tuple((axis, dim) for axis, (dim, _) in sorted(own.items())) for own in found}) > 1:
        return {}
    union = found[0]
    for other in found[1:]:
        union = {a: (dim, field | other[a][1]) for a, (dim, field) in union.items()}
    return union


def moved(seen: Seen | None, to: Callable[[int], int | None]) -> Seen:
    """The same along other axes of the array; everything where one is lost."""
    found: Seen = {}
    for axis, (dim, field) in (seen or {}).items():
        place = to(dim)
        if place is None:
            return {}
        found[axis] = place, field
    return found
