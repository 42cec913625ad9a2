"""Parts of a network that are a convolution and an activation, and what they are together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flax import nnx

from jconv.structure.affine import Affine, NotMergeable
from jconv.structure.dtypes import Numerics, numerics_beside, numerics_in_turn
from jconv.structure.parallel import add, concatenate
from jconv.structure.sequential import compose, of_the_same_channels


@dataclass(frozen=True)
class Part:
    """A layer as `activation(convolution(x))`.

    Attributes:
      affine: the convolution and its bias.
      activation: None for none.
      like: a convolution of the layer, whose precision the merged one gets; None for none.
      numerics: dtypes; None for what keeps that of its input.
    """

    affine: Affine
    activation: Callable | None = None
    like: nnx.Conv | None = None
    numerics: Numerics | None = None


def then(first: Part, second: Part) -> Part:
    """One part after another.

    Raises:
      NotMergeable: with the reason, where they are none together.
    """
    numerics = numerics_in_turn(first.numerics, second.numerics)
    like = like_of([first, second])
    affine, after = of_the_same_channels(first.affine, second.affine)
    if after.is_identity:
        return Part(affine, _in_turn(first.activation, second.activation), like, numerics)
    if first.activation is not None:
        raise NotMergeable(f"the nonlinearity {name_of(first.activation)} stands between")
    return Part(compose(affine, after), second.activation, like, numerics)


def side_by_side(parts: Sequence[Part], adds: bool) -> Part:
    """Parts that see the same input, added or concatenated.

    Raises:
      NotMergeable: with the reason, where they are none together.
    """
    if len(parts) == 1:
        return parts[0]
    activations = {part.activation for part in parts}
    if adds and activations != {None}:
        raise NotMergeable("a nonlinearity stands before the sum")
    if len(activations) > 1:
        raise NotMergeable("branches end in different nonlinearities")
    numerics = numerics_beside([part.numerics for part in parts])
    affine = (add if adds else concatenate)([part.affine for part in parts])
    return Part(affine, parts[0].activation, like_of(parts), numerics)


def like_of(parts: Sequence[Part]) -> nnx.Conv | None:
    """A convolution that stands for those of all parts.

    Raises:
      NotMergeable: where they multiply with different precisions.
    """
    likes = [part.like for part in parts if part.like is not None]
    precisions = [like.precision for like in likes]
    if any(precision != precisions[0] for precision in precisions):
        raise NotMergeable(f"its layers multiply with different precisions: {precisions}")
    return likes[0] if likes else None


def _in_turn(first: Callable | None, second: Callable | None) -> Callable | None:
    if first is None or second is None:
        return first or second
    return lambda x: second(first(x))


def name_of(function) -> str:
    """As it is called in a message."""
    return getattr(function, "__name__", None) or type(function).__name__
