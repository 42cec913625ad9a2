"""Xception: depthwise separable convolutions all the way.

Reference: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions" (2017),
figure 5.
"""

from typing import Any

from flax import nnx

from jconv.models.network import Network, borders, classifier
from jconv.models.weight_formats import AS_TENSORFLOW, AS_TORCH, KERAS, SYMMETRIC_333, TORCH, Format
from jconv.nn import ConvNorm, SeparableConv, Sequential, XceptionBlock


def xception(
    num_classes: int = 1000,
    *,
    origin: str = "tensorflow",
    dropout: float = 0.0,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Makes Xception, for images of 299x299 or any others of at least 7x7:
    22,855,952 parameters.

    Args:
      num_classes: logits to give.
      origin: `"tensorflow"` as published, or `"torch"`, which pads and normalises as timm does.
      dropout: share of the features dropped while training.
      algorithm: how to convolve; see `jconv.ALGORITHMS`.
      rngs: draws the initial kernels, and what is dropped.
    """
    border = borders(origin)
    own: dict[str, Any] = dict(epsilon=border["epsilon"], algorithm=algorithm, rngs=rngs)
    pooled: dict[str, Any] = dict(own, padding="SAME" if origin == "tensorflow" else 1)
    separable = lambda a, b: Sequential(
        [
            SeparableConv(a, b, (3, 3), use_bias=False, algorithm=algorithm, rngs=rngs),
            nnx.BatchNorm(b, epsilon=border["epsilon"], momentum=0.9, rngs=rngs),
            nnx.relu,
        ]
    )
    layers = {
        "conv1": ConvNorm(3, 32, 3, 2, padding="VALID", **own),
        "conv2": ConvNorm(32, 64, 3, padding="VALID", **own),
        "block1": XceptionBlock(64, (128, 128), 2, leading_activation=False, **pooled),
        "block2": XceptionBlock(128, (256, 256), 2, **pooled),
        "block3": XceptionBlock(256, (728, 728), 2, **pooled),
        **{f"block{i}": XceptionBlock(728, (728, 728, 728), **pooled) for i in range(4, 12)},
        "block12": XceptionBlock(728, (728, 1024), 2, **pooled),
        "conv3": separable(1024, 1536),
        "conv4": separable(1536, 2048),
        **classifier(2048, num_classes, dropout=dropout, rngs=rngs),
    }
    return Network(layers, least=7, made_with=dict(origin=origin, dropout=dropout))


# From our names to timm's (`legacy_xception`).
TIMM = (
    (r"^conv([12])\.conv\.", r"conv\1."),
    (r"^conv([12])\.norm\.", r"bn\1."),
    (r"^conv([34])\.layers\.0\.depthwise\.", r"conv\1.conv1."),
    (r"^conv([34])\.layers\.0\.pointwise\.", r"conv\1.pointwise."),
    (r"^conv([34])\.layers\.1\.", r"bn\1."),
    (r"\.shortcut\.conv\.", ".skip."),
    (r"\.shortcut\.norm\.", ".skipbn."),
    # ReLU, convolution and normalisation in one row, which starts without ReLU in block 1.
    *((rf"^block1\.convs\.{i}\.layers\.0\.", f"block1.rep.{3 * i}.") for i in range(2)),
    *((rf"^block1\.convs\.{i}\.layers\.1\.", f"block1.rep.{3 * i + 1}.") for i in range(2)),
    *((rf"\.convs\.{i}\.layers\.0\.", f".rep.{3 * i + 1}.") for i in range(3)),
    *((rf"\.convs\.{i}\.layers\.1\.", f".rep.{3 * i + 2}.") for i in range(3)),
    (r"\.depthwise\.", ".conv1."),
    (r"^dense\.", "fc."),
)

# From our names to Keras's, which counts the first two convolutions as block 1.
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
    Format("timm", TORCH, TIMM, AS_TORCH, pixels=SYMMETRIC_333),
    Format(
        "keras",
        KERAS,
        KERAS_NAMES,
        AS_TENSORFLOW,
        pixels=SYMMETRIC_333,
        numbered=r"\.shortcut\.(conv|norm)\.\w+$",
    ),
)
