"""Merged networks against what they were merged from, on structures drawn at random."""

import itertools
import re
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jconv
from jconv import nn
from jconv.structure import Refused, merge
from jconv.structure.elementwise import is_elementwise
from jconv.structure.merge import SINGLE
from jconv.structure.parts import part_of

CHANNELS = 4
SHAPE = (2, 9, 8, CHANNELS)


def randomised(model, seed=0):
    """A network whose norms and biases do something."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high, shape: jnp.asarray(rng.uniform(low, high, shape), jnp.float32)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.BatchNorm):
            for variable, low, high in (
                (module.mean, -1, 1),
                (module.var, 0.3, 2),
                (module.scale, -2, 2),
                (module.bias, -1, 1),
            ):
                variable.set_value(draw(low, high, variable.shape))
        if isinstance(module, nnx.Conv) and module.bias is not None:
            module.bias.set_value(draw(-1, 1, module.bias.shape))
    return model


def check(model, shape=SHAPE, seed=0):
    """Merges a part that is one convolution, and compares; returns the kernel's shape."""
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    merged = merge(randomised(model, seed))
    (step,) = merged.steps
    assert step.path == "model" and step.merged
    y, expected = np.asarray(merged(x)), np.asarray(merged.original(x))
    assert y.shape == expected.shape
    # ReLU keeps distances at most; the others that are drawn stretch them by less than a quarter.
    assert np.all(np.abs(y - expected) <= 1.25 * step.bound(x))
    return step.kernel


def rngs():
    return nnx.Rngs(0)


