"""Merged networks against what they were merged from, on structures drawn at random."""

import io
import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.blocks import BLOCKS, REFUSED, normed
from helpers.structures import (
    CHANNELS,
    SHAPE,
    Residual,
    is_convolution,
    outcome,
    randomised,
    rngs,
    structures,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from rich.console import Console

import jconv
from jconv import nn
from jconv.structure import NotMergeable, merge


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


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_say_why(reason):
    with pytest.raises(NotMergeable, match=reason):
        merge(randomised(REFUSED[reason]()))


def test_a_single_layer_has_nothing_to_merge():
    with pytest.raises(NotMergeable, match="Received: Conv, in which there are none"):
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
        with pytest.raises(NotMergeable, match="sees pixels of the border"):
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
