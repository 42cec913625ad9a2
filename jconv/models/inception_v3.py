"""Inception v3.

Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015),
table 1, with the widths of the authors' own network.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, borders, classifier
from jconv.models.weight_formats import (
    AS_TENSORFLOW,
    AS_TORCH,
    KERAS,
    NO_SCALE,
    SYMMETRIC,
    TORCH,
    Format,
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
    """Makes Inception v3, for images of 299x299 or any others of at least 75x75.

    It has 27,161,264 parameters with its auxiliary head, 23,834,568 without. The head, which is
    called while training, sees nothing in images below 299x299: train on those without it.

    Args:
      num_classes: logits to give.
      auxiliary: whether it has a head more for training, before the last grid reduction.
      origin: `"torch"`, whose averages count the padding at the border, or `"tensorflow"`, whose
        do not.
      dropout: share of the features dropped while training.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.
    """
    borders(origin)
    own: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    averages: dict[str, Any] = dict(own, count_include_pad=origin == "torch")
    layers = {
        "conv1a": ConvNorm(3, 32, 3, 2, padding="VALID", **own),
        "conv2a": ConvNorm(32, 32, 3, padding="VALID", **own),
        "conv2b": ConvNorm(32, 64, 3, **own),
        "pool1": MaxPool((3, 3), 2),
        "conv3b": ConvNorm(64, 80, 1, **own),
        "conv4a": ConvNorm(80, 192, 3, padding="VALID", **own),
        "pool2": MaxPool((3, 3), 2),
        "mixed5b": InceptionA(192, 32, **averages),
        "mixed5c": InceptionA(256, 64, **averages),
        "mixed5d": InceptionA(288, 64, **averages),
        "mixed6a": InceptionB(288, **own),
        "mixed6b": InceptionC(768, 128, **averages),
        "mixed6c": InceptionC(768, 160, **averages),
        "mixed6d": InceptionC(768, 160, **averages),
        "mixed6e": InceptionC(768, 192, **averages),
        "mixed7a": InceptionD(768, **own),
        "mixed7b": InceptionE(1280, **averages),
        "mixed7c": InceptionE(2048, **averages),
        **classifier(2048, num_classes, dropout=dropout, rngs=rngs),
    }
    heads = {}
    if auxiliary:
        heads["mixed6e"] = AuxiliaryHeadV3(768, num_classes, **own)
    return Network(layers, heads, least=75, made_with=dict(origin=origin, dropout=dropout))


def _branches(module: str, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple(
        (rf"^(mixed{module})\.branches\.{i}\.", rf"\1.{name}.") for i, name in enumerate(names)
    )


# From our names to torchvision's.
TORCHVISION = (
    *_branches("5.", "branch1x1", "branch5x5_", "branch3x3dbl_", "branch_pool"),
    *_branches("6a", "branch3x3", "branch3x3dbl_"),
    *_branches("6[b-e]", "branch1x1", "branch7x7_", "branch7x7dbl_", "branch_pool"),
    *_branches("7a", "branch3x3_", "branch7x7x3_"),
    *_branches("7[bc]", "branch1x1", "branch3x3_", "branch3x3dbl_", "branch_pool"),
    (r"branch_pool\.layers\.1\.", "branch_pool."),
    # Forks: a chain, then a row and a column.
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
    Format("torchvision", TORCH, TORCHVISION, AS_TORCH, pixels=SYMMETRIC),
    Format(
        "keras",
        KERAS,
        ((r"^dense\.", "predictions."),),
        AS_TENSORFLOW,
        pixels=SYMMETRIC,
        absent=NO_SCALE,
        numbered=r"\.(conv|norm)\.\w+$",
    ),
)
