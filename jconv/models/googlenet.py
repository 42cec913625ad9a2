"""GoogLeNet, the first Inception network.

Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), table 1.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import SYMMETRIC, TORCH, WeightFormat
from jconv.nn import AuxiliaryHead, ConvNorm, Inception, LocalResponseNorm, MaxPool

# Output channels of each module: 1x1, 3x3 (reduction, output), largest kernel (reduction, output),
# pooling.
MODULES = {
    "inception3a": (64, (96, 128), (16, 32), 32),
    "inception3b": (128, (128, 192), (32, 96), 64),
    "inception4a": (192, (96, 208), (16, 48), 64),
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),
    "inception5a": (256, (160, 320), (32, 128), 128),
    "inception5b": (384, (192, 384), (48, 128), 128),
}


def googlenet(
    num_classes: int = 1000,
    *,
    batch_norm: bool = True,
    largest: int | None = None,
    auxiliary: bool = False,
    dropout: float = 0.2,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build GoogLeNet, with 6,624,904 parameters.

    With batch normalisation it is torchvision's network, whose largest kernels are 3x3. Without it,
    it is the published one, which has 5x5 kernels, biases and local response normalisation. It was
    published for images of 224x224 pixels and takes any others of at least 15x15, or 31x31 without
    batch normalisation.

    Args:
      num_classes: number of classes.
      batch_norm: whether a batch norm follows each convolution.
      largest: kernel size of the third branch; by default 3 with batch normalisation and 5
        without.
      auxiliary: whether to add the two auxiliary heads, after modules 4a and 4d, for training.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    common: dict[str, Any] = dict(norm=batch_norm, algorithm=algorithm, rngs=rngs)
    largest = largest or (3 if batch_norm else 5)
    norm = {} if batch_norm else {"norm1": LocalResponseNorm()}
    pool = lambda size: MaxPool((size, size), 2, ceil_mode=True)
    layers = {"conv1": ConvNorm(3, 64, 7, 2, padding="HALF", **common), "pool1": pool(3), **norm}
    layers["conv2"] = ConvNorm(64, 64, 1, **common)
    layers["conv3"] = ConvNorm(64, 192, 3, **common)
    if not batch_norm:
        layers["norm2"] = LocalResponseNorm()
    layers["pool2"] = pool(3)
    features, heads = 192, {}
    for name, widths in MODULES.items():
        if name in ("inception4a", "inception5a"):
            # The last pooling has a window of 2 in torchvision and of 3 in the publication.
            size = 2 if batch_norm and name == "inception5a" else 3
            layers[f"pool{int(name[-2]) - 1}"] = pool(size)
        layers[name] = Inception(features, *widths, largest=largest, **common)
        features = widths[0] + widths[1][1] + widths[2][1] + widths[3]
        if auxiliary and name in ("inception4a", "inception4d"):
            heads[name] = AuxiliaryHead(features, num_classes, **common)
    layers |= classifier(features, num_classes, dropout=dropout, rngs=rngs)
    build_options = dict(batch_norm=batch_norm, largest=largest, dropout=dropout)
    return Network(layers, heads, min_size=15 if batch_norm else 31, build_options=build_options)


# Renames from jconv's variables to torchvision's.
TORCHVISION = (
    (r"branches\.0\.", "branch1."),
    (r"branches\.1\.layers\.", "branch2."),
    (r"branches\.2\.layers\.", "branch3."),
    (r"branches\.3\.layers\.", "branch4."),
    (r"^auxiliary\.0\.", "aux1."),
    (r"^auxiliary\.1\.", "aux2."),
    (r"layers\.1\.(conv|norm)", r"conv.\1"),
    (r"layers\.3\.", "fc1."),
    (r"layers\.6\.", "fc2."),
    (r"\.norm\.", ".bn."),
    (r"^dense\.", "fc."),
)

FORMATS = (
    WeightFormat(
        "torchvision",
        TORCH,
        TORCHVISION,
        preprocessing=SYMMETRIC,
        flattened_inputs={r"^aux\d\.fc1\.weight$": (4, 4, 128)},
    ),
)
