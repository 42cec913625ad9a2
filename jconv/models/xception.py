"""Xception, a network of depthwise separable convolutions.

Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017),
figure 5.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier, framework_defaults
from jconv.models.weight_formats import (
    KERAS,
    SYMMETRIC_333,
    TENSORFLOW_ORIGIN,
    TORCH,
    TORCH_ORIGIN,
    WeightFormat,
)
from jconv.nn import ConvNorm, SeparableConv, Sequential, XceptionBlock


def xception(
    num_classes: int = 1000,
    *,
    origin: str = "tensorflow",
    dropout: float = 0.0,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build Xception, with 22,855,952 parameters.

    It was published for images of 299x299 pixels and takes any others of at least 7x7.

    Args:
      num_classes: number of classes.
      origin: framework whose padding and epsilon to use: `"tensorflow"` as published, or `"torch"`
        as in timm.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    defaults = framework_defaults(origin)
    common: dict[str, Any] = dict(epsilon=defaults["epsilon"], algorithm=algorithm, rngs=rngs)
    block_options: dict[str, Any] = dict(common, padding="SAME" if origin == "tensorflow" else 1)
    separable = lambda a, b: Sequential(
        [
            SeparableConv(a, b, (3, 3), use_bias=False, algorithm=algorithm, rngs=rngs),
            nnx.BatchNorm(b, epsilon=defaults["epsilon"], momentum=0.9, rngs=rngs),
            nnx.relu,
        ]
    )
    layers = {
        "conv1": ConvNorm(3, 32, 3, 2, padding="VALID", **common),
        "conv2": ConvNorm(32, 64, 3, padding="VALID", **common),
        "block1": XceptionBlock(64, (128, 128), 2, leading_activation=False, **block_options),
        "block2": XceptionBlock(128, (256, 256), 2, **block_options),
        "block3": XceptionBlock(256, (728, 728), 2, **block_options),
        **{f"block{i}": XceptionBlock(728, (728, 728, 728), **block_options) for i in range(4, 12)},
        "block12": XceptionBlock(728, (728, 1024), 2, **block_options),
        "conv3": separable(1024, 1536),
        "conv4": separable(1536, 2048),
        **classifier(2048, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, min_size=7, build_options=dict(origin=origin, dropout=dropout))


# Renames from jconv's variables to timm's (`legacy_xception`).
TIMM = (
    (r"^conv([12])\.conv\.", r"conv\1."),
    (r"^conv([12])\.norm\.", r"bn\1."),
    (r"^conv([34])\.layers\.0\.depthwise\.", r"conv\1.conv1."),
    (r"^conv([34])\.layers\.0\.pointwise\.", r"conv\1.pointwise."),
    (r"^conv([34])\.layers\.1\.", r"bn\1."),
    (r"\.shortcut\.conv\.", ".skip."),
    (r"\.shortcut\.norm\.", ".skipbn."),
    # ReLU, convolution and normalisation are numbered together. Block 1 has no leading ReLU.
    *((rf"^block1\.convs\.{i}\.layers\.0\.", f"block1.rep.{3 * i}.") for i in range(2)),
    *((rf"^block1\.convs\.{i}\.layers\.1\.", f"block1.rep.{3 * i + 1}.") for i in range(2)),
    *((rf"\.convs\.{i}\.layers\.0\.", f".rep.{3 * i + 1}.") for i in range(3)),
    *((rf"\.convs\.{i}\.layers\.1\.", f".rep.{3 * i + 2}.") for i in range(3)),
    (r"\.depthwise\.", ".conv1."),
    (r"^dense\.", "fc."),
)

# Renames from jconv's variables to Keras's, where the first two convolutions are block 1.
KERAS_NAMES = (
    (r"^conv([12])\.conv\.", r"block1_conv\1."),
    (r"^conv([12])\.norm\.", r"block1_conv\1_bn."),
    *(
        (rf"^conv{i}\.layers\.0\.(\w+)\.kernel", rf"block14_sepconv{i - 2}.\1_kernel")
        for i in (3, 4)
    ),
    *((rf"^conv{i}\.layers\.1\.", f"block14_sepconv{i - 2}_bn.") for i in (3, 4)),
    *(
        (
            rf"^block{b}\.convs\.{i}\.layers\.0\.(\w+)\.kernel",
            rf"block{b + 1}_sepconv{i + 1}.\1_kernel",
        )
        for b in range(1, 13)
        for i in range(3)
    ),
    *(
        (rf"^block{b}\.convs\.{i}\.layers\.1\.", f"block{b + 1}_sepconv{i + 1}_bn.")
        for b in range(1, 13)
        for i in range(3)
    ),
    (r"^dense\.", "predictions."),
)

FORMATS = (
    WeightFormat("timm", TORCH, TIMM, TORCH_ORIGIN, preprocessing=SYMMETRIC_333),
    WeightFormat(
        "keras",
        KERAS,
        KERAS_NAMES,
        TENSORFLOW_ORIGIN,
        preprocessing=SYMMETRIC_333,
        numbered_layers=r"\.shortcut\.(conv|norm)\.\w+$",
    ),
)
