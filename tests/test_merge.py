"""Merged networks against what they were merged from, on structures drawn at random."""

import io
import itertools
import re
from collections import Counter
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from rich.console import Console

import jconv
from jconv import nn
from jconv.nn.conv import FLAX_BORDERS
from jconv.structure import Refused, merge
from jconv.structure.elementwise import is_elementwise
from jconv.structure.rules import part_of
from jconv.structure.step import SINGLE

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


def check(model, shape=SHAPE, seed=0):
    """Merges a part that is one convolution, and compares; returns the kernel's shape."""
    x = np.random.default_rng(seed).normal(size=shape).astype("float32")
    merged = merge(randomised(model, seed))
    (step,) = merged.steps
    assert step.path == "model" and step.merged
    y, expected = np.asarray(merged(x)), np.asarray(merged.original(x))
    assert y.shape == expected.shape and y.dtype == expected.dtype
    # ReLU keeps distances at most; the others that are drawn stretch them by less than a quarter.
    assert np.all(np.abs(y - expected) <= 1.25 * step.bound(x))
    return step.kernel


def rngs():
    return nnx.Rngs(0)


def same(x):
    return x


def ones(kind, *args, **options):
    """A convolution whose kernel is nothing but ones, without a bias."""
    options |= dict(kernel_init=nnx.initializers.ones, use_bias=False, rngs=rngs())
    return kind(*args, **options)


class Residual(nn.Sequential):
    """A row with a call of its own."""

    def __call__(self, x):
        return x + super().__call__(x)


class Halved(nn.Conv):
    """A convolution with a call of its own."""

    def __call__(self, inputs, out_sharding=None):
        return super().__call__(inputs, out_sharding) / 2


class ConvThenNorm(nnx.Module):
    """Two layers with a call of their own."""

    def __init__(self):
        self.conv = nn.Conv(4, 4, (3, 3), rngs=rngs())
        self.bn = nnx.BatchNorm(4, rngs=rngs())

    def __call__(self, x):
        return self.bn(self.conv(x))


def normed(*layers, channels=4, **options):
    """Layers and a norm after them."""
    return nn.Sequential([*layers, nnx.BatchNorm(channels, rngs=rngs(), **options)])


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
    "identities side by side": (
        lambda: nn.Sequential(
            [nn.ConvNorm(4, 3, 1, activation=None, rngs=rngs()), nn.Parallel([same, same])]
        ),
        (1, 1, 4, 6),
    ),
    "an identity and an average, then 1x1": (
        lambda: nn.Sequential(
            [
                nn.Parallel([same, nn.AvgPool((3, 3), 1, "SAME", count_include_pad=True)]),
                nn.Conv(8, 3, (1, 1), rngs=rngs()),
            ]
        ),
        (3, 3, 4, 3),
    ),
    "a last convolution of ones": (
        lambda: nn.Sequential(
            [nn.Conv(4, 1, (3, 3), rngs=rngs()), ones(nn.Conv, 1, 5, (1, 1))],
        ),
        (3, 3, 4, 5),
    ),
    "a last depthwise convolution of ones": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (3, 3), rngs=rngs()),
                ones(nn.DepthwiseConv, 3, (1, 1), multiplier=2),
            ]
        ),
        (3, 3, 4, 6),
    ),
    "Flax's circular border, strided": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (3, 3), 2, padding="CIRCULAR", kernel_dilation=(2, 1), rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 3),
    ),
    "Flax's reflected border, strided": (
        lambda: nn.Sequential(
            [
                nnx.Conv(4, 3, (4, 3), (2, 3), padding="REFLECT", rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (4, 3, 4, 3),
    ),
    "Flax's causal border, whatever the mode": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, 3, padding="CAUSAL", padding_mode="reflect", rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (3, 4, 3),
    ),
    "circular branches": (
        lambda: nn.Parallel(
            [nn.Conv(4, 3, (k, k), padding_mode="circular", rngs=rngs()) for k in (1, 3, 5)]
        ),
        (5, 5, 4, 9),
    ),
    "circular twice": (
        lambda: nn.Sequential(
            [nn.Conv(4, 4, (3, 2), padding_mode="circular", rngs=rngs()) for _ in range(2)]
        ),
        (5, 3, 4, 4),
    ),
    "reflected, then cropped and strided": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), padding=2, padding_mode="reflect", rngs=rngs()),
                nn.Conv(4, 3, (2, 1), 2, padding=((-1, 0), (0, -1)), rngs=rngs()),
            ]
        ),
        (4, 3, 4, 3),
    ),
    "SAME, strided, odd sizes": (
        lambda: nn.Parallel([nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (3, 5)], join="add"),
        (5, 5, 4, 3),
    ),
    "SAME, strided, even sizes": (
        lambda: nn.Parallel([nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (1, 2, 4)]),
        (4, 4, 4, 9),
    ),
    "all channels convolved": (
        lambda: nn.InceptionDepthwise(6, 3, 5, ratio=1 / 3, rngs=rngs()),
        (5, 5, 1, 6),
    ),
    "half precision": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs()),
                nnx.BatchNorm(4, dtype=jnp.bfloat16, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
    "parameters of half precision": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), param_dtype=jnp.bfloat16, rngs=rngs()),
                nnx.BatchNorm(4, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
    "an algorithm by its value": (
        lambda: nn.ConvNorm(4, 4, 3, algorithm=jconv.Winograd(tile=4), rngs=rngs()),
        (3, 3, 4, 4),
    ),
    "an algorithm that cannot do the merged kernel": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (5, 1), padding=((p, p), (0, 0)), algorithm="winograd", rngs=rngs())
                for p in (4, 0)
            ]
        ),
        (9, 1, 4, 4),
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
    shapes = {
        "one axis": (2, 9, 4),
        "Flax's causal border, whatever the mode": (2, 9, 4),
        "three axes": (2, 5, 6, 4, 4),
        "all channels convolved": (2, 9, 8, 6),
    }
    shape = shapes.get(name, SHAPE)
    assert check(make(), shape) == kernel


