"""Blocks and rows that `merge` makes one convolution of, and those that it refuses."""

import jax
import jax.numpy as jnp
from flax import nnx

import jconv
from helpers.structures import Halved, Residual, rngs, same
from jconv import nn


def ones(kind, *args, **options):
    """A convolution whose kernel is nothing but ones, without a bias."""
    options |= dict(kernel_init=nnx.initializers.ones, use_bias=False, rngs=rngs())
    return kind(*args, **options)


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
    "what takes any channels, in a row": (
        lambda: nn.Sequential(
            [same, nn.AvgPool((2, 1), (1, 1), "VALID"), nn.Conv(4, 2, (1, 1), rngs=rngs())]
        ),
        (2, 1, 4, 2),
    ),
    **{
        f"a border, {mode!r}, of padded zeros": (
            lambda mode=mode, least=least: nn.Sequential(
                [
                    nn.NormPad(4, least, rngs=rngs()),
                    nn.Conv(4, 3, (2, 2), 2, padding=1, padding_mode=mode, rngs=rngs()),
                ]
            ),
            (2, 2, 4, 3),
        )
        for mode, least in (("replicate", 1), ("circular", 1), ("reflect", 2))
    },
    **{
        f"a border, {mode!r}, of an axis that was left alone": (
            lambda mode=mode: nn.Sequential(
                [
                    nn.AvgPool((1, 2), (1, 1), "VALID"),
                    nn.Conv(4, 3, (3, 1), padding=((2, 1), (0, 0)), padding_mode=mode, rngs=rngs()),
                ]
            ),
            (3, 2, 4, 3),
        )
        for mode in ("replicate", "circular", "reflect")
    },
    "one border of each axis": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, size, padding_mode="reflect", use_bias=False, rngs=rngs())
                for size in ((3, 1), (1, 3))
            ]
        ),
        (3, 3, 4, 4),
    ),
    "a kernel of ones after what takes any channels": (
        lambda: nn.Sequential(
            [
                nn.AvgPool((2, 1), (1, 1), "VALID"),
                ones(nn.DepthwiseConv, 4, (1, 1)),
            ]
        ),
        (2, 1, 1, 4),
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
    "layer 1 .Conv.: its border, 'circular', is not that of before, 'zeros'": lambda: nn.Sequential(
        [
            nn.Conv(4, 3, (1, 3), rngs=rngs()),
            nn.Conv(3, 2, (3, 1), padding_mode="circular", rngs=rngs()),
        ]
    ),
    "its border, 'circular', continues what comes before, not the input": lambda: nn.Sequential(
        [  # the other side repeats zeros, but a row further out there would be pixels
            nn.Conv(4, 3, (2, 1), padding=((3, 0), (0, 0)), use_bias=False, rngs=rngs()),
            nn.Conv(3, 2, (2, 1), padding=((0, 1), (0, 0)), padding_mode="circular", rngs=rngs()),
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
