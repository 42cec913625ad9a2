"""Where the axes of space go in equations that move arrays about, and which they mix.

Each rule takes an equation and what its operands see, None for what does not depend on the input.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul

from jax.extend.core import JaxprEqn

from jconv._core.jaxpr import shape_of
from jconv.analysis.receptive_field import Seen, joined, moved


def broadcast(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    shape, dims = shape_of(eqn.invars[0]), eqn.params["broadcast_dimensions"]
    wide = eqn.params["shape"]
    return moved(seen[0], lambda dim: dims[dim] if shape[dim] == wide[dims[dim]] else None)


def transposed(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    return moved(seen[0], eqn.params["permutation"].index)


def reshaped(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    """An axis stays one where as many numbers lie before it and along it."""
    place = lambda shape: [*zip(accumulate(shape[:-1], mul, initial=1), shape, strict=True)]
    old, new = (place(shape_of(v)) for v in (eqn.invars[0], eqn.outvars[0]))
    found: dict[int, int] = {}
    last = len(new)
    # From the right, so that of several axes of one pixel each finds another.
    for dim in sorted((dim for dim, _ in (seen[0] or {}).values()), reverse=True):
        fits = [d for d in range(last) if new[d] == old[dim]]
        if not fits:
            return {}
        found[dim] = last = fits[-1]
    return moved(seen[0], found.get)


def _without(dims: Sequence[int], dim: int) -> int | None:
    """Where an axis is when others are gone."""
    return None if dim in dims else dim - sum(gone < dim for gone in dims)


def reduced(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    axes = eqn.params.get("axes", eqn.params.get("dimensions"))
    return {} if axes is None else moved(joined(seen), lambda d: _without(axes, d))


def squeezed(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    return moved(seen[0], lambda dim: _without(eqn.params["dimensions"], dim))


def multiplied(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    """A product's axes: those of the batch, the rest of the first operand, that of the second."""
    if None not in seen:
        return {}
    contracted, batch = eqn.params["dimension_numbers"]
    first = seen[1] is None
    own, other = (0, 1) if first else (1, 0)
    gone = (*contracted[own], *batch[own])
    before = len(batch[0])
    if not first:
        rest = len(shape_of(eqn.invars[other]))
        before += rest - len(contracted[other]) - len(batch[other])

    def to(dim: int) -> int | None:
        if dim in batch[own]:
            return batch[own].index(dim)
        place = _without(gone, dim)
        return None if place is None else before + place

    return moved(seen[own], to)


def gathered(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    """Picking along other axes than those of space leaves what is seen."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape = shape_of(eqn.invars[0])
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)

    def to(dim: int) -> int | None:
        place = _without(gone, dim)
        return None if place is None or sizes[dim] != shape[dim] else numbers.offset_dims[place]

    return {} if seen[0] is None or seen[1] is not None else moved(seen[0], to)


def unless_along(name: str) -> Callable[[JaxprEqn, Sequence[Seen | None]], Seen]:
    """The rule of what mixes the axes that a parameter names, and no other."""

    def rule(eqn, seen):
        mixed = eqn.params[name]
        mixed = (mixed,) if isinstance(mixed, int) else mixed
        return moved(joined(seen), lambda dim: None if dim in mixed else dim)

    return rule
