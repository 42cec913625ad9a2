"""Merged networks against the original ones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.blocks import BLOCKS
from helpers.merge_checks import is_convolution
from helpers.structures import CHANNELS, SHAPE, Residual, create, rngs

import jconv
from jconv import nn
from jconv.structure import NotMergeable, merge

INPUT_SHAPES = {
    "one axis": (2, 9, 4),
    "Flax's CAUSAL padding, which ignores the padding mode": (2, 9, 4),
    "three axes": (2, 5, 6, 4, 4),
    "Inception depthwise without unchanged channels": (2, 9, 8, 6),
}


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def outputs(merged, x):
    """Return the outputs of a merged network and of the original one, computed by one program."""
    run = nnx.jit(lambda model, original, x: (model(x), original(x)))
    return map(np.asarray, run(merged.model, merged.original, x))


def check_one_convolution(make, shape=SHAPE):
    """Merge a network that equals one convolution, and return the shape of the merged kernel."""
    x = normal(shape)
    merged = merge(create(make))
    (block,) = merged.blocks
    assert block.path == "model" and block.merged
    y, expected = outputs(merged, x)
    assert y.shape == expected.shape and y.dtype == expected.dtype
    # The activations of the cases enlarge a difference by less than a quarter.
    assert np.all(np.abs(y - expected) <= 1.25 * block.error_bound(x))
    return block.kernel_shape


@pytest.mark.parametrize("name", BLOCKS)
def test_block_becomes_one_convolution(name):
    make, kernel_shape = BLOCKS[name]
    assert check_one_convolution(make, INPUT_SHAPES.get(name, SHAPE)) == kernel_shape


def test_layers_inside_a_module_with_a_custom_call_are_merged_separately():
    class Net(nnx.Module):
        def __init__(self):
            self.stem = nn.ConvNorm(4, 4, 3, rngs=rngs())
            self.block = nn.InvertedResidual(4, 4, rngs=rngs())
            self.residual = Residual([nn.ConvNorm(4, 4, 3, rngs=rngs())])

        def __call__(self, x):
            return self.residual(self.block(self.stem(x)) + x)

    merged = merge(create(Net))
    y, expected = outputs(merged, normal(SHAPE))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert len(merged.blocks) == 5
    assert {"model", "block", "residual"} == set(merged.reasons)
    assert all("custom `__call__`" in reason for reason in merged.reasons.values())


def test_blocks_after_a_merged_run_keep_their_paths_and_input_shapes():
    """Merging a run of layers changes the positions of the layers after it in the sequence."""

    def make():
        layers = []
        for a, b in itertools.pairwise((3, 8, 16, 32)):
            layers += [nn.Conv(a, b, (3, 3), rngs=rngs()), nnx.BatchNorm(b, rngs=rngs())]
            layers += [nnx.relu, nn.MaxPool((2, 2))]
        return nn.Sequential(layers)

    merged = merge(create(make), (32, 32, 3))
    y, expected = outputs(merged, normal((1, 32, 32, 3)))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert [(block.path, block.input_shape) for block in merged.blocks] == [
        ("layers.0", (1, 32, 32, 3)),
        ("layers.4", (1, 16, 16, 8)),
        ("layers.8", (1, 8, 8, 16)),
    ]
    assert [block.multiply_adds[1] for block in merged.blocks] == [
        9 * a * b * n * n for a, b, n in ((3, 8, 32), (8, 16, 16), (16, 32, 8))
    ]


def test_batch_norms_of_an_inception_block_are_folded():
    net = create(
        lambda: nn.Sequential(
            [nn.Inception(4, 2, (2, 3), (2, 3), 2, rngs=rngs()), nn.MaxPool((2, 2))]
        )
    )
    merged = merge(net, SHAPE[1:])
    y, expected = outputs(merged, normal(SHAPE))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert len(merged.blocks) == 6
    assert "relu precedes it" in merged.reasons["layers.0"]
    norms = lambda model: [m for _, m in nnx.iter_modules(model) if isinstance(m, nnx.BatchNorm)]
    assert not norms(merged.model)
    assert norms(net)  # The argument of `merge` is not changed.


@pytest.mark.parametrize(
    "pads, stride, outer_pads, merges",
    [
        ((0, 1), 1, (0, 2), True),  # The first convolution is zero beyond its border.
        ((1, 0), 1, (2, 0), True),
        ((0, 0), 2, (1, 0), True),  # A window one stride further out does not overlap the input.
        ((0, 1), 1, (1, 0), False),
        ((1, 0), 1, (0, 1), False),
        ((0, 0), 2, (0, 1), False),
        ((-1, 1), 1, (1, 0), False),
        ((1, -1), 1, (0, 1), False),
    ],
)
def test_zero_padding_between_convolutions(pads, stride, outer_pads, merges):
    conv = lambda stride, pads: nn.Conv(
        CHANNELS, CHANNELS, (1, 2), (1, stride), padding=((0, 0), pads), use_bias=False, rngs=rngs()
    )
    make = lambda: nn.Sequential([conv(stride, pads), conv(1, outer_pads)])
    assert is_convolution(create(make)) is merges
    if merges:
        assert check_one_convolution(make) == (1, 2 + stride, CHANNELS, CHANNELS)
    else:
        with pytest.raises(NotMergeable, match="window of the preceding layer still overlaps"):
            merge(create(make))


def test_only_faster_keeps_blocks_that_would_be_slower():
    net = create(
        lambda: nn.Sequential(
            [nn.SeparableConv(64, 64, (7, 7), rngs=rngs()), nnx.BatchNorm(64, rngs=rngs())]
        )
    )
    merged = merge(net, (28, 28, 64), only_faster=True)
    assert [block.merged for block in merged.blocks if block.path == "model"] == [False]
    y, expected = outputs(merged, normal((1, 28, 28, 64)))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_gradient_of_a_merged_network_under_jit():
    merged = merge(create(lambda: nn.RepVGGBlock(4, 4, rngs=rngs())))
    x = normal(SHAPE)
    gradient, expected = (
        jax.jit(jax.grad(lambda x, f=f: (f(x) ** 2).sum()))(x) for f in (merged, merged.original)
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-3)


def test_merged_network_runs_without_jit():
    merged = merge(create(lambda: nn.RepVGGBlock(4, 4, rngs=rngs())))
    x = normal(SHAPE)
    np.testing.assert_allclose(merged(x), merged.original(x), rtol=1e-4, atol=1e-4)


def test_merge_is_public():
    assert jconv.structure.merge is merge
