"""Networks that do not equal one convolution, and the reason that `merge` gives for each."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from helpers.blocks import normed
from helpers.structures import Halved, Residual, create, rngs, same

from jconv import nn
from jconv.structure import NotMergeable, merge


class ConvThenNorm(nnx.Module):
    """Two layers combined by a custom `__call__`."""

    def __init__(self):
        self.conv = nn.Conv(4, 4, (3, 3), rngs=rngs())
        self.bn = nnx.BatchNorm(4, rngs=rngs())

    def __call__(self, x):
        return self.bn(self.conv(x))


def halved(x, kernel, *args, **options):
    return jax.lax.conv_general_dilated(x, kernel, *args, **options) / 2


class Stack(nnx.Module):
    """A join that the rules do not know."""

    def __call__(self, xs):
        return jnp.concatenate(xs, axis=1)


def parallel_with_unknown_join():
    block = nn.Parallel([nn.Conv(4, 4, (3, 3), rngs=rngs()) for _ in range(2)])
    block.join = Stack()
    return block


CASES = {
    "the activation relu precedes it": lambda: nn.ParallelConv(
        4, [nn.Branch(width=2), nn.Branch(width=3, reduce=2)], rngs=rngs()
    ),
    "it pads zeros, and the preceding layer has a bias": lambda: nn.Sequential(
        [nn.Conv(4, 3, (1, 1), rngs=rngs()), nn.Conv(3, 2, (3, 3), rngs=rngs())]
    ),
    "window of the preceding layer still overlaps the input": lambda: nn.Sequential(
        [nn.Conv(4, 3, (3, 3), use_bias=False, rngs=rngs()), nn.Conv(3, 2, (3, 3), rngs=rngs())]
    ),
    "the branches have outputs of different sizes": lambda: nn.Parallel(
        [nn.Conv(4, 3, (k, k), padding="VALID", rngs=rngs()) for k in (1, 3)], join="add"
    ),
    "the branches have different strides": lambda: nn.Parallel(
        [nn.Conv(4, 3, (1, 1), s, rngs=rngs()) for s in (1, 2)]
    ),
    "the padding of the branches depends on the input size in different ways": lambda: nn.Parallel(
        [nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (1, 3)]
    ),
    "the padding of the preceding layer depends on the input size": lambda: nn.Sequential(
        [nn.Conv(4, 3, (3, 3), 2, rngs=rngs()), nn.Conv(3, 2, (2, 2), padding=0, rngs=rngs())]
    ),
    "its padding depends on the output size of the preceding layer": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (2, 2), padding=0, use_bias=False, rngs=rngs()),
            nn.Conv(3, 2, (3, 3), 2, rngs=rngs()),
        ]
    ),
    "layer 1 .Conv.: its padding mode 'circular' extends the output": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (3, 3), rngs=rngs()),
            nn.Conv(3, 2, (3, 3), padding_mode="circular", rngs=rngs()),
        ]
    ),
    "its padding mode 'circular' differs from 'zeros' of the preceding layer": lambda: (
        nn.Sequential(
            [
                nn.Conv(4, 3, (1, 3), rngs=rngs()),
                nn.Conv(3, 2, (3, 1), padding_mode="circular", rngs=rngs()),
            ]
        )
    ),
    "its padding mode 'circular' extends .*, which differs from extending the input": lambda: (
        nn.Sequential(
            [  # The circular padding repeats zeros, but the output beyond it depends on pixels.
                nn.Conv(4, 3, (2, 1), padding=((3, 0), (0, 0)), use_bias=False, rngs=rngs()),
                nn.Conv(
                    3, 2, (2, 1), padding=((0, 1), (0, 0)), padding_mode="circular", rngs=rngs()
                ),
            ]
        )
    ),
    "it pads zeros, and the padding mode of the preceding layer is 'circular'": lambda: (
        nn.Sequential(
            [
                nn.Conv(4, 3, (3, 3), padding_mode="circular", use_bias=False, rngs=rngs()),
                nn.Conv(3, 2, (3, 3), rngs=rngs()),
            ]
        )
    ),
    "the branches have different padding modes": lambda: nn.Parallel(
        [nn.Conv(4, 3, (3, 3), padding_mode=m, rngs=rngs()) for m in ("circular", "zeros")]
    ),
    "Residual has a custom `__call__`": lambda: Residual(
        [nn.Conv(4, 4, (3, 3), rngs=rngs()), nnx.BatchNorm(4, rngs=rngs())]
    ),
    "Halved has a custom `__call__`": lambda: normed(Halved(4, 4, (3, 3), rngs=rngs())),
    "ConvThenNorm has a custom `__call__`": ConvThenNorm,
    "its `conv_general_dilated` is halved": lambda: normed(
        nnx.Conv(4, 4, (3, 3), conv_general_dilated=halved, rngs=rngs())
    ),
    "it has a custom `promote_dtype`": lambda: normed(
        nnx.Conv(4, 4, (3, 3), promote_dtype=lambda xs, dtype: xs, rngs=rngs())
    ),
    "it computes in float32 and the preceding layer in bfloat16": lambda: normed(
        nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs())
    ),
    "different dtypes: the dtype of the input; bfloat16": lambda: nn.Parallel(
        [same, nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs())], join="add"
    ),
    "its `preferred_element_type` is float32": lambda: normed(
        nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, preferred_element_type=jnp.float32, rngs=rngs())
    ),
    "its convolutions have different precisions": lambda: nn.Parallel(
        [nn.Conv(4, 4, (3, 3), precision=p, rngs=rngs()) for p in ("highest", None)]
    ),
    "its channels come first": lambda: normed(nn.Conv(4, 4, (3, 3), layout="NCHW", rngs=rngs())),
    "it has no convolution": lambda: normed(nn.AvgPool((2, 2))),
    "joined by Stack": lambda: parallel_with_unknown_join(),
    "averages at the border": lambda: nn.Sequential(
        [
            nn.AvgPool((3, 3), 1, "SAME", count_include_pad=False),
            nn.Conv(4, 2, (1, 1), rngs=rngs()),
        ]
    ),
    "the function softmax is applied to each branch separately": lambda: nn.ParallelConv(
        4, {1: 2, 3: 2}, activation=nnx.softmax, rngs=rngs()
    ),
    "MaxPool is not known to be affine": lambda: nn.Sequential(
        [nn.MaxPool((2, 2)), nn.Conv(4, 2, (1, 1), rngs=rngs())]
    ),
    "LayerNorm is not known to be affine": lambda: nn.Sequential(
        [nn.Conv(4, 4, (1, 1), rngs=rngs()), nnx.LayerNorm(4, rngs=rngs())]
    ),
    "the branches end in different activations": lambda: nn.Parallel(
        [nn.ConvNorm(4, 2, 1, norm=False, activation=a, rngs=rngs()) for a in (nnx.relu, nnx.tanh)]
    ),
    "a branch of the sum ends in an activation": lambda: nn.Parallel(
        [nn.ConvNorm(4, 2, k, norm=False, rngs=rngs()) for k in (1, 3)], join="add"
    ),
}


@pytest.mark.parametrize("reason", CASES)
def test_error_gives_the_reason(reason):
    with pytest.raises(NotMergeable, match=reason) as error:
        merge(create(CASES[reason]))
    assert error.value.reasons["model"] in str(error.value)


def test_single_layer_needs_no_merging():
    with pytest.raises(NotMergeable, match="Received: Conv, which has none. A single") as error:
        merge(create(lambda: nn.Conv(4, 2, (3, 3), rngs=rngs())))
    assert error.value.reasons == {}
