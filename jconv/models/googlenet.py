"""GoogLeNet: the network that brought the Inception module.

Reference: Szegedy et al., "Going Deeper with Convolutions" (2014), table 1.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, classifier
from jconv.models.weight_formats import SYMMETRIC, TORCH, Format
from jconv.nn import AuxiliaryHead, ConvNorm, Inception, LocalResponseNorm, MaxPool

# Of each module: channels out of 1x1, 3x3 (reduced, out), the largest (reduced, out), pooling.
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
    """Makes GoogLeNet, for images of 224x224 or any others of at least 15x15; 31x31 without
    normalisation.

    With batch normalisation it is torchvision's, 6,624,904 parameters, whose largest kernels are
    3x3; without, the published one, which has 5x5, biases, and local response normalisation.

    Args:
      num_classes: logits to give.
      batch_norm: whether convolutions are normalised.
      largest: pixels of the third branch's kernel; 3 with batch normalisation, else 5, if None.
      auxiliary: whether it has two heads more for training, behind modules 4a and 4d.
      dropout: share of the features dropped while training.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.
    """
    own: dict[str, Any] = dict(norm=batch_norm, algorithm=algorithm, rngs=rngs)
    largest = largest or (3 if batch_norm else 5)
    norm = {} if batch_norm else {"norm1": LocalResponseNorm()}
    pool = lambda size: MaxPool((size, size), 2, ceil=True)
    layers = {"conv1": ConvNorm(3, 64, 7, 2, padding="HALF", **own), "pool1": pool(3), **norm}
    layers["conv2"] = ConvNorm(64, 64, 1, **own)
    layers["conv3"] = ConvNorm(64, 192, 3, **own)
    if not batch_norm:
        layers["norm2"] = LocalResponseNorm()
    layers["pool2"] = pool(3)
    features, heads = 192, {}
    for name, widths in MODULES.items():
        if name in ("inception4a", "inception5a"):
            # torchvision's last pooling has a window of 2; the published ones are all of 3.
            size = 2 if batch_norm and name == "inception5a" else 3
            layers[f"pool{int(name[-2]) - 1}"] = pool(size)
        layers[name] = Inception(features, *widths, largest=largest, **own)
        features = widths[0] + widths[1][1] + widths[2][1] + widths[3]
        if auxiliary and name in ("inception4a", "inception4d"):
            heads[name] = AuxiliaryHead(features, num_classes, **own)
    layers |= classifier(features, num_classes, dropout=dropout, rngs=rngs)
    made_with = dict(batch_norm=batch_norm, largest=largest, dropout=dropout)
    return Network(layers, heads, least=15 if batch_norm else 31, made_with=made_with)


# From our names to torchvision's.
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
    Format(
        "torchvision",
        TORCH,
        TORCHVISION,
        pixels=SYMMETRIC,
        flattened={r"^aux\d\.fc1\.weight$": (4, 4, 128)},
    ),
)
