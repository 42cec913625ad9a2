"""Inception v3.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015),
table 1, with the widths of the authors' network.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier, framework_defaults
from jconv.models.weight_formats import (
    KERAS,
    NO_SCALE,
    SYMMETRIC,
    TENSORFLOW_ORIGIN,
    TORCH,
    TORCH_ORIGIN,
    WeightFormat,
)
from jconv.nn import (
    AuxiliaryHeadV3,
    ConvNorm,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    MaxPool,
)


def inception_v3(
    num_classes: int = 1000,
    *,
    auxiliary: bool = True,
    origin: str = "torch",
    dropout: float = 0.5,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build Inception v3, with 27,161,264 parameters, including 3,326,696 in the auxiliary head.

    It was published for images of 299x299 pixels and takes any others of at least 75x75. The
    auxiliary head, which is called in training only, needs images of at least 299x299; train on
    smaller ones with `auxiliary=False`.

    Args:
      num_classes: number of classes.
      auxiliary: whether to add the auxiliary head, before the last grid reduction, for training.
      origin: `"torch"`, whose average pooling counts padding, or `"tensorflow"`, whose does not.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    framework_defaults(origin)
    common: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    averages: dict[str, Any] = dict(common, count_include_pad=origin == "torch")
    layers = {
        "conv1a": ConvNorm(3, 32, 3, 2, padding="VALID", **common),
        "conv2a": ConvNorm(32, 32, 3, padding="VALID", **common),
        "conv2b": ConvNorm(32, 64, 3, **common),
        "pool1": MaxPool((3, 3), 2),
        "conv3b": ConvNorm(64, 80, 1, **common),
        "conv4a": ConvNorm(80, 192, 3, padding="VALID", **common),
        "pool2": MaxPool((3, 3), 2),
        "mixed5b": InceptionA(192, 32, **averages),
        "mixed5c": InceptionA(256, 64, **averages),
        "mixed5d": InceptionA(288, 64, **averages),
        "mixed6a": InceptionB(288, **common),
        "mixed6b": InceptionC(768, 128, **averages),
        "mixed6c": InceptionC(768, 160, **averages),
        "mixed6d": InceptionC(768, 160, **averages),
        "mixed6e": InceptionC(768, 192, **averages),
        "mixed7a": InceptionD(768, **common),
        "mixed7b": InceptionE(1280, **averages),
        "mixed7c": InceptionE(2048, **averages),
        **classifier(2048, num_classes, dropout=dropout, rngs=rngs),
    }
    heads = {}
    if auxiliary:
        heads["mixed6e"] = AuxiliaryHeadV3(768, num_classes, **common)
    return Network(layers, heads, min_size=75, build_options=dict(origin=origin, dropout=dropout))


def _branches(module: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (rf"^(mixed{module})\.branches\.{i}\.", rf"\1.{name}.") for i, name in enumerate(names)
    )


# Renames from jconv's variables to torchvision's.
TORCHVISION = (
    *_branches("5.", "branch1x1", "branch5x5_", "branch3x3dbl_", "branch_pool"),
    *_branches("6a", "branch3x3", "branch3x3dbl_"),
    *_branches("6[b-e]", "branch1x1", "branch7x7_", "branch7x7dbl_", "branch_pool"),
    *_branches("7a", "branch3x3_", "branch7x7x3_"),
    *_branches("7[bc]", "branch1x1", "branch3x3_", "branch3x3dbl_", "branch_pool"),
    (r"branch_pool\.layers\.1\.", "branch_pool."),
    # Branches that fork: a sequence of layers, then a 1x3 and a 3x1 kernel.
    (r"(7[bc]\.branch3x3)_\.layers\.0\.", r"\1_1."),
    (r"(7[bc]\.branch3x3)_\.layers\.1\.branches\.0\.", r"\1_2a."),
    (r"(7[bc]\.branch3x3)_\.layers\.1\.branches\.1\.", r"\1_2b."),
    (r"(7[bc]\.branch3x3dbl)_\.layers\.0\.layers\.0\.", r"\1_1."),
    (r"(7[bc]\.branch3x3dbl)_\.layers\.0\.layers\.1\.", r"\1_2."),
    (r"(7[bc]\.branch3x3dbl)_\.layers\.1\.branches\.0\.", r"\1_3a."),
    (r"(7[bc]\.branch3x3dbl)_\.layers\.1\.branches\.1\.", r"\1_3b."),
    *((rf"_\.layers\.{i}\.", f"_{i + 1}.") for i in range(5)),
    (r"^mixed(..)\.", r"Mixed_\1."),
    (r"^auxiliary\.0\.layers\.1\.", "AuxLogits.conv0."),
    (r"^auxiliary\.0\.layers\.2\.", "AuxLogits.conv1."),
    (r"^auxiliary\.0\.layers\.4\.", "AuxLogits.fc."),
    (r"^conv(1a|2a|2b|4a)\.", r"Conv2d_\1_3x3."),
    (r"^conv3b\.", "Conv2d_3b_1x1."),
    (r"\.norm\.", ".bn."),
    (r"^dense\.", "fc."),
)

FORMATS = (
    WeightFormat("torchvision", TORCH, TORCHVISION, TORCH_ORIGIN, preprocessing=SYMMETRIC),
    WeightFormat(
        "keras",
        KERAS,
        ((r"^dense\.", "predictions."),),
        TENSORFLOW_ORIGIN,
        preprocessing=SYMMETRIC,
        fill_values=NO_SCALE,
        numbered_layers=r"\.(conv|norm)\.\w+$",
    ),
)
