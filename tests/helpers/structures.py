"""Networks drawn at random, and whether what `merge` makes of them, or says of them, is true.

Convolutions, norms, averages and activations, in rows, side by side, added.
"""

import itertools
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from hypothesis import strategies as st

from jconv import nn
from jconv.nn.conv import FLAX_BORDERS
from jconv.structure import NotMergeable, merge
from jconv.structure.layer_rules import part_of
from jconv.structure.merged_block import SINGLE

CHANNELS = 4
SHAPE = (2, 9, 8, CHANNELS)


def randomised(model, seed=0):
    """A network whose norms and biases do something."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, like: jnp.asarray(rng.uniform(low, high, like.shape), like.dtype)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm):
            for variable, low, high in (
                (module.mean, -1, 1),
                (module.var, 0.3, 2),
                (module.scale, -2, 2),
                (module.bias, -1, 1),
            ):
                if variable is not None:
                    variable.set_value(draw(low, high, variable))
        if isinstance(module, nnx.Conv) and module.bias is not None:
            module.bias.set_value(draw(-1, 1, module.bias))
    return model


def rngs():
    return nnx.Rngs(0)


def same(x):
    return x


class Residual(nn.Sequential):
    """A row with a call of its own."""

    def __call__(self, x):
        return x + super().__call__(x)


class Halved(nn.Conv):
    """A convolution with a call of its own."""

    def __call__(self, inputs, out_sharding=None):
        return super().__call__(inputs, out_sharding) / 2


def drawn_by_numpy(_, shape, dtype):
    """A kernel for which XLA compiles nothing, as Flax's own initialiser does for each shape."""
    rng = np.random.default_rng(shape)
    return jnp.asarray(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])), dtype)


NORM_PARTS = ("use_scale", "use_bias")
DTYPES = [None] * 12 + [jnp.float32, jnp.bfloat16]


@st.composite
def convolutions(draw, width, channels=CHANNELS):
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    pads = ["SAME", "SAME", "VALID", 0, 1, ((1, 0), (0, 2)), ((0, -1), (2, 0)), ((0, 1), (3, 0))]
    padding = draw(st.sampled_from([*pads, "CIRCULAR", "REFLECT"]))
    modes = ["zeros"] * 5 + ["circular", "replicate"]
    return draw(st.sampled_from([nn.Conv] * 15 + [Halved]))(
        channels,
        width,
        size,
        draw(st.sampled_from([1, 1, 1, 2, (1, 2)])),
        padding=padding,
        padding_mode="zeros" if padding in FLAX_BORDERS else draw(st.sampled_from(modes)),
        kernel_dilation=draw(st.sampled_from([1, 1, 1, 2, (2, 1)])),
        feature_group_count=groups if width % groups == 0 else 1,
        use_bias=draw(st.booleans()),
        dtype=draw(st.sampled_from(DTYPES)),
        kernel_init=draw(st.sampled_from([drawn_by_numpy] * 5 + [nnx.initializers.ones])),
        rngs=rngs(),
    )


@st.composite
def pools(draw):
    return nn.AvgPool(
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.sampled_from([1, 1, 2])),
        draw(st.sampled_from(["VALID", "SAME"])),
        count_include_pad=draw(st.booleans()),
    )


@st.composite
def widened(draw):
    """Twice the channels, in one of three ways, and back."""
    if draw(st.booleans()):
        size = draw(st.sampled_from([(1, 1), (3, 2)]))
        init = draw(st.sampled_from([drawn_by_numpy, nnx.initializers.ones]))
        options = dict(use_bias=draw(st.booleans()), kernel_init=init, rngs=rngs())
        first = nn.DepthwiseConv(CHANNELS, size, multiplier=2, **options)
    else:
        one, other = (draw(st.just(same) | pools()) for _ in range(2))
        first = nn.Parallel([one, other])
    return nn.Sequential([first, draw(convolutions(CHANNELS, 2 * CHANNELS))])


@st.composite
def layers(draw):
    kinds = ["conv"] * 3 + ["norm", "pad", "pool", "activation", "identity", "widened"]
    match draw(st.sampled_from(kinds)):
        case "conv":
            return draw(convolutions(CHANNELS))
        case "norm":
            return nnx.BatchNorm(CHANNELS, dtype=draw(st.sampled_from(DTYPES)), rngs=rngs())
        case "pad":
            parts = {name: draw(st.sampled_from([True] * 3 + [False])) for name in NORM_PARTS}
            return nn.NormPad(CHANNELS, draw(st.integers(0, 2)), **parts, rngs=rngs())
        case "pool":
            return draw(pools())
        case "activation":
            return draw(st.sampled_from([nnx.relu, nnx.tanh]))
        case "widened":
            return draw(widened())
    return same


