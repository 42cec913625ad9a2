"""Inception v4.

Reference: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning" (2016), figure 9.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import SYMMETRIC, TORCH, Format
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
    """Makes Inception v4, for images of 299x299 or any others of at least 75x75:
    42,679,816 parameters.

    Args:
      num_classes: logits to give.
      dropout: share of the features dropped while training.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.
    """
    own: dict[str, Any] = dict(epsilon=1e-3, algorithm=algorithm, rngs=rngs)
    layers = {
        "stem": InceptionV4Stem(3, **own),
        **{f"a{i}": InceptionV4A(**own) for i in range(1, 5)},
        "reduction_a": InceptionV4ReductionA(**own),
        **{f"b{i}": InceptionV4B(**own) for i in range(1, 8)},
        "reduction_b": InceptionV4ReductionB(**own),
        **{f"c{i}": InceptionV4C(**own) for i in range(1, 4)},
        **classifier(1536, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, least=75, made_with=dict(dropout=dropout))


# From our names to timm's, where all modules stand in one row.
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
    # Forks: a chain, then a row and a column.
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

FORMATS = (Format("timm", TORCH, TIMM, pixels=SYMMETRIC),)
