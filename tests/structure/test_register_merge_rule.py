"""Merge rules of layer classes outside of jconv."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.structures import SHAPE, create, rngs

from jconv import nn
from jconv.structure import NotMergeable, merge, register_merge_rule
from jconv.structure.layer_rules import RULES


class ScaledConv(nnx.Module):
    """A convolution followed by a batch norm, combined by a custom `__call__`."""

    def __init__(self):
        self.conv = nn.Conv(4, 6, (3, 3), rngs=rngs())
        self.norm = nnx.BatchNorm(6, rngs=rngs())

    def __call__(self, x):
        return self.norm(self.conv(x))


class DoubledConv(ScaledConv):
    """A subclass with another `__call__`."""

    def __call__(self, x):
        return 2 * super().__call__(x)


@pytest.fixture
def rule():
    register_merge_rule(ScaledConv, lambda layer: nn.Sequential([layer.conv, layer.norm]))
    yield
    del RULES[ScaledConv]


def test_class_without_a_rule_is_not_mergeable():
    with pytest.raises(NotMergeable, match="ScaledConv has a custom `__call__`"):
        merge(create(ScaledConv))


def test_registered_class_becomes_one_convolution(rule):
    x = jnp.asarray(np.random.default_rng(0).normal(size=SHAPE), "float32")
    branches = lambda: nn.Parallel([ScaledConv(), nn.Conv(4, 6, (1, 1), rngs=rngs())], join="add")
    merged = merge(create(branches))
    assert [block.kernel_shape for block in merged.blocks] == [(3, 3, 4, 6)]
    difference = np.abs(merged(x) - merged.original(x))
    assert np.all(difference <= merged.blocks[0].error_bound(x))


def test_subclass_with_another_call_is_not_mergeable(rule):
    with pytest.raises(NotMergeable, match="DoubledConv has a custom `__call__`"):
        merge(create(DoubledConv))


@pytest.mark.parametrize(
    "layer_class, message",
    [
        (nnx.Conv, "must not be a class that jconv merges already. Received: Conv"),
        (int, "must be a subclass of `nnx.Module`"),
    ],
)
def test_class_that_cannot_be_registered(layer_class, message):
    with pytest.raises(ValueError, match=message):
        register_merge_rule(layer_class, lambda layer: layer)
