"""The layers of the benchmark: published shapes of every kind of convolution.

Batch sizes are chosen so that one forward pass of `lax` takes between a millisecond and a second on
two cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jconv._core.geometry import Window, make_window

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class BenchLayer:
    """The shapes and options of one convolution layer.

    Attributes:
      name: the network and the layer.
      kind: the group in the summary, such as `"depthwise"`.
      x: shape of the input, channels last.
      kernel: shape of the kernel, `(*taps, inputs per group, outputs)`.
      stride: pixels between neighbouring outputs.
      padding: as in `jconv.conv`.
      dilation: pixels between neighbouring taps.
      input_dilation: stride of a transposed convolution.
      groups: number of channel groups.
      kernels: number of kernels that `vmap` maps over; 0 for a call without `vmap`.
      inputs_per_kernel: True if `vmap` maps over inputs too.
      per_example_gradients: True if the gradient pass computes one kernel gradient per example.
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
    inputs_per_kernel: bool = False
    per_example_gradients: bool = False

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel) - 2

    @property
    def window(self) -> Window:
        """Geometry of the spatial axes, with padding as numbers."""
        return make_window(
            self.x[1:-1],
            self.kernel[: self.rank],
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            input_dilation=self.input_dilation,
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass; padding counts as pixels, input dilation does not."""
        products = math.prod(self.kernel[-2:]) * self.x[0] * max(1, self.kernels)
        return products * self.window.multiply_adds_per_channel_pair


def depthwise(
    name: str, n: int, size: int, taps: int | Sizes, channels: int, **options
) -> BenchLayer:
    """Return a depthwise layer on square images; `options` are those of `BenchLayer`."""
    taps = taps if isinstance(taps, tuple) else (taps, taps)
    x = (n, *(size,) * len(taps), channels)
    kind, kernel = options.pop("kind", "depthwise"), (*taps, 1, channels)
    return BenchLayer(name, kind, x, kernel, groups=channels, **options)


def dense(
    name: str, n: int, size: int, taps: int | Sizes, into: int, out: int, **options
) -> BenchLayer:
    """Return a dense or grouped layer on square images; `options` are those of `BenchLayer`."""
    taps = taps if isinstance(taps, tuple) else (taps, taps)
    kind = options.pop("kind", "dense 3x3" if taps == (3, 3) else "dense")
    x = (n, *(size,) * len(taps), into)
    return BenchLayer(name, kind, x, (*taps, into // options.get("groups", 1), out), **options)


def transposed(name: str, n: int, size: int, into: int, out: int) -> BenchLayer:
    """Return a transposed 4x4 layer with stride 2, which doubles the size of the image."""
    return dense(name, n, size, 4, into, out, kind="transposed", input_dilation=2,
                 padding=((2, 2), (2, 2)))  # fmt: skip


def signal(name: str, n: int, length: int, taps: int, channels: int, **options) -> BenchLayer:
    """Return a causal depthwise filter on signals."""
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
    BenchLayer("31x31 on an image", "large", (1, 512, 512, 1), (31, 31, 1, 1)),
    BenchLayer("7x7 on an image", "image", (1, 512, 512, 1), (7, 7, 1, 1)),
    dense("3-D U-Net 3x3x3", 1, 32, (3, 3, 3), 32, 64, kind="3-D"),
    dense("3-D, one channel in, 3x3x3", 1, 64, (3, 3, 3), 1, 32, kind="3-D"),
    dense("vmap over 8 kernels 3x3", 3, 30, 3, 40, 40, kernels=8, kind="vmap"),
    dense("vmap over 8 kernels 3x3, more channels", 4, 28, 3, 64, 64, kernels=8, kind="vmap"),
    dense("vmap over 8 kernels 3x3, each its inputs", 3, 30, 3, 40, 40, kernels=8,
          inputs_per_kernel=True, kind="vmap"),
    dense("per-example gradients 3x3", 16, 28, 3, 16, 32, per_example_gradients=True,
          kind="per example"),
)  # fmt: skip


def choose_layers(
    only: str = "", quick: bool = False, *, allow_empty: bool = False
) -> tuple[BenchLayer, ...]:
    """Return the layers whose name or kind contains `only`.

    Args:
      only: part of a name or kind; all layers if empty.
      quick: return the first layer of each kind only.
      allow_empty: return an empty tuple instead of raising if no layer matches.

    Raises:
      ValueError: if no layer matches.
    """
    chosen = [layer for layer in LAYERS if only in layer.name or only in layer.kind]
    if not (chosen or allow_empty):
        kinds = list(dict.fromkeys(layer.kind for layer in LAYERS))
        raise ValueError(
            f"`--only` must be part of a layer's name or kind: {kinds}. Received: {only!r}."
        )
    if quick:
        chosen = {layer.kind: layer for layer in reversed(chosen)}.values()
        return tuple(reversed(chosen))
    return tuple(chosen)
