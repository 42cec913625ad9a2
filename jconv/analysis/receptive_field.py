"""Theoretical receptive fields: which input pixels an array depends on, along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jconv._core.geometry import Window


@dataclass(frozen=True)
class AxisField:
    """Receptive field along one axis.

    Output `o` depends on no inputs outside of `o * jump + low` to `o * jump + high`.

    Reference: Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks"
    (2019).
    """

    jump: float = 1.0
    low: float = 0.0
    high: float = 0.0

    @property
    def size(self) -> int:
        """Pixels from the first to the last, both counted."""
        return math.floor(self.high) - math.ceil(self.low) + 1

    def apply_window(
        self,
        taps: int = 1,
        stride: int = 1,
        dilation: int = 1,
        padding: int = 0,
        input_dilation: int = 1,
    ) -> AxisField:
        """Return the field of a window's outputs, whose inputs have this field.

        Args:
          taps: taps of the window.
          stride: inputs between neighbouring outputs.
          dilation: inputs between neighbouring taps.
          padding: pixels padded before the first input; a negative number crops.
          input_dilation: distance between neighbouring inputs after zeros are put between them.
        """
        reach = (taps - 1) * dilation
        return AxisField(
            jump=self.jump * stride / input_dilation,
            low=self.low - self.jump * padding / input_dilation,
            high=self.high + self.jump * (reach - padding) / input_dilation,
        )

    def __or__(self, other: AxisField) -> AxisField:
        """Return the smallest field that contains both."""
        return AxisField(
            jump=max(self.jump, other.jump),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )


# The receptive field of an array: for each spatial axis of the network's input, the axis of the
# array that corresponds to it, and the field along it. An empty map is the whole input. Functions
# take None for an array that does not depend on the input at all.
FieldMap = dict[int, tuple[int, AxisField]]


def apply_window(fields: FieldMap, window: Window) -> FieldMap:
    """Return the fields of a window's outputs, given those of its inputs."""
    return {
        axis: (
            dim,
            field.apply_window(
                window.taps[i],
                window.stride[i],
                window.dilation[i],
                window.padding[i][0],
                window.input_dilation[i],
            ),
        )
        for i, (axis, (dim, field)) in enumerate(sorted(fields.items()))
    }


def match_axes(fields: FieldMap, shape: Sequence[int], dims: Sequence[int]) -> FieldMap:
    """Return `fields` along the array axes `dims`, or the whole input if they lie along others.

    Axes of size one are interchangeable.

    Args:
      fields: the fields of an array.
      shape: the array's shape.
      dims: array axes, in the order of the input's spatial axes.
    """
    fits = len(fields) == len(dims) and all(
        dim == current or (dim < len(shape) and shape[dim] == shape[current] == 1)
        for dim, (_, (current, _)) in zip(dims, sorted(fields.items()), strict=True)
    )
    if not fits:
        return {}
    return {axis: (dims[i], field) for i, (axis, (_, field)) in enumerate(sorted(fields.items()))}


def union(fields: Sequence[FieldMap | None]) -> FieldMap:
    """Return the fields of a function of several arrays, of which one is not None.

    It is the whole input where the arrays have the input's axes in different places.
    """
    first, *rest = [field_map for field_map in fields if field_map is not None]
    dims = [{axis: dim for axis, (dim, _) in field_map.items()} for field_map in (first, *rest)]
    if any(other != dims[0] for other in dims):
        return {}
    for other in rest:
        first = {axis: (dim, field | other[axis][1]) for axis, (dim, field) in first.items()}
    return first


def move_axes(fields: FieldMap | None, new_dim: Callable[[int], int | None]) -> FieldMap:
    """Return `fields` along other axes of the array, or the whole input if an axis is lost.

    Args:
      fields: the fields of an array.
      new_dim: returns the new position of an array axis, or None if it is mixed with others.
    """
    moved: FieldMap = {}
    for axis, (dim, field) in (fields or {}).items():
        target = new_dim(dim)
        if target is None:
            return {}
        moved[axis] = target, field
    return moved