def halved(x, kernel, *args, **options):
    return jax.lax.conv_general_dilated(x, kernel, *args, **options) / 2


class Stack(nnx.Module):
    """Another way to join."""

    def __call__(self, xs):
        return jnp.concatenate(xs, axis=1)


def joined_otherwise():
    block = nn.Parallel([nn.Conv(4, 4, (3, 3), rngs=rngs()) for _ in range(2)])
    block.join = Stack()
    return block


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
        [nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (1, 3)]
    ),
    "the border of what comes before depends on the input's size": lambda: nn.Sequential(
        [nn.Conv(4, 3, (3, 3), 2, rngs=rngs()), nn.Conv(3, 2, (2, 2), padding=0, rngs=rngs())]
    ),
    "depends on the size of what comes before": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (2, 2), padding=0, use_bias=False, rngs=rngs()),
            nn.Conv(3, 2, (3, 3), 2, rngs=rngs()),
        ]
    ),
    "layer 1 .Conv.: its border, 'circular', continues what comes before": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (3, 3), rngs=rngs()),
            nn.Conv(3, 2, (3, 3), padding_mode="circular", rngs=rngs()),
        ]
    ),
    "zeros are padded where the border of what comes before is 'circular'": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (3, 3), padding_mode="circular", use_bias=False, rngs=rngs()),
            nn.Conv(3, 2, (3, 3), rngs=rngs()),
        ]
    ),
    "branches differ in what they pad": lambda: nn.Parallel(
        [nn.Conv(4, 3, (3, 3), padding_mode=m, rngs=rngs()) for m in ("circular", "zeros")]
    ),
    "Residual has a `__call__` of its own": lambda: Residual(
        [nn.Conv(4, 4, (3, 3), rngs=rngs()), nnx.BatchNorm(4, rngs=rngs())]
    ),
    "Halved has a `__call__` of its own": lambda: normed(Halved(4, 4, (3, 3), rngs=rngs())),
    "ConvThenNorm has a `__call__` of its own": ConvThenNorm,
    "its `conv_general_dilated` is halved": lambda: normed(
        nnx.Conv(4, 4, (3, 3), conv_general_dilated=halved, rngs=rngs())
    ),
    "its `promote_dtype` is its own": lambda: normed(
        nnx.Conv(4, 4, (3, 3), promote_dtype=lambda xs, dtype: xs, rngs=rngs())
    ),
    "it computes in float32, what comes before it in bfloat16": lambda: normed(
        nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs())
    ),
    "different dtypes: that of their input; bfloat16": lambda: nn.Parallel(
        [same, nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs())], join="add"
    ),
    "its `preferred_element_type` is float32": lambda: normed(
        nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, preferred_element_type=jnp.float32, rngs=rngs())
    ),
    "different precisions": lambda: nn.Parallel(
        [nn.Conv(4, 4, (3, 3), precision=p, rngs=rngs()) for p in ("highest", None)]
    ),
    "it has no convolution": lambda: normed(nn.AvgPool((2, 2))),
    "joined by Stack": lambda: joined_otherwise(),
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


def test_what_has_its_own_call_is_merged_inside():
    class Net(nnx.Module):
        def __init__(self):
            self.stem = nn.ConvNorm(4, 4, 3, rngs=rngs())
            self.block = nn.InvertedResidual(4, 4, rngs=rngs())
            self.residual = Residual([nn.ConvNorm(4, 4, 3, rngs=rngs())])

        def __call__(self, x):
            return self.residual(self.block(self.stem(x)) + x)

    merged = merge(randomised(Net()))
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    np.testing.assert_allclose(merged(x), merged.original(x), rtol=1e-4, atol=1e-4)
    assert len(merged.steps) == 5
    assert {"model", "block", "residual"} == set(merged.refusals)
    assert all("`__call__` of its own" in reason for reason in merged.refusals.values())


