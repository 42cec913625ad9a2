"""The windows for which every algorithm is compared with the definition.

`CASES` are chosen by hand, one for each feature. `GRID` combines kernel sizes with strides,
dilations and paddings in one, two and three dimensions.
"""

import itertools
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """Channels-last shapes, and the options of `jconv.conv`."""

    name: str
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    options: dict = field(default_factory=dict)

    def __str__(self):
        return self.name


def _case(name, x, kernel, **options):
    return Case(name, x, kernel, options)


CASES = [
    # One, two, three and four dimensions.
    _case("1d", (2, 9, 3), (3, 3, 4)),
    _case("1d-causal", (2, 9, 3), (3, 3, 4), padding="CAUSAL", dilation=2),
    _case("1d-long-kernel", (1, 11, 1), (9, 1, 2), padding="FULL"),
    _case("1d-pair", (1, 8, 2), (3, 2, 2), padding=[(2, 1)], stride=2),
    _case("2d", (2, 6, 5, 3), (3, 3, 3, 4)),
    _case("3d", (1, 4, 5, 3, 2), (2, 3, 2, 2, 3)),
    _case("3d-strided", (1, 5, 4, 5, 2), (3, 2, 3, 2, 2), stride=(2, 1, 2), padding=1),
    _case("4d", (1, 3, 3, 2, 3, 2), (2, 2, 1, 2, 2, 2)),
    # Even and odd kernel sizes, and kernels larger than the input.
    _case("1x1", (2, 4, 5, 3), (1, 1, 3, 5)),
    _case("2x2", (2, 5, 6, 2), (2, 2, 2, 3)),
    _case("4x2", (2, 5, 6, 2), (4, 2, 2, 3)),
    _case("5x5", (2, 6, 7, 2), (5, 5, 2, 3)),
    _case("1x7", (1, 4, 9, 2), (1, 7, 2, 3)),
    _case("7x1", (1, 9, 4, 2), (7, 1, 2, 3)),
    _case("kernel-larger", (1, 3, 2, 2), (5, 5, 2, 3)),
    _case("many-taps", (1, 9, 8, 2), (8, 7, 2, 1), padding="FULL"),
    _case("as-large-as-input", (2, 5, 5, 2), (5, 5, 2, 3), padding="VALID"),
    # Padding.
    _case("valid", (2, 6, 5, 3), (3, 3, 3, 4), padding="VALID"),
    _case("full", (2, 4, 5, 2), (3, 2, 2, 3), padding="FULL"),
    _case("same-lower", (2, 5, 6, 2), (2, 4, 2, 3), padding="SAME_LOWER"),
    _case("int", (2, 5, 5, 2), (3, 3, 2, 2), padding=2),
    _case("pairs", (2, 5, 5, 2), (3, 3, 2, 2), padding=[(0, 2), (3, 1)]),
    _case("ints", (2, 5, 5, 2), (3, 3, 2, 2), padding=[0, 2]),
    _case("crop", (2, 7, 8, 2), (3, 2, 2, 2), padding=[(-1, -2), (2, -1)]),
    _case("wide", (1, 3, 3, 2), (2, 2, 2, 2), padding=5),
    _case("reflect", (2, 5, 6, 2), (3, 5, 2, 2), padding_mode="reflect"),
    _case("reflect-twice", (1, 3, 2, 2), (3, 3, 2, 2), padding=4, padding_mode="reflect"),
    _case("replicate", (2, 5, 6, 2), (3, 4, 2, 2), padding_mode="replicate"),
    _case("circular", (2, 5, 6, 2), (3, 4, 2, 2), padding_mode="circular", stride=2),
    _case("circular-crop", (1, 7, 6, 2), (3, 3, 2, 2), padding=[(2, -2), (-1, 3)],
          padding_mode="circular"),
    # Stride and dilation.
    _case("stride2", (2, 7, 8, 2), (3, 3, 2, 3), stride=2),
    _case("stride3x1", (2, 7, 8, 2), (2, 3, 2, 3), stride=(3, 1), padding="VALID"),
    _case("stride-over-kernel", (1, 9, 8, 2), (1, 2, 2, 3), stride=4),
    _case("dilation2", (2, 8, 9, 2), (3, 3, 2, 3), dilation=2),
    _case("dilation3x1", (1, 9, 6, 2), (3, 2, 2, 3), dilation=(3, 1), padding="VALID"),
    _case("stride-dilation", (1, 9, 9, 2), (3, 3, 2, 2), stride=(2, 3), dilation=(2, 1), padding=3),
    _case("input-dilation", (2, 4, 3, 2), (3, 3, 2, 3), input_dilation=2),
    _case("input-dilation-4x4", (1, 3, 4, 2), (4, 4, 2, 3), input_dilation=2, padding=2),
    _case("input-dilation-stride", (1, 4, 5, 2), (3, 2, 2, 2), input_dilation=(3, 2),
          stride=(2, 3), padding=[(2, 1), (0, 3)]),
    _case("everything", (1, 4, 5, 4), (3, 2, 2, 4), input_dilation=(2, 3), stride=(3, 2),
          dilation=(2, 3), padding=[(3, -1), (2, 4)], groups=2, flip=True),
    # Groups.
    _case("groups2", (2, 5, 5, 4), (3, 3, 2, 6), groups=2),
    _case("groups3-strided", (2, 6, 5, 6), (3, 2, 2, 3), groups=3, stride=2),
    # More channels than `split` puts into one block.
    _case("wide-groups", (2, 6, 40), (3, 10, 40), groups=4),
    _case("depthwise", (2, 6, 5, 4), (3, 3, 1, 4), groups=4),
    _case("depthwise-multiplier", (2, 6, 5, 3), (3, 3, 1, 6), groups=3),
    _case("depthwise-strided", (2, 7, 7, 3), (3, 3, 1, 3), groups=3, stride=2),
    _case("depthwise-dilated", (1, 9, 8, 3), (3, 2, 1, 3), groups=3, dilation=(2, 3)),
    _case("depthwise-input-dilation", (1, 4, 5, 3), (3, 3, 1, 3), groups=3, input_dilation=2),
    _case("depthwise-crop", (1, 8, 7, 3), (3, 3, 1, 3), groups=3, padding=[(-1, 2), (3, -2)]),
    _case("depthwise-many-taps", (1, 9, 9, 2), (9, 7, 1, 2), groups=2),
    _case("depthwise-1d", (2, 12, 3), (5, 1, 3), groups=3, stride=2),
    _case("depthwise-3d", (1, 4, 4, 3, 2), (3, 2, 2, 1, 2), groups=2),
    # True convolution, with a flipped kernel.
    _case("flip", (2, 5, 6, 2), (3, 2, 2, 3), flip=True),
    _case("flip-strided", (2, 7, 6, 2), (2, 3, 2, 3), flip=True, stride=2, padding="VALID"),
    # Empty and minimal shapes.
    _case("empty-batch", (0, 5, 5, 2), (3, 3, 2, 3)),
    _case("empty-input", (2, 0, 5, 2), (3, 3, 2, 3)),
    _case("one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
]  # fmt: skip


# (stride, dilation, input dilation): each alone, combined, and with common divisors.
STEPS = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (1, 2, 1), (1, 3, 1), (1, 1, 2), (1, 1, 3), (2, 2, 1),
         (2, 3, 1), (2, 1, 2), (3, 1, 2), (1, 2, 2), (4, 2, 2), (2, 3, 4)]  # fmt: skip
