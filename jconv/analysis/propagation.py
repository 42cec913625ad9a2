"""What the results of a program see of its input, equation by equation.

Windows, padding, slices and joined borders move and widen the field; functions of single numbers
and of channels leave it. Whatever else mixes space is taken to see everything.
"""

from collections.abc import Sequence

from jax.extend.core import Jaxpr, JaxprEqn, Literal, jaxprs_in_params

from jconv._core.geometry import Window
from jconv._core.jaxpr import ELEMENTWISE_PRIMITIVES, shape_of
from jconv.analysis import axis_rules as axes
from jconv.analysis.receptive_field import Seen, joined, moved, placed, through_window
from jconv.functional.primitive import conv_p


def seen_by_results(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> list[Seen | None]:
    """What the results of an equation see.

    Args:
      eqn: the equation.
      seen: by its operands; None for what does not depend on the input.
    """
    if all(own is None for own in seen):
        return [None] * len(eqn.outvars)
    name = eqn.primitive.name
    if name in CALLS:
        (inner,) = jaxprs_in_params(eqn.params)
        return seen_inside(inner, seen)
    if name in PIXELWISE:
        own = joined(seen)
    elif name.startswith("reduce_window"):
        own = _windowed(eqn, seen)
    elif name.startswith(("reduce_", "argm")):
        own = axes.reduced(eqn, seen)
    else:
        own = RULES[name](eqn, seen) if name in RULES else {}
    return [own] * len(eqn.outvars)


def seen_inside(jaxpr: Jaxpr, seen: Sequence[Seen | None]) -> list[Seen | None]:
    """What the results of a program see, by what its inputs see."""
    known = dict(zip(jaxpr.invars, seen, strict=True))
    of = lambda v: None if isinstance(v, Literal) else known.get(v)
    for eqn in jaxpr.eqns:
        known |= zip(eqn.outvars, seen_by_results(eqn, [*map(of, eqn.invars)]), strict=True)
    return [*map(of, jaxpr.outvars)]


def _convolved(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    window, x = eqn.params["window"], shape_of(eqn.invars[0])
    if seen[0] is None or seen[1] is not None:  # the kernel has seen something
        return {}
    return through_window(placed(seen[0], x, range(2, 2 + window.rank)), window)


def _convolved_by_lax(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    (x, kernel), params = map(shape_of, eqn.invars), eqn.params
    numbers = params["dimension_numbers"]
    if seen[0] is None or seen[1] is not None:
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
    return moved(through_window(placed(seen[0], x, space), window), outputs.get)


def _windowed(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    """Pooling, whose window has an entry for every axis of the array."""
    params = eqn.params
    return {
        axis: (
            dim,
            field.through(
                params["window_dimensions"][dim],
                params["window_strides"][dim],
                params["window_dilation"][dim],
                params["padding"][dim][0],
                params["base_dilation"][dim],
            ),
        )
        for axis, (dim, field) in joined(seen).items()
    }


def _padded(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    if seen[0] is None or seen[1] is not None:
        return {}
    config = eqn.params["padding_config"]
    return {
        axis: (dim, field.through(before=config[dim][0], gap=config[dim][2] + 1))
        for axis, (dim, field) in seen[0].items()
    }


def _sliced(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    start, strides = eqn.params["start_indices"], eqn.params["strides"]
    return {
        axis: (dim, field.through(stride=strides[dim] if strides else 1, before=-start[dim]))
        for axis, (dim, field) in (seen[0] or {}).items()
    }


def _concatenated(eqn: JaxprEqn, seen: Sequence[Seen | None]) -> Seen:
    """Along space, the longest part keeps its place and the others are its border."""
    along = eqn.params["dimension"]
    if not any(dim == along for own in seen for dim, _ in (own or {}).values()):
        return joined(seen)
    sizes = [shape_of(part)[along] for part in eqn.invars]
    longest = sizes.index(max(sizes))
    if 2 * sizes[longest] <= sum(sizes):
        return {}
    before = sum(sizes[:longest])
    return {
        axis: (dim, field.through(before=before) if dim == along else field)
        for axis, (dim, field) in (seen[longest] or {}).items()
    }


CALLS = {
    "checkpoint", "closed_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat",
    "remat2",
}  # fmt: skip
PIXELWISE = (ELEMENTWISE_PRIMITIVES - CALLS) | {"jconv_mark", "name", "reduce_precision", "reshard"}
RULES = {
    conv_p.name: _convolved,
    "conv_general_dilated": _convolved_by_lax,
    "pad": _padded,
    "slice": _sliced,
    "concatenate": _concatenated,
    "broadcast_in_dim": axes.broadcast,
    "transpose": axes.transposed,
    "reshape": axes.reshaped,
    "squeeze": axes.squeezed,
    "dot_general": axes.multiplied,
    "gather": axes.gathered,
    "split": axes.unless_along("axis"),
    "rev": axes.unless_along("dimensions"),
    "sort": axes.unless_along("dimension"),
    **{
        f"cum{kind}": axes.unless_along("axis")
        for kind in ("sum", "prod", "max", "min", "logsumexp")
    },
}