def test_rows_keep_the_sizes_they_see():
    """Rows that became one leave the places of those after them, and so what goes into these."""
    layers = []
    for a, b in itertools.pairwise((3, 8, 16, 32)):
        layers += [nn.Conv(a, b, (3, 3), rngs=rngs()), nnx.BatchNorm(b, rngs=rngs())]
        layers += [nnx.relu, nn.MaxPool((2, 2))]
    merged = merge(randomised(nn.Sequential(layers)), (32, 32, 3))
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(merged(x), merged.original(x), rtol=1e-4, atol=1e-4)
    assert [(step.path, step.shape) for step in merged.steps] == [
        ("layers.0", (1, 32, 32, 3)),
        ("layers.4", (1, 16, 16, 8)),
        ("layers.8", (1, 8, 8, 16)),
    ]
    assert [step.products[1] for step in merged.steps] == [
        9 * a * b * n * n for a, b, n in ((3, 8, 32), (8, 16, 16), (16, 32, 8))
    ]


def test_the_price_of_the_texts_block():
    """One kernel over the largest window has 2.14 times the multiply-adds, 25 * 3 for 1 + 9 + 25,
    and the gradients are predicted as well."""
    block = nn.ParallelConv(8, {1: 64, 3: 64, 5: 64}, rngs=rngs())
    merged = merge(block, (28, 28, 8))
    (step,) = merged.steps
    assert step.ratio == pytest.approx(75 / 35)
    assert step.products == (28 * 28 * 8 * 64 * 35, 28 * 28 * 8 * 64 * 75)
    if jax.default_backend() == "cpu":  # of which enough is known to predict times
        both = step.seconds_with_gradients
        assert all(part < all_ for part, all_ in zip(step.seconds, both, strict=True))
    printed = io.StringIO()
    Console(file=printed, width=120).print(merged)
    assert "2.14 times" in printed.getvalue() and "with gradients" in printed.getvalue()
    unknown = merge(block).steps[0]
    assert unknown.ratio == pytest.approx(75 / 35)
    assert unknown.seconds is unknown.seconds_with_gradients is None


def test_the_bound_sees_what_cancels():
    """A bias hides a mean that is as large, whose rounding is not hidden."""
    net = normed(nn.Conv(4, 4, (1, 1), rngs=rngs()))
    norm = net.layers[1]
    for variable, value in ((norm.mean, 1e5), (norm.bias, 1e5), (norm.var, 1.0)):
        variable.set_value(jnp.full(4, value))
    x = np.random.default_rng(0).normal(size=SHAPE).astype("float32")
    merged = merge(net)
    error = np.abs(merged(x) - merged.original(x)).max((0, 1, 2))
    assert error.max() > 1e-3
    assert np.all(error <= merged.steps[0].bound(x))


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


NORM_PARTS = ("use_scale", "use_bias")
DTYPES = [None] * 12 + [jnp.float32, jnp.bfloat16]


@st.composite
def convolutions(draw, width, channels=CHANNELS):
    size = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    pads = ["SAME", "SAME", "VALID", 0, 1, ((1, 0), (0, 2)), ((0, -1), (2, 0))]
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
    except Refused as refusal:
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


def is_convolution(model, *, alike=False):
    """Whether an affine network does the same everywhere, for inputs of some sizes: it makes the
    same of zeros at every place, and of a pixel what it makes of the one a stride before; if
    `alike`, it also places its window alike at all sizes. Not where there are too few places to
    tell."""
    rows, columns = (min(sizes) for sizes in zip(*SIZES, strict=True))
    corners = []
    for size in SIZES:
        try:
            response, of_zero = responses(model, *size)
        except (TypeError, ValueError):  # branches that fit together at some sizes alone
            return False
        if not does_the_same_everywhere(response, of_zero):
            return False
        corners.append(response[:rows, :columns, :, 0, 0])
        if alike and not np.allclose(corners[0], corners[-1], rtol=0, atol=1e-4):
            return False
    return True


def responses(model, rows, columns):
    """What a network makes of each pixel alone, `(rows, columns, c, *output, co)`; of zeros."""
    pixels = np.eye(rows * columns * CHANNELS, dtype="float32")
    pixels = pixels.reshape(-1, rows, columns, CHANNELS)
    of_zero = np.asarray(model(np.zeros_like(pixels[:1])))
    response = np.asarray(model(pixels)) - of_zero
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


def outcomes(count, drawn_by=lambda test: test):
    """What becomes of so many structures that are networks of several layers."""
    seen = Counter()

    @drawn_by
    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(structures(), st.integers(0, 2**16))
    def draw(model, number):
        found = outcome(model, number)
        assert not found.fault
        assume(found.kind in ("refused", "merged in parts", "merged whole"))
        seen[found.kind] += 1
        if seen.total() % 500 == 0:
            jax.clear_caches()  # what was compiled for one structure is of use to few others
            print(dict(seen), flush=True)

    draw()
    return seen


def test_structures_are_merged_or_refused():
    assert outcomes(25).total() >= 25


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_ten_thousand_structures(part):
    """In four parts; of each outcome there are enough: drawing tries what it is meant to."""
    seen = outcomes(2_500, drawn_by=seeded(part))
    assert seen.total() >= 2_500
    assert seen["merged whole"] >= 125
    assert seen["merged in parts"] >= 125
    assert seen["refused"] >= 750


def test_public_names():
    assert jconv.structure.merge is merge
