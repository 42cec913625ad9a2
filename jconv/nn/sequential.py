"""A container that applies layers one after another."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import nnx


class Sequential(nnx.Sequential):
    """Layers applied one after another, each to the output of the previous one.

    Args:
      *layers: modules or functions, one by one as in `flax.nnx.Sequential`, or in a single list.

    Raises:
      ValueError: if something is not a module or a function.
    """

    def __init__(self, *layers: Callable | Sequence[Callable]):
        listed: Any = layers
        if len(layers) == 1 and isinstance(layers[0], Sequence | nnx.List):
            listed = layers[0]
        for position, layer in enumerate(listed):
            if not callable(layer):
                raise ValueError(
                    f"`layers` must be modules or functions, one by one or in a single list. "
                    f"Received: {layer!r} at position {position}."
                )
        super().__init__(*listed)
