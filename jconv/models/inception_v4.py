"""Inception v4.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figure 9.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import SYMMETRIC, TORCH, WeightFormat
from jconv.nn import (
    InceptionV4A,
    InceptionV4B,
    InceptionV4C,
    InceptionV4ReductionA,
    InceptionV4ReductionB,
    InceptionV4Stem,
)


def inception_v4(
    num_classes: int = 1000, *, dropout: float = 0.2, algorithm="auto", rngs: nnx.Rngs
) -> Network:
    """Build Inception v4, with 42,679,816 parameters.

    It was published for images of 299x299 pixels and takes any others of at least 75x75.

    Args:
      num_classes: number of classes.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    common: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    layers = {
        "stem": InceptionV4Stem(3, **common),
        **{f"a{i}": InceptionV4A(**common) for i in range(1, 5)},
        "reduction_a": InceptionV4ReductionA(**common),
        **{f"b{i}": InceptionV4B(**common) for i in range(1, 8)},
        "reduction_b": InceptionV4ReductionB(**common),
        **{f"c{i}": InceptionV4C(**common) for i in range(1, 4)},
        **classifier(1536, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, min_size=75, build_options=dict(dropout=dropout))


# Renames from jconv's variables to timm's, where all modules are numbered together.
TIMM = (
    (r"^stem\.layers\.3\.branches\.1\.", "features.3.conv."),
    (r"^stem\.layers\.4\.branches\.0\.layers\.(\d)\.", r"features.4.branch0.\1."),
    (r"^stem\.layers\.4\.branches\.1\.layers\.0\.layers\.(\d)\.", r"features.4.branch1.\1."),
    (r"^stem\.layers\.4\.branches\.1\.layers\.1\.", "features.4.branch1.3."),
    (r"^stem\.layers\.5\.branches\.0\.", "features.5.conv."),
    (r"^stem\.layers\.(\d)\.", r"features.\1."),
    *((rf"^a{i}\.", f"features.{5 + i}.") for i in range(1, 5)),
    (r"^reduction_a\.", "features.10."),
    *((rf"^b{i}\.", f"features.{10 + i}.") for i in range(1, 8)),
    (r"^reduction_b\.", "features.18."),
    *((rf"^c{i}\.", f"features.{18 + i}.") for i in range(1, 4)),
    # Branches that fork: a sequence of layers, then a 1x3 and a 3x1 kernel.
    (r"(features\.(?:19|20|21))\.branches\.1\.layers\.0\.", r"\1.branch1_0."),
    (r"(features\.(?:19|20|21))\.branches\.1\.layers\.1\.branches\.0\.", r"\1.branch1_1a."),
    (r"(features\.(?:19|20|21))\.branches\.1\.layers\.1\.branches\.1\.", r"\1.branch1_1b."),
    (r"(features\.(?:19|20|21))\.branches\.2\.layers\.0\.layers\.(\d)\.", r"\1.branch2_\2."),
    (r"(features\.(?:19|20|21))\.branches\.2\.layers\.1\.branches\.0\.", r"\1.branch2_3a."),
    (r"(features\.(?:19|20|21))\.branches\.2\.layers\.1\.branches\.1\.", r"\1.branch2_3b."),
    (r"branches\.(\d)\.layers\.", r"branch\1."),
    (r"branches\.(\d)\.", r"branch\1."),
    (r"\.norm\.", ".bn."),
    (r"^dense\.", "last_linear."),
)

FORMATS = (WeightFormat("timm", TORCH, TIMM, preprocessing=SYMMETRIC),)
