"""RepVGG: a sequence of 3x3 convolutions, each trained as three parallel branches.

Reference: Ding et al., "RepVGG: Making VGG-style ConvNets Great Again" (2021), tables 2 and 3.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import TORCH, WeightFormat
from jconv.nn import RepVGGBlock

A0 = ((2, 48), (4, 96), (14, 192), (1, 1280))  # blocks and channels of each stage


def repvgg_a0(num_classes: int = 1000, *, algorithm="auto", rngs: nnx.Rngs) -> Network:
    """Build RepVGG-A0, with 9,108,968 parameters.

    It was published for images of 224x224 pixels and takes any others. `jconv.structure.merge`
    turns each block into one convolution, which leaves 8,309,384 parameters.

    Args:
      num_classes: number of classes.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters.
    """
    common: dict[str, Any] = dict(algorithm=algorithm, rngs=rngs)
    features = A0[0][1]
    layers: dict[str, nnx.Module] = {"stem": RepVGGBlock(3, features, 2, **common)}
    for i, (depth, width) in enumerate(A0):
        for j in range(depth):
            layers[f"stage{i}_block{j}"] = RepVGGBlock(features, width, 1 if j else 2, **common)
            features = width
    return Network({**layers, **classifier(features, num_classes, rngs=rngs)})


# Renames from jconv's variables to timm's.
TIMM = (
    (r"^stage(\d)_block(\d+)\.", r"stages.\1.\2."),
    (r"\.branches\.branches\.0\.", ".conv_kxk."),
    (r"\.branches\.branches\.1\.", ".conv_1x1."),
    (r"\.branches\.branches\.2\.", ".identity."),
    (r"\.norm\.", ".bn."),
    (r"^dense\.", "head.fc."),
)

FORMATS = (WeightFormat("timm", TORCH, TIMM),)