def structures():
    rows = lambda inner: st.builds(
        lambda kind, layers: kind(layers),
        st.sampled_from([nn.Sequential] * 15 + [Residual]),
        st.lists(inner, min_size=1, max_size=3),
    )
    side_by_side = lambda inner: st.builds(
        lambda branches, join: nn.Parallel(branches, join=join),
        st.lists(rows(inner), min_size=1, max_size=3),
        st.sampled_from(["add", "add", "concatenate"]),
    )
    return st.recursive(layers(), lambda inner: rows(inner) | side_by_side(inner), max_leaves=6)


@dataclass
class Outcome:
    """What became of a structure, and what is wrong with that, if anything."""

    kind: str
    fault: str = ""


def outcome(model, seed):
    """Merges a structure, where it is a network at all."""
    if not isinstance(model, nnx.Module):
        return Outcome("no module")
    model = randomised(model, seed)
    viewed = nnx.view(model, use_running_average=True, raise_if_not_found=False)
    x = np.random.default_rng(seed).normal(size=SHAPE).astype("float32")
    try:
        size = jax.eval_shape(lambda x: viewed(x), x).size
    except (ValueError, TypeError):
        return Outcome("no network")  # branches of shapes that do not fit
    if size == 0:
        return Outcome("empty")
    try:
        merged = merge(model, SHAPE[1:])
    except NotMergeable as refusal:
        reason = str(refusal).partition("there are none. ")[2].partition("; ")[0]
        kind = "one layer" if "needs no merging" in reason else "refused"
        return Outcome(kind, _falsehood(reason.removeprefix("model: "), viewed))
    y, expected = merged(x), merged.original(x)
    whole = any(step.path == "model" for step in merged.steps)
    kind = "merged whole" if whole else "merged in parts"
    if (y.shape, y.dtype) != (expected.shape, expected.dtype):
        return Outcome(kind, f"{y.dtype}{y.shape}, not {expected.dtype}{expected.shape}")
    faults = [beyond_bound(step, x, seed) for step in merged.steps]
    # Where each part is equal, this finds those that were put in the wrong place.
    coarse = {jnp.float32: 1e-3, jnp.bfloat16: 0.1}[max(dtypes_of(model), key=coarseness)]
    y, expected = np.asarray(y, np.float32), np.asarray(expected, np.float32)
    error = np.abs(y - expected).max() / max(1, np.abs(expected).max())
    faults.append(f"wrong by {error}" if error > coarse else "")
    if not whole:
        faults.append(_falsehood(merged.refusals["model"], viewed))
    return Outcome(kind, "; ".join(filter(None, faults)))


def beyond_bound(step, x, seed):
    """By how much a part and what it became differ, where they do by more than the bound."""
    if step.path != "model":
        x = np.random.default_rng(seed).normal(size=step.shape).astype("float32")
    expected, y = (np.asarray(layer(x), np.float64) for layer in (step.before, step.after))
    # The activation rounds once more on either side.
    allowed = step.bound(x) + 4 * jnp.finfo(step.after(x).dtype).eps * np.abs(expected)
    beyond = (np.abs(y - expected) / allowed).max()
    return f"{beyond} times the bound at {step.path}" if beyond > 1 else ""


def dtypes_of(model):
    """The dtypes that layers ask for, and float32."""
    asked = (getattr(module, "dtype", None) for _, module in nnx.iter_modules(model))
    return {jnp.float32, *(dtype for dtype in asked if dtype is not None)}


def coarseness(dtype):
    return jnp.finfo(dtype).eps


def in_float32(model):
    """The network in whose numbers is seen what is equal."""
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        if hasattr(module, "dtype"):
            module.dtype = None
    return model


def told(reason):
    """A reason without the places of what it is about."""
    return re.sub(r"^(branch \d+: |layer \d+ \(\w+\): )+", "", reason)


def _falsehood(reason, model):
    """What is false about the reason why a network is not one convolution, if anything."""
    reason = told(reason)
    modules = [module for _, module in nnx.iter_modules(model)]
    convs = [module for module in modules if isinstance(module, nnx.Conv)]
    if "needs no merging" in reason:
        count = sum(isinstance(module, SINGLE) for module in modules)
        return f"{reason}; but there are {count}" if count > 1 else ""
    if "it has no convolution" in reason:
        return f"{reason}; but there are {len(convs)}" if convs else ""
    if "`__call__` of its own" in reason:
        own = {type(module).__name__ for module in modules if type(module) in (Residual, Halved)}
        return "" if reason.split()[0] in own else f"{reason}; but there is none"
    if "computes in" in reason or "compute in" in reason:
        asked = any(getattr(module, "dtype", None) for module in modules)
        return "" if asked else f"{reason}; but no layer asks for a dtype"
    model = in_float32(model)
    if "averages at the border" in reason:
        pools = [module for module in modules if isinstance(module, nn.AvgPool)]
        return "" if any(map(sees_fewer, pools)) else f"{reason}; but all are of as many"
    if "nonlinear" in reason:
        return f"{reason}; but it is linear" if is_affine(never_dead(model)) else ""
    if "is not that of before" in reason:
        borders = {*map(border_of, convs)}
        if any(isinstance(module, nn.NormPad | nn.AvgPool) for module in modules):
            borders.add("zeros")
        return "" if len(borders) > 1 else f"{reason}; but all are alike"
    model = never_dead(model)  # what is dead is the same everywhere
    # Of a period a convolution makes a period: only sizes tell its border from zeros.
    if any(word in reason for word in ("'s size", "the size", "'circular'", "'reflect'")):
        return f"{reason}; but it does not" if is_convolution(model, alike=True) else ""
    if not is_convolution(model) or any(
        not is_convolution(row) for row in neighbours(model) if told(refusal(row)) == reason
    ):
        return ""
    return f"{reason}; but it is a convolution"


