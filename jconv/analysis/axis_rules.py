"""Propagation rules of primitives that move, remove or mix array axes.

Each rule takes an equation and the fields of its operands, None for an operand that does not depend
on the input, and returns the fields of its results.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import mul

from jax.extend.core import JaxprEqn

from jconv._core.jaxpr import shape_of
from jconv.analysis.receptive_field import FieldMap, move_axes, union

Rule = Callable[[JaxprEqn, Sequence[FieldMap | None]], FieldMap]


def broadcast_in_dim(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Move axes to `broadcast_dimensions`; an axis that is repeated is lost."""
    shape, dims = shape_of(eqn.invars[0]), eqn.params["broadcast_dimensions"]
    new_shape = eqn.params["shape"]
    return move_axes(
        fields[0], lambda dim: dims[dim] if shape[dim] == new_shape[dims[dim]] else None
    )


def transpose(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Permute axes."""
    return move_axes(fields[0], eqn.params["permutation"].index)


def reshape(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Keep an axis whose size, and the number of elements before it, stay the same."""
    layout = lambda shape: [*zip(accumulate(shape[:-1], mul, initial=1), shape, strict=True)]
    old, new = (layout(shape_of(v)) for v in (eqn.invars[0], eqn.outvars[0]))
    new_dims: dict[int, int] = {}
    end = len(new)
    # Several axes of size one look alike. Going from right to left gives each its own target.
    for dim in sorted((dim for dim, _ in (fields[0] or {}).values()), reverse=True):
        candidates = [d for d in range(end) if new[d] == old[dim]]
        if not candidates:
            return {}
        new_dims[dim] = end = candidates[-1]
    return move_axes(fields[0], new_dims.get)


def reduce(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Remove the reduced axes, which are lost."""
    axes = eqn.params.get("axes", eqn.params.get("dimensions"))
    return {} if axes is None else move_axes(union(fields), lambda dim: _after_removal(dim, axes))


def squeeze(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Remove axes of size one."""
    return move_axes(fields[0], lambda dim: _after_removal(dim, eqn.params["dimensions"]))


def dot_general(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Place axes as `dot_general` does: batch, then the rest of the left, then of the right."""
    if None not in fields:
        return {}
    contracted, batch = eqn.params["dimension_numbers"]
    operand = 0 if fields[1] is None else 1
    removed = (*contracted[operand], *batch[operand])
    offset = len(batch[0])
    if operand == 1:
        offset += len(shape_of(eqn.invars[0])) - len(contracted[0]) - len(batch[0])

    def new_dim(dim: int) -> int | None:
        if dim in batch[operand]:
            return batch[operand].index(dim)
        remaining = _after_removal(dim, removed)
        return None if remaining is None else offset + remaining

    return move_axes(fields[operand], new_dim)


def gather(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Keep the axes that are taken whole, as when channels are selected."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    shape = shape_of(eqn.invars[0])
    removed = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)

    def new_dim(dim: int) -> int | None:
        remaining = _after_removal(dim, removed)
        if remaining is None or sizes[dim] != shape[dim]:
            return None
        return numbers.offset_dims[remaining]

    if fields[0] is None or fields[1] is not None:
        return {}
    return move_axes(fields[0], new_dim)


def mixes(parameter: str) -> Rule:
    """Return the rule of a primitive that mixes the axes named by one parameter, and no others."""

    def rule(eqn, fields):
        mixed = eqn.params[parameter]
        mixed = (mixed,) if isinstance(mixed, int) else mixed
        return move_axes(union(fields), lambda dim: None if dim in mixed else dim)

    return rule


def _after_removal(dim: int, removed: Sequence[int]) -> int | None:
    """Return the position of an axis after others are removed."""
    return None if dim in removed else dim - sum(other < dim for other in removed)
