"""The receptive field of an output: which pixels of the input it sees, along each axis."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from jax.extend.core import JaxprEqn, jaxprs_in_params

from jconv.multiply_adds import shape_of
from jconv.primitive import conv_p
from jconv.window import Window


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

    def through(self, window: Window, axis: int) -> "Field":
        """What an output of `window` sees, if its inputs see this."""
        gap, before = window.input_dilation[axis], window.padding[axis][0]
        reach = (window.taps[axis] - 1) * window.dilation[axis]
        return Field(
            jump=self.jump * window.stride[axis] / gap,
            low=self.low - self.jump * before / gap,
            high=self.high + self.jump * (reach - before) / gap,
        )

    def __or__(self, other: "Field") -> "Field":
        """What is seen by looking at both."""
        return Field(
            jump=max(self.jump, other.jump),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
        )


def windows(eqn: JaxprEqn) -> Iterator[Window]:
    """The windows that an equation slides over space, in convolutions and pooling, in order."""
    name, params = eqn.primitive.name, eqn.params
    if eqn.primitive is conv_p:
        yield params["window"]
    elif name == "conv_general_dilated":
        x, kernel = map(shape_of, eqn.invars)
        numbers = params["dimension_numbers"]
        yield Window(
            input=tuple(x[axis] for axis in numbers.lhs_spec[2:]),
            taps=tuple(kernel[axis] for axis in numbers.rhs_spec[2:]),
            stride=tuple(params["window_strides"]),
            padding=tuple(params["padding"]),
            dilation=tuple(params["rhs_dilation"]),
            input_dilation=tuple(params["lhs_dilation"]),
        )
    elif name.startswith("reduce_window"):
        space = slice(1, -1)
        yield Window(
            input=shape_of(eqn.invars[0])[space],
            taps=tuple(params["window_dimensions"][space]),
            stride=tuple(params["window_strides"][space]),
            padding=tuple(params["padding"][space]),
            dilation=tuple(params["window_dilation"][space]),
            input_dilation=tuple(params["base_dilation"][space]),
        )
    for inner in jaxprs_in_params(params):
        for inner_eqn in inner.eqns:
            yield from windows(inner_eqn)
