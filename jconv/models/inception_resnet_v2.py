"""Inception-ResNet v2.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figure 15, with the widths and the stem of the authors' own network.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import KERAS, NO_SCALE, SYMMETRIC_333, TORCH, Format
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
    """Makes Inception-ResNet v2, for images of 299x299 or any others of at least 75x75:
    55,843,464 parameters.

    Args:
      num_classes: logits to give.
      dropout: share of the features dropped while training.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.
    """
    own: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    layers = {
        "conv1a": ConvNorm(3, 32, 3, 2, padding="VALID", **own),
        "conv2a": ConvNorm(32, 32, 3, padding="VALID", **own),
        "conv2b": ConvNorm(32, 64, 3, **own),
        "pool3a": MaxPool((3, 3), 2),
        "conv3b": ConvNorm(64, 80, 1, **own),
        "conv4a": ConvNorm(80, 192, 3, padding="VALID", **own),
        "pool5a": MaxPool((3, 3), 2),
        "mixed5b": InceptionResNetStem(**own),
        **{f"a{i}": InceptionResNetA(**own) for i in range(1, 11)},
        "reduction_a": InceptionResNetReductionA(**own),
        **{f"b{i}": InceptionResNetB(**own) for i in range(1, 21)},
        "reduction_b": InceptionResNetReductionB(**own),
        **{f"c{i}": InceptionResNetC(**own) for i in range(1, 10)},
        "c10": InceptionResNetC(scale=1.0, activation=None, **own),
        "conv7b": ConvNorm(2080, 1536, 1, **own),
        **classifier(1536, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, least=75, made_with=dict(dropout=dropout))


# From our names to timm's.
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

# From our names to Keras's, for the layers that it does not only number.
KERAS_NAMES = (
    (r"^conv7b\.conv\.", "conv_7b."),
    (r"^conv7b\.norm\.", "conv_7b_bn."),
    *((rf"^a{i}\.mix\.", f"block35_{i}_conv.") for i in range(1, 11)),
    *((rf"^b{i}\.mix\.", f"block17_{i}_conv.") for i in range(1, 21)),
    *((rf"^c{i}\.mix\.", f"block8_{i}_conv.") for i in range(1, 11)),
    (r"^dense\.", "predictions."),
)

FORMATS = (
    Format("timm", TORCH, TIMM, pixels=SYMMETRIC_333),
    Format(
        "keras",
        KERAS,
        KERAS_NAMES,
        pixels=SYMMETRIC_333,
        absent=NO_SCALE,
        numbered=r"^(?!conv7b).*\.(conv|norm)\.\w+$",
    ),
)
