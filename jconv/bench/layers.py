"""The layers that are timed: published shapes, of every kind of convolution that there is.

Batches are chosen so that one forward pass of `lax` takes between a millisecond and a second on
two cores.
"""

from __future__ import annotations

from dataclasses import dataclass

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One convolution, as its paper has it.

    Args:
      name: what it is, and where.
      kind: what the summary groups it by.
      x: shape of the input, channels last.
      kernel: shape of the kernel.
      stride: pixels between neighbouring outputs.
      padding: as in `jconv.conv`.
      dilation: pixels between neighbouring taps.
      input_dilation: that of a transposed convolution, written as one over an input with gaps.
      groups: of channels.
      kernels: how many kernels `vmap` maps over; 0 for a plain call.
      own_inputs: whether each of those kernels has inputs of its own.
      examples: whether each example has a gradient of its own, by `vmap`.
    """

    name: str
    kind: str
    x: Sizes
    kernel: Sizes
    stride: int = 1
    padding: str | int | tuple[tuple[int, int], ...] = "SAME"
    dilation: int = 1
    input_dilation: int = 1
    groups: int = 1
    kernels: int = 0
    own_inputs: bool = False
    examples: bool = False

    @property
    def rank(self) -> int:
        return len(self.kernel) - 2


def depthwise(name: str, n: int, size: int, taps: int | Sizes, channels: int, **options) -> Layer:
    """A depthwise layer over square images."""
    taps = taps if isinstance(taps, tuple) else (taps, taps)
    x = (n, *(size,) * len(taps), channels)
    return Layer(name, options.pop("kind", "depthwise"), x, (*taps, 1, channels), groups=channels,
                 **options)  # fmt: skip


def dense(name: str, n: int, size: int, taps: int | Sizes, into: int, out: int, **options) -> Layer:
    """A layer over square images, with whatever groups `options` say."""
    taps = taps if isinstance(taps, tuple) else (taps, taps)
    kind = options.pop("kind", "dense 3x3" if taps == (3, 3) else "dense")
    x = (n, *(size,) * len(taps), into)
    return Layer(name, kind, x, (*taps, into // options.get("groups", 1), out), **options)


def transposed(name: str, n: int, size: int, into: int, out: int) -> Layer:
    """4x4 at stride 2, written as a convolution over an input with gaps: twice the size."""
    return dense(name, n, size, 4, into, out, kind="transposed", input_dilation=2,
                 padding=((2, 2), (2, 2)))  # fmt: skip


def signal(name: str, n: int, length: int, taps: int, channels: int, **options) -> Layer:
    """A causal filter of its own for each channel."""
    return depthwise(name, n, length, (taps,), channels, kind="1-D", padding="CAUSAL", **options)


LAYERS = (
    # GoogLeNet (Szegedy et al. 2015), table 1
    dense("googlenet conv1 7x7/2", 4, 224, 7, 3, 64, stride=2, kind="stem"),
    dense("googlenet conv2 3x3", 2, 56, 3, 64, 192),
    dense("googlenet 3a 1x1", 8, 28, 1, 192, 64, kind="1x1"),
    dense("googlenet 3a 3x3", 4, 28, 3, 96, 128),
    dense("googlenet 3a 5x5", 8, 28, 5, 16, 32),
    dense("the text's block 5x5", 1, 224, 5, 3, 64, kind="stem"),
    # Inception v3 (Szegedy et al. 2016)
    dense("inception v3 6b 1x7", 4, 17, (1, 7), 128, 128),
    dense("inception v3 6e 7x1", 4, 17, (7, 1), 192, 192),
    dense("inception v3 6a 3x3/2", 2, 35, 3, 288, 384, stride=2, padding="VALID", kind="strided"),
    dense("inception v3 7b 1x3", 8, 8, (1, 3), 384, 384),
    # VGG (Simonyan & Zisserman 2015)
    dense("vgg conv1_1 3x3", 1, 224, 3, 3, 64, kind="stem"),
    dense("vgg conv2_1 3x3", 1, 112, 3, 64, 128),
    dense("vgg conv3_2 3x3", 1, 56, 3, 256, 256),
    dense("vgg conv5_1 3x3", 2, 14, 3, 512, 512),
    # ResNet-50 (He et al. 2016) and ResNeXt-50 (Xie et al. 2017)
    dense("resnet 2 3x3", 4, 56, 3, 64, 64),
    dense("resnet 4 3x3", 4, 14, 3, 256, 256),
    dense("resnet 3 3x3/2", 4, 56, 3, 128, 128, stride=2, kind="strided"),
    dense("resnet 2 1x1", 4, 56, 1, 256, 64, kind="1x1"),
    dense("resnet 3 1x1/2", 4, 56, 1, 256, 512, stride=2, kind="1x1"),
    dense("resnext 2 3x3, 32 groups", 4, 56, 3, 128, 128, groups=32, kind="grouped"),
    dense("resnext 4 3x3, 32 groups", 4, 14, 3, 512, 512, groups=32, kind="grouped"),
    dense("alexnet conv2 5x5, 2 groups", 4, 27, 5, 96, 256, groups=2, kind="grouped"),
    dense("shufflenet 1x1, 4 groups", 8, 28, 1, 272, 272, groups=4, kind="grouped"),
    dense("four groups 3x3", 4, 28, 3, 64, 128, groups=4, kind="grouped"),
    # MobileNetV2 (Sandler et al. 2018) and EfficientNet-Lite0 (Tan & Le 2019)
    depthwise("mobilenet v2 3x3/2", 4, 112, 3, 96, stride=2),
    depthwise("mobilenet v2 3x3 at 56", 4, 56, 3, 144),
    depthwise("mobilenet v2 3x3 at 14", 8, 14, 3, 384),
    dense("mobilenet v2 expand 1x1", 4, 56, 1, 24, 144, kind="1x1"),
    dense("efficientnet-lite0 stem 3x3/2", 4, 224, 3, 3, 32, stride=2, kind="stem"),
    depthwise("efficientnet-lite0 5x5 at 28", 4, 28, 5, 240),
    depthwise("efficientnet-lite0 5x5/2", 4, 56, 5, 144, stride=2),
    # Xception (Chollet 2017)
    depthwise("xception 3x3 at 19", 4, 19, 3, 728),
    # ConvNeXt (Liu et al. 2022), InceptionNeXt (Yu et al. 2024), RepLKNet (Ding et al. 2022)
    depthwise("convnext 7x7 at 56", 4, 56, 7, 96),
    depthwise("convnext 7x7 at 14", 8, 14, 7, 384),
    dense("convnext stem 4x4/4", 4, 224, 4, 3, 96, stride=4, padding="VALID", kind="stem"),
    depthwise("inceptionnext 1x11 at 56", 8, 56, (1, 11), 12),
    depthwise("replknet 31x31 at 56", 1, 56, 31, 128, kind="large"),
    depthwise("replknet 27x27 at 14", 1, 14, 27, 512, kind="large"),
    depthwise("15x15 at 56", 1, 56, 15, 64, kind="large"),
    # DCGAN (Radford et al. 2016), its later 4x4 form
    transposed("dcgan 4x4, twice the size, at 16", 8, 16, 128, 64),
    transposed("dcgan 4x4, twice the size, at 8", 8, 8, 256, 128),
    # WaveNet (van den Oord et al. 2016), and long filters as in Hyena (Poli et al. 2023)
    dense("wavenet 2 taps, dilation 512", 1, 16000, (2,), 32, 64, dilation=512, padding="CAUSAL",
          kind="1-D dense"),
    signal("hyena 4k taps", 1, 4096, 4096, 64),
    signal("16k taps on one signal", 1, 65536, 16384, 1),
    # Images, volumes, and batches of kernels
    Layer("31x31 on an image", "large", (1, 512, 512, 1), (31, 31, 1, 1)),
    Layer("7x7 on an image", "image", (1, 512, 512, 1), (7, 7, 1, 1)),
    dense("3-D U-Net 3x3x3", 1, 32, (3, 3, 3), 32, 64, kind="3-D"),
    dense("3-D, one channel in, 3x3x3", 1, 64, (3, 3, 3), 1, 32, kind="3-D"),
    dense("vmap over 8 kernels 3x3", 3, 30, 3, 40, 40, kernels=8, kind="vmap"),
    dense("vmap over 8 kernels 3x3, more channels", 4, 28, 3, 64, 64, kernels=8, kind="vmap"),
    dense("vmap over 8 kernels 3x3, each its inputs", 3, 30, 3, 40, 40, kernels=8, own_inputs=True,
          kind="vmap"),
    dense("per-example gradients 3x3", 16, 28, 3, 16, 32, examples=True, kind="per example"),
)  # fmt: skip


def choose_layers(
    only: str = "", quick: bool = False, *, may_be_none: bool = False
) -> tuple[Layer, ...]:
    """The layers whose name or kind has `only` in it; the first of each kind where `quick`.

    Raises:
      ValueError: where there is none.
    """
    chosen = [layer for layer in LAYERS if only in layer.name or only in layer.kind]
    if not (chosen or may_be_none):
        kinds = list(dict.fromkeys(layer.kind for layer in LAYERS))
        raise ValueError(
            f"`--only` must be part of a layer's name or kind: {kinds}. Received: {only!r}."
        )
    if quick:
        chosen = {layer.kind: layer for layer in reversed(chosen)}.values()
        return tuple(reversed(chosen))
    return tuple(chosen)