def sees_fewer(pool):
    """Whether an average of ones says that it counted padding, if it is counted."""
    counting = nnx.clone(pool)
    counting.count_include_pad = True
    return any(np.any(counting(jnp.ones((1, *size, 1))) != 1) for size in SIZES)


def border_of(conv):
    """What lies beyond the border, in its own word."""
    if conv.padding in FLAX_BORDERS:
        return conv.padding.lower()
    return conv.conv_general_dilated.padding_mode


def neighbours(model):
    """Pairs of layers in a row: a third may read only what is the same of those that are none."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            yield from (nn.Sequential(pair) for pair in itertools.pairwise(module.layers))


def refusal(model):
    """Why a row is not one convolution; nothing where it is."""
    try:
        part_of(model)
    except NotMergeable as reason:
        return str(reason)
    return ""


def never_dead(model):
    """The network with a bend everywhere, where ReLU may be 0, or the number itself, throughout,
    and another function so steep or flat that it seems to be one or the other."""
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            bends = (nnx.relu, nnx.tanh)
            bent = [jnp.arcsinh if layer in bends else layer for layer in module.layers]
            module.layers = nnx.List(bent)
    return model


def compiled(model):
    """A network as one program: there in half the time of one for each layer."""
    return jax.jit(lambda x: model(x))


def is_affine(model):
    a, b, zero = (np.random.default_rng(i).normal(size=SHAPE) * (i > 0) for i in (1, 2, 0))
    f = compiled(model)
    a, b, both, zero = (np.asarray(f(x.astype("float32"))) for x in (a, b, a + b, zero))
    return np.allclose(both - b, a - zero, rtol=0, atol=1e-4 * max(1, np.abs(both).max()))


# Of every remainder by 4, the widest stride that is common: the last window ends elsewhere.
SIZES = ((11, 12), (14, 13), (12, 14), (13, 11))
# And again, for what depends on the size in the last window alone.
LARGER = ((15, 16), (18, 17), (16, 18), (17, 15))


def is_convolution(model, *, alike=False):
    """Whether an affine network does the same everywhere, for inputs of some sizes: it makes the
    same of zeros at every place, and of a pixel what it makes of the one a stride before; if
    `alike`, it also places its window alike at all sizes. Not where there are too few places to
    tell."""
    seen = []
    for size in SIZES + (LARGER if alike else ()):
        try:
            response, of_zero = responses(model, *size)
        except (TypeError, ValueError):  # branches that fit together at some sizes alone
            return False
        if not does_the_same_everywhere(response, of_zero):
            return False
        for other in seen if alike else ():
            both = tuple(map(slice, np.minimum(response.shape, other.shape)))
            if not np.allclose(response[both], other[both], rtol=0, atol=1e-4):
                return False
        seen.append(response)
    return True


def responses(model, rows, columns):
    """What a network makes of each pixel alone, `(rows, columns, c, *output, co)`; of zeros."""
    pixels = np.eye(rows * columns * CHANNELS, dtype="float32")
    pixels = pixels.reshape(-1, rows, columns, CHANNELS)
    made = np.asarray(compiled(model)(np.concatenate([np.zeros_like(pixels[:1]), pixels])))
    of_zero, response = made[:1], made[1:] - made[:1]
    return response.reshape(rows, columns, CHANNELS, *response.shape[1:]), of_zero


def does_the_same_everywhere(response, of_zero):
    if min(of_zero.shape[1:3]) < 3:
        return False
    close = lambda a, b: np.allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(response).max()))
    if not close(of_zero, of_zero[:, :1, :1]):
        return False

    def moves(axis):
        placed = np.moveaxis(response, (axis, 3 + axis), (0, 1))
        return any(close(placed[step:, 1:], placed[:-step, :-1]) for step in range(1, 9))

    return moves(0) and moves(1)
