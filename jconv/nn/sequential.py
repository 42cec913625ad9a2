"""A container: layers one after another."""

from collections.abc import Callable, Sequence

from flax import nnx


class Sequential(nnx.Sequential):
    """Calls a list of layers in turn, each on the output of the one before.

    Args:
      layers: modules or functions, in one list.

    Raises:
      ValueError: for layers passed one by one, or things that cannot be called.
    """

    def __init__(self, layers: Sequence[Callable], *more):
        if more or not isinstance(layers, Sequence | nnx.List):
            given = (layers, *more)
            names = ", ".join(type(layer).__name__ for layer in given)
            raise ValueError(
                f"`layers` must be one list of layers. Received: {len(given)} "
                f"{'argument' if len(given) == 1 else 'arguments'} ({names}) one by one. "
                f"Put them into a list: Sequential([{names}])."
            )
        for place, layer in enumerate(layers):
            if not callable(layer):
                raise ValueError(
                    f"`layers` must hold modules or functions. "
                    f"Received: {layer!r} at place {place}."
                )
        super().__init__(*layers)
