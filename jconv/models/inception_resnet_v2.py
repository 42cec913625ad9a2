"""Inception-ResNet v2.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figure 15, with the widths and the stem of the authors' network.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import KERAS, NO_SCALE, SYMMETRIC_333, TORCH, WeightFormat
from jconv.nn import (
    ConvNorm,
    InceptionResNetA,
    InceptionResNetB,
    InceptionResNetC,
    InceptionResNetReductionA,
    InceptionResNetReductionB,
    InceptionResNetStem,
    MaxPool,
)


def inception_resnet_v2(
    num_classes: int = 1000, *, dropout: float = 0.2, algorithm="auto", rngs: nnx.Rngs
) -> Network:
    """Build Inception-ResNet v2, with 55,843,464 parameters.

    It was published for images of 299x299 pixels and takes any others of at least 75x75.

    Args:
      num_classes: number of classes.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    common: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    layers = {
        "conv1a": ConvNorm(3, 32, 3, 2, padding="VALID", **common),
        "conv2a": ConvNorm(32, 32, 3, padding="VALID", **common),
        "conv2b": ConvNorm(32, 64, 3, **common),
        "pool3a": MaxPool((3, 3), 2),
        "conv3b": ConvNorm(64, 80, 1, **common),
        "conv4a": ConvNorm(80, 192, 3, padding="VALID", **common),
        "pool5a": MaxPool((3, 3), 2),
        "mixed5b": InceptionResNetStem(**common),
        **{f"a{i}": InceptionResNetA(**common) for i in range(1, 11)},
        "reduction_a": InceptionResNetReductionA(**common),
        **{f"b{i}": InceptionResNetB(**common) for i in range(1, 21)},
        "reduction_b": InceptionResNetReductionB(**common),
        **{f"c{i}": InceptionResNetC(**common) for i in range(1, 10)},
        "c10": InceptionResNetC(scale=1.0, activation=None, **common),
        "conv7b": ConvNorm(2080, 1536, 1, **common),
        **classifier(1536, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, min_size=75, build_options=dict(dropout=dropout))


# Renames from jconv's variables to timm's.
TIMM = (
    (r"^conv(..)\.", r"conv2d_\1."),
    (r"^mixed5b\.", "mixed_5b."),
    (r"^reduction_a\.", "mixed_6a."),
    (r"^reduction_b\.", "mixed_7a."),
    (r"^c10\.", "block8."),
    *((rf"^a{i}\.", f"repeat.{i - 1}.") for i in range(1, 11)),
    *((rf"^b{i}\.", f"repeat_1.{i - 1}.") for i in range(1, 21)),
    *((rf"^c{i}\.", f"repeat_2.{i - 1}.") for i in range(1, 10)),
    (r"\.branches\.branches\.", ".branches."),
    (r"branches\.(\d)\.layers\.", r"branch\1."),
    (r"branches\.(\d)\.", r"branch\1."),
    (r"\.mix\.", ".conv2d."),
    (r"\.norm\.", ".bn."),
    (r"^dense\.", "classif."),
)

# Renames from jconv's variables to Keras's, for layers that have a name and not only a number.
KERAS_NAMES = (
    (r"^conv7b\.conv\.", "conv_7b."),
    (r"^conv7b\.norm\.", "conv_7b_bn."),
    *((rf"^a{i}\.mix\.", f"block35_{i}_conv.") for i in range(1, 11)),
    *((rf"^b{i}\.mix\.", f"block17_{i}_conv.") for i in range(1, 21)),
    *((rf"^c{i}\.mix\.", f"block8_{i}_conv.") for i in range(1, 11)),
    (r"^dense\.", "predictions."),
)

FORMATS = (
    WeightFormat("timm", TORCH, TIMM, preprocessing=SYMMETRIC_333),
    WeightFormat(
        "keras",
        KERAS,
        KERAS_NAMES,
        preprocessing=SYMMETRIC_333,
        fill_values=NO_SCALE,
        numbered_layers=r"^(?!conv7b).*\.(conv|norm)\.\w+$",
    ),
)