BLOCKS = {
    "RepVGG": (lambda: nn.RepVGGBlock(4, 4, rngs=rngs()), (3, 3, 4, 4)),
    "RepVGG strided": (lambda: nn.RepVGGBlock(4, 6, 2, groups=2, rngs=rngs()), (3, 3, 2, 6)),
    "diverse branches": (lambda: nn.DiverseBranchBlock(4, 4, rngs=rngs()), (3, 3, 4, 4)),
    "diverse branches 5": (
        lambda: nn.DiverseBranchBlock(4, 6, 5, 2, groups=2, rngs=rngs()),
        (5, 5, 2, 6),
    ),
    "the text's block": (lambda: nn.ParallelConv(4, {1: 2, 3: 3, 5: 4}, rngs=rngs()), (5, 5, 4, 9)),
    "even kernels": (lambda: nn.ParallelConv(4, {1: 2, 2: 3, 4: 4}, rngs=rngs()), (4, 4, 4, 9)),
    "dilated": (
        lambda: nn.ParallelConv(
            4, [nn.Branch(width=2, kernel=1), nn.Branch(width=3, kernel=3, dilation=2)], rngs=rngs()
        ),
        (3, 3, 4, 5),  # taps at every second pixel: the dilation is kept
    ),
    "separable": (lambda: nn.SeparableConv(4, 5, (3, 3), rngs=rngs()), (3, 3, 4, 5)),
    "mixed depthwise": (lambda: nn.MixConv(4, (3, 5), rngs=rngs()), (5, 5, 1, 4)),
    "Inception depthwise": (
        lambda: nn.InceptionDepthwise(4, 3, 5, ratio=0.25, rngs=rngs()),
        (5, 5, 1, 4),
    ),
    "norm folded, SAME and strided": (lambda: nn.ConvNorm(4, 3, 3, 2, rngs=rngs()), (3, 3, 4, 3)),
    "1xn and nx1 add": (
        lambda: nn.Parallel(
            [nn.Conv(4, 3, size, rngs=rngs()) for size in ((1, 5), (5, 1), (3, 3))], join="add"
        ),
        (5, 5, 4, 3),
    ),
    "an identity and an average add": (
        lambda: nn.Parallel(
            [
                lambda x: x,
                nn.Conv(4, 4, (3, 3), rngs=rngs()),
                nn.AvgPool((3, 3), 1, "SAME", count_include_pad=True),
            ],
            join="add",
        ),
        (3, 3, 4, 4),
    ),
    "1x1 then k x k": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 8, (1, 1), use_bias=False, rngs=rngs()),
                nn.Conv(8, 3, (3, 2), (2, 1), padding=((1, 0), (0, 1)), rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (3, 2, 4, 3),
    ),
    "unpadded, strided, one after another": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (2, 3), (2, 1), padding=1, rngs=rngs()),
                nn.Conv(3, 2, (2, 2), padding="VALID", rngs=rngs()),
                jax.nn.gelu,
            ]
        ),
        (4, 4, 4, 2),
    ),
    "circular border": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (1, 1), rngs=rngs()),
                nn.Conv(3, 2, (3, 3), padding_mode="circular", rngs=rngs()),
            ]
        ),
        (3, 3, 4, 2),
    ),
    "one axis": (
        lambda: nn.Sequential([nn.Conv(4, 3, 5, rngs=rngs()), nnx.BatchNorm(3, rngs=rngs())]),
        (5, 4, 3),
    ),
    "three axes": (
        lambda: nn.Parallel([nn.Conv(4, 3, (k,) * 3, rngs=rngs()) for k in (1, 3)], join="add"),
        (3, 3, 3, 4, 3),
    ),
    "masked": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), mask=jnp.tril(jnp.ones((3, 3, 4, 4))), rngs=rngs()),
                nnx.BatchNorm(4, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_one_convolution(name):
    make, kernel = BLOCKS[name]
    shape = {"one axis": (2, 9, 4), "three axes": (2, 5, 6, 4, 4)}.get(name, SHAPE)
    assert check(make(), shape) == kernel


REFUSED = {
    "the nonlinearity relu stands between": lambda: nn.ParallelConv(
        4, [nn.Branch(width=2), nn.Branch(width=3, reduce=2)], rngs=rngs()
    ),
    "zeros are padded where the bias": lambda: nn.Sequential(
        [nn.Conv(4, 3, (1, 1), rngs=rngs()), nn.Conv(3, 2, (3, 3), rngs=rngs())]
    ),
    "sees pixels of the border": lambda: nn.Sequential(
        [nn.Conv(4, 3, (3, 3), use_bias=False, rngs=rngs()), nn.Conv(3, 2, (3, 3), rngs=rngs())]
    ),
    "outputs of different sizes": lambda: nn.Parallel(
        [nn.Conv(4, 3, (k, k), padding="VALID", rngs=rngs()) for k in (1, 3)], join="add"
    ),
    "branches have strides": lambda: nn.Parallel(
        [nn.Conv(4, 3, (1, 1), s, rngs=rngs()) for s in (1, 2)]
    ),
    "depend on the input's size": lambda: nn.Parallel(
        [nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (3, 5)]
    ),
    "averages at the border": lambda: nn.Sequential(
        [nn.AvgPool((3, 3), 1, "SAME"), nn.Conv(4, 2, (1, 1), rngs=rngs())]
    ),
    "the function softmax": lambda: nn.ParallelConv(
        4, {1: 2, 3: 2}, activation=nnx.softmax, rngs=rngs()
    ),
    "MaxPool is not linear": lambda: nn.Sequential(
        [nn.MaxPool((2, 2)), nn.Conv(4, 2, (1, 1), rngs=rngs())]
    ),
    "LayerNorm is not linear": lambda: nn.Sequential(
        [nn.Conv(4, 4, (1, 1), rngs=rngs()), nnx.LayerNorm(4, rngs=rngs())]
    ),
    "different nonlinearities": lambda: nn.Parallel(
        [nn.ConvNorm(4, 2, 1, norm=False, activation=a, rngs=rngs()) for a in (nnx.relu, nnx.tanh)]
    ),
    "a nonlinearity stands before the sum": lambda: nn.Parallel(
        [nn.ConvNorm(4, 2, k, norm=False, rngs=rngs()) for k in (1, 3)], join="add"
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_say_why(reason):
    with pytest.raises(Refused, match=reason):
        merge(randomised(REFUSED[reason]()))


def test_a_single_layer_has_nothing_to_merge():
    with pytest.raises(Refused, match="Received: Conv, in which there are none"):
        merge(nn.Conv(4, 2, (3, 3), rngs=rngs()))


def test_a_network_is_merged_where_it_can_be():
    net = randomised(
        nn.Sequential([nn.Inception(4, 2, (2, 3), (2, 3), 2, rngs=rngs()), nn.MaxPool((2, 2))])
    )
    merged = merge(net, SHAPE[1:])
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    np.testing.assert_allclose(merged(x), merged.original(x), rtol=1e-5, atol=1e-5)
    assert len(merged.steps) == 6  # every norm is folded
    assert "relu stands between" in merged.refusals["layers.0"]
    left = [m for _, m in nnx.iter_modules(merged.model) if isinstance(m, nnx.BatchNorm)]
    assert not left
    # The network that was given keeps its norms.
    assert any(isinstance(m, nnx.BatchNorm) for _, m in nnx.iter_modules(net))


@pytest.mark.parametrize(
    "pads, stride, more, merges",
    [
        ((0, 1), 1, (0, 2), True),  # what comes before makes zeros further out as well
        ((1, 0), 1, (2, 0), True),
        ((0, 0), 2, (1, 0), True),  # a stride further out are no pixels
        ((0, 1), 1, (1, 0), False),
        ((1, 0), 1, (0, 1), False),
        ((0, 0), 2, (0, 1), False),
        ((-1, 1), 1, (1, 0), False),
        ((1, -1), 1, (0, 1), False),
    ],
)
def test_zeros_between_convolutions(pads, stride, more, merges):
    make = lambda step, pads: nn.Conv(
        CHANNELS, CHANNELS, (1, 2), (1, step), padding=((0, 0), pads), use_bias=False, rngs=rngs()
    )
    row = nn.Sequential([make(stride, pads), make(1, more)])
    assert is_convolution(row) is merges
    if merges:
        assert check(row) == (1, 2 + stride, CHANNELS, CHANNELS)
    else:
        with pytest.raises(Refused, match="sees pixels of the border"):
            merge(row)


def test_only_faster_leaves_what_would_be_slower():
    net = nn.Sequential(
        [nn.SeparableConv(64, 64, (7, 7), rngs=rngs()), nnx.BatchNorm(64, rngs=rngs())]
    )
    merged = merge(randomised(net), (28, 28, 64), only_faster=True)
    assert [step.merged for step in merged.steps if step.path == "model"] == [False]
    x = np.random.default_rng(0).normal(size=(1, 28, 28, 64)).astype("float32")
    np.testing.assert_allclose(merged(x), merged.original(x), rtol=1e-4, atol=1e-4)


def test_gradients_and_jit_of_a_merged_network():
    merged = merge(randomised(nn.RepVGGBlock(4, 4, rngs=rngs())))
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    ours, theirs = (jax.grad(lambda x, f=f: (f(x) ** 2).sum()) for f in (merged, merged.original))
    np.testing.assert_allclose(jax.jit(ours)(x), theirs(x), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "function, expected",
    [
        (nnx.relu, True),
        (jax.nn.gelu, True),
        (nnx.silu, True),
        (jnp.tanh, True),
        (nnx.relu6, True),
        (lambda x: jnp.where(x > 0, x, 0.1 * x), True),
        (nnx.softmax, False),
        (lambda x: x - x.mean(), False),
        (lambda x: x[..., ::-1], False),
        (lambda x: x * jnp.arange(5.0), False),
        (lambda x: x.sum(), False),
    ],
)
def test_elementwise(function, expected):
    assert is_elementwise(function) is expected


# Structures at random: convolutions, norms, averages and activations, in rows, side by side, added.


def drawn_by_numpy(_, shape, dtype):
    """A kernel for which XLA compiles nothing, as Flax's own initialiser does for each shape."""
    rng = np.random.default_rng(shape)
    return jnp.asarray(rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1])), dtype)


