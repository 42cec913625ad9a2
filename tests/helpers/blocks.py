"""Networks that equal one convolution, with the shape of its kernel."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jconv
from helpers.structures import rngs, same
from jconv import nn


def ones(kind, *args, **options):
    """Return a convolution without a bias whose kernel `create` fills with ones."""
    conv = kind(*args, **options, use_bias=False, rngs=rngs())
    conv.has_kernel_of_ones = True
    return conv


def normed(*layers, channels=4, **options):
    """Return layers followed by a batch norm."""
    return nn.Sequential([*layers, nnx.BatchNorm(channels, rngs=rngs(), **options)])


BLOCKS = {
    "RepVGG": (lambda: nn.RepVGGBlock(4, 4, rngs=rngs()), (3, 3, 4, 4)),
    "RepVGG strided": (
        lambda: nn.RepVGGBlock(4, 6, 2, feature_group_count=2, rngs=rngs()),
        (3, 3, 2, 6),
    ),
    "diverse branches": (lambda: nn.DiverseBranchBlock(4, 4, rngs=rngs()), (3, 3, 4, 4)),
    "diverse branches 5": (
        lambda: nn.DiverseBranchBlock(4, 6, 5, 2, feature_group_count=2, rngs=rngs()),
        (5, 5, 2, 6),
    ),
    "parallel 1x1, 3x3 and 5x5": (
        lambda: nn.ParallelConv(4, {1: 2, 3: 3, 5: 4}, rngs=rngs()),
        (5, 5, 4, 9),
    ),
    "even kernels": (lambda: nn.ParallelConv(4, {1: 2, 2: 3, 4: 4}, rngs=rngs()), (4, 4, 4, 9)),
    "dilated": (
        lambda: nn.ParallelConv(
            4,
            [
                nn.Branch(width=2, kernel_size=1),
                nn.Branch(width=3, kernel_size=3, kernel_dilation=2),
            ],
            rngs=rngs(),
        ),
        (3, 3, 4, 5),  # The taps are at every second pixel, so the merged kernel is dilated too.
    ),
    "separable": (lambda: nn.SeparableConv(4, 5, (3, 3), rngs=rngs()), (3, 3, 4, 5)),
    "mixed depthwise": (lambda: nn.MixConv(4, (3, 5), rngs=rngs()), (5, 5, 1, 4)),
    "Inception depthwise": (
        lambda: nn.InceptionDepthwise(4, 3, 5, ratio=0.25, rngs=rngs()),
        (5, 5, 1, 4),
    ),
    "batch norm, SAME and strided": (lambda: nn.ConvNorm(4, 3, 3, 2, rngs=rngs()), (3, 3, 4, 3)),
    "1xn and nx1, added": (
        lambda: nn.Parallel(
            [nn.Conv(4, 3, size, rngs=rngs()) for size in ((1, 5), (5, 1), (3, 3))], join="add"
        ),
        (5, 5, 4, 3),
    ),
    "an identity and an average pool, added": (
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
    "strided, then unpadded": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (2, 3), (2, 1), padding=1, rngs=rngs()),
                nn.Conv(3, 2, (2, 2), padding="VALID", rngs=rngs()),
                jax.nn.gelu,
            ]
        ),
        (4, 4, 4, 2),
    ),
    "identities, concatenated": (
        lambda: nn.Sequential(
            [nn.ConvNorm(4, 3, 1, activation=None, rngs=rngs()), nn.Parallel([same, same])]
        ),
        (1, 1, 4, 6),
    ),
    "an identity and an average pool, then 1x1": (
        lambda: nn.Sequential(
            [
                nn.Parallel([same, nn.AvgPool((3, 3), 1, "SAME", count_include_pad=True)]),
                nn.Conv(8, 3, (1, 1), rngs=rngs()),
            ]
        ),
        (3, 3, 4, 3),
    ),
    "a last convolution with a kernel of ones": (
        lambda: nn.Sequential(
            [nn.Conv(4, 1, (3, 3), rngs=rngs()), ones(nn.Conv, 1, 5, (1, 1))],
        ),
        (3, 3, 4, 5),
    ),
    "a last depthwise convolution with a kernel of ones": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (3, 3), rngs=rngs()),
                ones(nn.DepthwiseConv, 3, (1, 1), multiplier=2),
            ]
        ),
        (3, 3, 4, 6),
    ),
    "flipped, then 1x1": (
        lambda: nn.Sequential(
            [nn.Conv(4, 3, (3, 2), flip=True, rngs=rngs()), nn.Conv(3, 2, (1, 1), rngs=rngs())]
        ),
        (3, 2, 4, 2),
    ),
    "Flax's CIRCULAR padding, strided": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, (3, 3), 2, padding="CIRCULAR", kernel_dilation=(2, 1), rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 3),
    ),
    "Flax's REFLECT padding, strided": (
        lambda: nn.Sequential(
            [
                nnx.Conv(4, 3, (4, 3), (2, 3), padding="REFLECT", rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (4, 3, 4, 3),
    ),
    "Flax's CAUSAL padding, which ignores the padding mode": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 3, 3, padding="CAUSAL", padding_mode="reflect", rngs=rngs()),
                nnx.BatchNorm(3, rngs=rngs()),
            ]
        ),
        (3, 4, 3),
    ),
    "branches with circular padding": (
        lambda: nn.Parallel(
            [nn.Conv(4, 3, (k, k), padding_mode="circular", rngs=rngs()) for k in (1, 3, 5)]
        ),
        (5, 5, 4, 9),
    ),
    "circular padding twice": (
        lambda: nn.Sequential(
            [nn.Conv(4, 4, (3, 2), padding_mode="circular", rngs=rngs()) for _ in range(2)]
        ),
        (5, 3, 4, 4),
    ),
    "reflect padding, then cropped and strided": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), padding=2, padding_mode="reflect", rngs=rngs()),
                nn.Conv(4, 3, (2, 1), 2, padding=((-1, 0), (0, -1)), rngs=rngs()),
            ]
        ),
        (4, 3, 4, 3),
    ),
    "SAME, strided, odd kernel sizes": (
        lambda: nn.Parallel([nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (3, 5)], join="add"),
        (5, 5, 4, 3),
    ),
    "SAME, strided, even kernel sizes": (
        lambda: nn.Parallel([nn.Conv(4, 3, (k, k), 2, rngs=rngs()) for k in (1, 2, 4)]),
        (4, 4, 4, 9),
    ),
    "Inception depthwise without unchanged channels": (
        lambda: nn.InceptionDepthwise(6, 3, 5, ratio=1 / 3, rngs=rngs()),
        (5, 5, 1, 6),
    ),
    "bfloat16": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), dtype=jnp.bfloat16, rngs=rngs()),
                nnx.BatchNorm(4, dtype=jnp.bfloat16, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
    "bfloat16 parameters": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (3, 3), param_dtype=jnp.bfloat16, rngs=rngs()),
                nnx.BatchNorm(4, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
    "an algorithm with options": (
        lambda: nn.ConvNorm(4, 4, 3, algorithm=jconv.Winograd(tile=4), rngs=rngs()),
        (3, 3, 4, 4),
    ),
    "an algorithm that does not support the merged kernel": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, (5, 1), padding=((p, p), (0, 0)), algorithm="winograd", rngs=rngs())
                for p in (4, 0)
            ]
        ),
        (9, 1, 4, 4),
    ),
    "circular padding after 1x1": (
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
    "layers for any number of channels, then a convolution": (
        lambda: nn.Sequential(
            [same, nn.AvgPool((2, 1), (1, 1), "VALID"), nn.Conv(4, 2, (1, 1), rngs=rngs())]
        ),
        (2, 1, 4, 2),
    ),
    **{
        f"padding mode {mode!r} that repeats padded zeros": (
            lambda mode=mode, pad=pad: nn.Sequential(
                [
                    nn.NormPad(4, pad, rngs=rngs()),
                    nn.Conv(4, 3, (2, 2), 2, padding=1, padding_mode=mode, rngs=rngs()),
                ]
            ),
            (2, 2, 4, 3),
        )
        for mode, pad in (("replicate", 1), ("circular", 1), ("reflect", 2))
    },
    **{
        f"padding mode {mode!r} on an axis that the first layer does not change": (
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
    "a padding mode on each axis separately": (
        lambda: nn.Sequential(
            [
                nn.Conv(4, 4, size, padding_mode="reflect", use_bias=False, rngs=rngs())
                for size in ((3, 1), (1, 3))
            ]
        ),
        (3, 3, 4, 4),
    ),
    "a kernel of ones after a layer for any number of channels": (
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
                nn.Conv(4, 4, (3, 3), mask=np.tril(np.ones((3, 3, 4, 4), "float32")), rngs=rngs()),
                nnx.BatchNorm(4, rngs=rngs()),
            ]
        ),
        (3, 3, 4, 4),
    ),
}
