"""Propagation of receptive fields through a program, equation by equation.

Convolutions, pooling, padding and slices move and widen a field. Elementwise functions and
functions of channels keep it. An equation that mixes space in another way depends on the whole
input, and so does everything computed from it.
"""

from collections.abc import Mapping, Sequence

from jax.extend.core import Jaxpr, JaxprEqn, Literal, jaxprs_in_params

from jconv._core.geometry import Window
from jconv._core.jaxpr import ELEMENTWISE_PRIMITIVES, shape_of
from jconv.analysis import axis_rules
from jconv.analysis.receptive_field import FieldMap, apply_window, match_axes, move_axes, union
from jconv.functional.primitive import conv_p


def propagate(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> list[FieldMap | None]:
    """Return the fields of an equation's results.

    Args:
      eqn: the equation.
      fields: the fields of its operands; None for one that does not depend on the input.
    """
    if all(field_map is None for field_map in fields):
        return [None] * len(eqn.outvars)
    name = eqn.primitive.name
    if name in CALLS:
        (inner,) = jaxprs_in_params(eqn.params)
        return propagate_jaxpr(inner, fields)
    if name in ELEMENTWISE:
        result = union(fields)
    elif name.startswith("reduce_window"):
        result = _reduce_window(eqn, fields)
    elif name.startswith(("reduce_", "argm")):
        result = axis_rules.reduce(eqn, fields)
    else:
        result = RULES[name](eqn, fields) if name in RULES else {}
    return [result] * len(eqn.outvars)


def propagate_jaxpr(jaxpr: Jaxpr, fields: Sequence[FieldMap | None]) -> list[FieldMap | None]:
    """Return the fields of a program's outputs, given those of its inputs."""
    known = dict(zip(jaxpr.invars, fields, strict=True))
    read = lambda v: None if isinstance(v, Literal) else known.get(v)
    for eqn in jaxpr.eqns:
        known |= zip(eqn.outvars, propagate(eqn, [*map(read, eqn.invars)]), strict=True)
    return [*map(read, jaxpr.outvars)]


def _conv(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    window, x = eqn.params["window"], shape_of(eqn.invars[0])
    if fields[0] is None or fields[1] is not None:  # the kernel depends on the input
        return {}
    return apply_window(match_axes(fields[0], x, range(2, 2 + window.rank)), window)


def _conv_general_dilated(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    (x, kernel), params = map(shape_of, eqn.invars), eqn.params
    numbers = params["dimension_numbers"]
    if fields[0] is None or fields[1] is not None:
        return {}
    space = numbers.lhs_spec[2:]
    window = Window(
        input=tuple(x[dim] for dim in space),
        taps=tuple(kernel[dim] for dim in numbers.rhs_spec[2:]),
        stride=tuple(params["window_strides"]),
        padding=tuple(params["padding"]),
        dilation=tuple(params["rhs_dilation"]),
        input_dilation=tuple(params["lhs_dilation"]),
    )
    outputs = dict(zip(space, numbers.out_spec[2:], strict=True))
    return move_axes(apply_window(match_axes(fields[0], x, space), window), outputs.get)


def _reduce_window(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    params = eqn.params  # the window has an entry for every axis of the array
    return {
        axis: (
            dim,
            field.apply_window(
                params["window_dimensions"][dim],
                params["window_strides"][dim],
                params["window_dilation"][dim],
                params["padding"][dim][0],
                params["base_dilation"][dim],
            ),
        )
        for axis, (dim, field) in union(fields).items()
    }


def _pad(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    if fields[0] is None or fields[1] is not None:
        return {}
    config = eqn.params["padding_config"]
    return {
        axis: (
            dim,
            field.apply_window(padding=config[dim][0], input_dilation=config[dim][2] + 1),
        )
        for axis, (dim, field) in fields[0].items()
    }


def _slice(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    start, strides = eqn.params["start_indices"], eqn.params["strides"]
    return {
        axis: (
            dim,
            field.apply_window(stride=strides[dim] if strides else 1, padding=-start[dim]),
        )
        for axis, (dim, field) in (fields[0] or {}).items()
    }


def _concatenate(eqn: JaxprEqn, fields: Sequence[FieldMap | None]) -> FieldMap:
    """Treat all but the longest operand joined along a spatial axis as a border of it."""
    dimension = eqn.params["dimension"]
    if not any(dim == dimension for part in fields for dim, _ in (part or {}).values()):
        return union(fields)
    sizes = [shape_of(part)[dimension] for part in eqn.invars]
    longest = sizes.index(max(sizes))
    if 2 * sizes[longest] <= sum(sizes):
        return {}
    before = sum(sizes[:longest])
    return {
        axis: (dim, field.apply_window(padding=before) if dim == dimension else field)
        for axis, (dim, field) in (fields[longest] or {}).items()
    }


CALLS = {
    "checkpoint", "closed_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat",
    "remat2",
}  # fmt: skip
ELEMENTWISE = (ELEMENTWISE_PRIMITIVES - CALLS) | {
    "jconv_mark", "name", "reduce_precision", "reshard",
}  # fmt: skip
RULES: Mapping[str, axis_rules.Rule] = {
    conv_p.name: _conv,
    "conv_general_dilated": _conv_general_dilated,
    "pad": _pad,
    "slice": _slice,
    "concatenate": _concatenate,
    "broadcast_in_dim": axis_rules.broadcast_in_dim,
    "transpose": axis_rules.transpose,
    "reshape": axis_rules.reshape,
    "squeeze": axis_rules.squeeze,
    "dot_general": axis_rules.dot_general,
    "gather": axis_rules.gather,
    "split": axis_rules.mixes("axis"),
    "rev": axis_rules.mixes("dimensions"),
    "sort": axis_rules.mixes("dimension"),
    **{
        f"cum{kind}": axis_rules.mixes("axis")
        for kind in ("sum", "prod", "max", "min", "logsumexp")
    },
}