@st.composite
def convolutions(draw, width):
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    return nn.Conv(
        CHANNELS,
        width,
        size,
        draw(st.sampled_from([1, 1, 1, 2, (1, 2)])),
        padding=draw(
            st.sampled_from(["SAME", "SAME", "VALID", 0, 1, ((1, 0), (0, 2)), ((0, -1), (2, 0))])
        ),
        padding_mode=draw(st.sampled_from(["zeros"] * 5 + ["circular", "replicate"])),
        kernel_dilation=draw(st.sampled_from([1, 1, 1, 2, (2, 1)])),
        feature_group_count=groups if width % groups == 0 else 1,
        use_bias=draw(st.booleans()),
        kernel_init=drawn_by_numpy,
        rngs=rngs(),
    )


@st.composite
def layers(draw):
    kind = draw(
        st.sampled_from(["conv", "conv", "conv", "norm", "pad", "pool", "activation", "identity"])
    )
    match kind:
        case "conv":
            return draw(convolutions(CHANNELS))
        case "norm":
            return nnx.BatchNorm(CHANNELS, rngs=rngs())
        case "pad":
            return nn.NormPad(CHANNELS, draw(st.integers(0, 2)), rngs=rngs())
        case "pool":
            window = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
            return nn.AvgPool(
                window,
                draw(st.sampled_from([1, 1, 2])),
                draw(st.sampled_from(["VALID", "SAME"])),
                count_include_pad=draw(st.booleans()),
            )
        case "activation":
            return draw(st.sampled_from([nnx.relu, nnx.tanh]))
    return lambda x: x


def structures():
    rows = lambda inner: st.lists(inner, min_size=1, max_size=3).map(nn.Sequential)
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
        expected = np.asarray(viewed(x))
    except (ValueError, TypeError):
        return Outcome("no network")  # branches of shapes that do not fit
    if expected.size == 0:
        return Outcome("empty")
    try:
        merged = merge(model)
    except Refused as refusal:
        reason = str(refusal).partition("there are none. ")[2].partition("; ")[0]
        return Outcome("refused", _falsehood(reason.removeprefix("model: "), viewed))
    y = np.asarray(merged(x))
    if y.shape != expected.shape:
        return Outcome("merged", f"{y.shape}, not {expected.shape}")
    whole = [step for step in merged.steps if step.path == "model"]
    if whole:
        # The activation rounds once more on either side.
        allowed = whole[0].bound(x) + 4 * np.finfo("float32").eps * np.abs(expected)
        beyond = (np.abs(y - expected) / allowed).max()
        return Outcome("merged whole", f"{beyond} times the bound" if beyond > 1 else "")
    # Roundings of parts go through the rest of the network, which is a few layers here.
    error = np.abs(y - expected).max() / max(1, np.abs(expected).max())
    fault = f"wrong by {error}" if error > 1e-3 else _falsehood(merged.refusals["model"], viewed)
    return Outcome("merged in parts", fault)