# (input channels per group, output channels per group, groups), used in rotation.
CHANNELS = [(2, 3, 1), (1, 1, 3), (1, 2, 2), (2, 1, 2), (3, 2, 1)]


def _grid(rank, taps, steps, paddings):
    channels = itertools.cycle(CHANNELS)
    for k, (s, d, e), padding in itertools.product(taps, steps, paddings):
        inputs, outputs, groups = next(channels)
        size = tuple(d * (k - 1) // e + 3 + axis for axis in range(rank))
        # The last axis has one tap less or more, and no stride or dilation if the kernel is odd.
        last = (k + 1 if k < 3 else k - 1) if rank > 1 else k
        last_is_plain = rank > 1 and k % 2 == 1
        s_, d_, e_ = ((step,) * (rank - 1) + (1 if last_is_plain else step,) for step in (s, d, e))
        yield _case(
            f"{rank}d-{k}-s{s}-d{d}-e{e}-{padding}",
            (2 if rank < 3 else 1, *size, inputs * groups),
            (*(k,) * (rank - 1), last, inputs, outputs * groups),
            stride=s_, dilation=d_, input_dilation=e_, padding=padding, groups=groups,
        )  # fmt: skip


GRID = [
    *_grid(1, (1, 2, 3, 4, 5, 7, 11), STEPS, ("SAME", "FULL")),
    *_grid(2, (1, 2, 3, 4, 7), STEPS[:11], ("SAME_LOWER", 2)),
    *_grid(3, (2, 3), STEPS[:8], ("VALID",)),
]
