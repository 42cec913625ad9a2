"""ConvNeXt and InceptionNeXt.

References: Liu et al., "A ConvNet for the 2020s" (2022), table 9; Yu et al., "InceptionNeXt: When
Inception Meets ConvNeXt" (2023), table 2.
"""

from collections.abc import Callable, Sequence

from flax import nnx

from jconv.models.network import Network
from jconv.models.preprocessing import Preprocessing
from jconv.models.weight_formats import KERAS, TORCH, WeightFormat
from jconv.nn import (
    Conv,
    DepthwiseConv,
    GlobalAveragePool,
    InceptionDepthwise,
    MetaNeXtBlock,
    Sequential,
)

DEPTHS, WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)


def convnext_tiny(
    num_classes: int = 1000, *, drop_path_rate: float = 0.0, algorithm="auto", rngs: nnx.Rngs
) -> Network:
    """Build ConvNeXt-T, with 28,589,128 parameters.

    It was published for images of 224x224 pixels and takes any others of at least 32x32.

    Args:
      num_classes: number of classes.
      drop_path_rate: probability that an image skips the last block in training; it rises
        linearly from 0 at the first block.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    norm = lambda features: nnx.LayerNorm(features, epsilon=1e-6, rngs=rngs)
    mixer = lambda width: DepthwiseConv(width, (7, 7), algorithm=algorithm, rngs=rngs)
    layers = _stages(mixer, norm, (4, 4, 4, 4), drop_path_rate, algorithm, rngs)
    layers |= {
        "pool": GlobalAveragePool(),
        "norm": norm(WIDTHS[-1]),
        "dense": nnx.Linear(WIDTHS[-1], num_classes, rngs=rngs),
    }
    return Network(layers, min_size=32, build_options=dict(drop_path_rate=drop_path_rate))


def inception_next_tiny(
    num_classes: int = 1000,
    *,
    drop_path_rate: float = 0.0,
    dropout: float = 0.0,
    algorithm="auto",
    rngs: nnx.Rngs,
) -> Network:
    """Build InceptionNeXt-T, with 28,055,680 parameters.

    It was published for images of 224x224 pixels and takes any others of at least 32x32.

    Args:
      num_classes: number of classes.
      drop_path_rate: probability that an image skips the last block in training; it rises
        linearly from 0 at the first block.
      dropout: dropout rate before the classifier, in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.
      rngs: random number generators for initial parameters and dropout.
    """
    norm = lambda features: nnx.BatchNorm(features, epsilon=1e-5, momentum=0.9, rngs=rngs)
    mixer = lambda width: InceptionDepthwise(width, algorithm=algorithm, rngs=rngs)
    layers = _stages(mixer, norm, (4, 4, 4, 3), drop_path_rate, algorithm, rngs)
    hidden = 3 * WIDTHS[-1]
    layers |= {
        "pool": GlobalAveragePool(),
        "hidden": nnx.Linear(WIDTHS[-1], hidden, rngs=rngs),
        "gelu": _gelu,
        "norm": nnx.LayerNorm(hidden, epsilon=1e-6, rngs=rngs),
        "dropout": nnx.Dropout(dropout, rngs=rngs if dropout else None),
        "dense": nnx.Linear(hidden, num_classes, rngs=rngs),
    }
    return Network(
        layers, min_size=32, build_options=dict(drop_path_rate=drop_path_rate, dropout=dropout)
    )


def _gelu(x):
    return nnx.gelu(x, approximate=False)


def _stages(
    mixer: Callable[[int], nnx.Module],
    norm: Callable[[int], nnx.Module],
    expansions: Sequence[int],
    drop_path_rate: float,
    algorithm,
    rngs: nnx.Rngs,
) -> dict[str, Callable]:
    """Return the stem, with a stride of 4, and four stages that halve rows and columns."""
    patches = lambda a, b, size: Conv(
        a, b, (size, size), size, padding="VALID", algorithm=algorithm, rngs=rngs
    )
    layers: dict[str, Callable] = {"stem": Sequential([patches(3, WIDTHS[0], 4), norm(WIDTHS[0])])}
    blocks, features = 0, WIDTHS[0]
    for i, (depth, width, expansion) in enumerate(zip(DEPTHS, WIDTHS, expansions, strict=True)):
        if i:
            layers[f"down{i}"] = Sequential([norm(features), patches(features, width, 2)])
        features = width
        for j in range(depth):
            layers[f"stage{i}_block{j}"] = MetaNeXtBlock(
                width,
                mixer(width),
                norm(width),
                expansion=expansion,
                drop_path_rate=drop_path_rate * blocks / (sum(DEPTHS) - 1),
                rngs=rngs,
            )
            blocks += 1
    return layers


# Renames from jconv's variables to timm's.
_TIMM = (
    (r"^(stage\d_block\d)\.scale$", r"\1.gamma"),
    (r"^stem\.layers\.", "stem."),
    (r"^down(\d)\.layers\.", r"stages.\1.downsample."),
    (r"^stage(\d)_block(\d)\.", r"stages.\1.blocks.\2."),
    (r"\.widen\.", ".mlp.fc1."),
    (r"\.narrow\.", ".mlp.fc2."),
)
TIMM_CONVNEXT = (
    *_TIMM,
    (r"\.mixer\.", ".conv_dw."),
    (r"^norm\.", "head.norm."),
    (r"^dense\.", "head.fc."),
)
TIMM_INCEPTION_NEXT = (
    *_TIMM,
    (r"\.mixer\.square\.", ".token_mixer.dwconv_hw."),
    (r"\.mixer\.row\.", ".token_mixer.dwconv_w."),
    (r"\.mixer\.column\.", ".token_mixer.dwconv_h."),
    (r"^hidden\.", "head.fc1."),
    (r"^norm\.", "head.norm."),
    (r"^dense\.", "head.fc2."),
)

# Renames to torchvision's, where stages and the layers between them are numbered together.
TORCHVISION_CONVNEXT = (
    (r"^stem\.layers\.", "features.0."),
    *((rf"^down{i}\.layers\.", f"features.{2 * i}.") for i in range(1, 4)),
    *((rf"^stage{i}_block(\d)\.", rf"features.{2 * i + 1}.\1.") for i in range(4)),
    (r"(features\.\d\.\d)\.scale$", r"\1.layer_scale"),
    (r"\.mixer\.", ".block.0."),
    (r"(features\.\d\.\d)\.norm\.", r"\1.block.2."),
    (r"\.widen\.", ".block.3."),
    (r"\.narrow\.", ".block.5."),
    (r"^norm\.", "classifier.0."),
    (r"^dense\.", "classifier.2."),
)

# Renames to Keras's.
KERAS_CONVNEXT = (
    (r"^stem\.layers\.0\.", "convnext_tiny_stem_conv."),
    (r"^stem\.layers\.1\.", "convnext_tiny_stem_layernorm."),
    *(
        (rf"^down{i}\.layers\.0\.", f"convnext_tiny_downsampling_layernorm_{i - 1}.")
        for i in range(1, 4)
    ),
    *(
        (rf"^down{i}\.layers\.1\.", f"convnext_tiny_downsampling_conv_{i - 1}.")
        for i in range(1, 4)
    ),
    (r"^stage(\d)_block(\d)\.scale$", r"convnext_tiny_stage_\1_block_\2_layer_scale.gamma"),
    (r"^stage(\d)_block(\d)\.", r"convnext_tiny_stage_\1_block_\2_"),
    (r"_mixer\.", "_depthwise_conv."),
    (r"_norm\.", "_layernorm."),
    (r"_widen\.", "_pointwise_conv_1."),
    (r"_narrow\.", "_pointwise_conv_2."),
    (r"^norm\.", "convnext_tiny_head_layernorm."),
    (r"^dense\.", "convnext_tiny_head_dense."),
)

CONVNEXT_FORMATS = (
    WeightFormat(
        "torchvision",
        TORCH,
        TORCHVISION_CONVNEXT,
        trailing_ones={r"layer_scale$": 2},
        preprocessing=Preprocessing(crop=224 / 236),
    ),
    WeightFormat("timm", TORCH, TIMM_CONVNEXT, preprocessing=Preprocessing(crop=0.95)),
    WeightFormat("keras", KERAS, KERAS_CONVNEXT, depthwise_layers=False),
)
INCEPTION_NEXT_FORMATS = (
    WeightFormat("timm", TORCH, TIMM_INCEPTION_NEXT, trailing_ones={r"\.mlp\.fc[12]\.weight$": 2}),
)