def _falsehood(reason, model):
    """What is false about the reason why a network is not one convolution, if anything."""
    reason = re.sub(r"^(branch \d+: )+", "", reason)
    if "needs no merging" in reason:
        convs = [m for _, m in nnx.iter_modules(model) if isinstance(m, nnx.Conv)]
        layers = [m for _, m in nnx.iter_modules(model) if isinstance(m, SINGLE)]
        return f"{reason}; but there are {len(layers)}" if convs and len(layers) > 1 else ""
    if "depend on the input's size" in reason or "depends on" in reason or "not known" in reason:
        return ""  # whether it is one may differ from input to input
    if "averages at the border" in reason:
        pools = [m for _, m in nnx.iter_modules(model) if isinstance(m, nn.AvgPool)]
        return "" if any(not m.count_include_pad for m in pools) else reason
    if "nonlinear" in reason:
        return f"{reason}; but it is linear" if is_affine(never_dead(model)) else ""
    if not is_convolution(model) or any(
        not is_convolution(row) for row in neighbours(model) if refusal(row) == reason
    ):
        return ""
    return f"{reason}; but it is a convolution"


def neighbours(model):
    """Pairs of layers in a row: a third may read only what is the same of those that are none."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            yield from (nn.Sequential(pair) for pair in itertools.pairwise(module.layers))


def refusal(model):
    """Why a row is not one convolution; nothing where it is."""
    try:
        part_of(model)
    except Refused as reason:
        return str(reason)
    return ""


def never_dead(model):
    """The network with a bend everywhere, where ReLU may be 0, or the number itself, throughout."""
    model = nnx.clone(model)
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Sequential):
            bent = [nnx.softplus if layer is nnx.relu else layer for layer in module.layers]
            module.layers = nnx.List(bent)
    return model


def is_affine(model):
    a, b, zero = (np.random.default_rng(i).normal(size=SHAPE) * (i > 0) for i in (1, 2, 0))
    a, b, both, zero = (np.asarray(model(x.astype("float32"))) for x in (a, b, a + b, zero))
    return np.allclose(both - b, a - zero, rtol=0, atol=1e-4 * max(1, np.abs(both).max()))


# Of every remainder by 4, the widest stride that is common: the last window ends elsewhere.
SIZES = ((11, 12), (14, 13), (12, 14), (13, 11))


def is_convolution(model):
    """Whether an affine network does the same everywhere, for inputs of some sizes: it makes the
    same of zeros at every place, and of a pixel what it makes of the one a stride before. Not where
    there are too few places to tell."""
    try:
        return all(_is_convolution(model, rows, columns) for rows, columns in SIZES)
    except (TypeError, ValueError):  # branches that fit together at some sizes alone
        return False


def _is_convolution(model, rows, columns):
    pixels = np.eye(rows * columns * CHANNELS, dtype="float32")
    pixels = pixels.reshape(-1, rows, columns, CHANNELS)
    of_zero = np.asarray(model(np.zeros_like(pixels[:1])))
    if min(of_zero.shape[1:3]) < 3:
        return False
    response = np.asarray(model(pixels)) - of_zero
    close = lambda a, b: np.allclose(a, b, rtol=0, atol=1e-4 * max(1, np.abs(response).max()))
    if not close(of_zero, of_zero[:, :1, :1]):
        return False
    response = response.reshape(rows, columns, CHANNELS, *response.shape[1:])

    def moves(axis):
        placed = np.moveaxis(response, (axis, 3 + axis), (0, 1))
        return any(close(placed[step:, 1:], placed[:-step, :-1]) for step in range(1, 9))

    return moves(0) and moves(1)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(structures(), st.integers(0, 2**16))
def test_structures_are_merged_or_refused(model, seed):
    assert not outcome(model, seed).fault


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(structures(), st.integers(0, 2**16))
def test_ten_thousand_structures(model, seed):
    assert not outcome(model, seed).fault


@pytest.mark.slow
def test_structures_are_of_every_outcome():
    """Drawing tries what it is meant to: a share of structures merges whole, and of each other."""
    seen = []

    @settings(max_examples=300, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(structures(), st.integers(0, 2**16))
    def draw(model, seed):
        seen.append(outcome(model, seed).kind)

    draw()
    assert seen.count("merged whole") >= 5
    assert {"refused", "merged in parts"} <= set(seen)


def test_public_names():
    assert jconv.structure.merge is merge
