import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from jconv.analysis import summarize
from jconv.models import PUBLISHED, Logits
from tests.helpers.networks import abstract_network, logits_shape, num_parameters, slow_if_large

# Parameters, and thousands of millions of multiply-adds of one image at the published size, of the
# convolutions and dense layers. Sources: torchvision's documentation for GoogLeNet (6,624,904;
# 1.498 G), Inception v3 (27,161,264; 5.713 G), MobileNetV2 (3,504,872; 0.301 G) and ConvNeXt-T
# (28,589,128; 4.456 G).
COUNTS = {
    "googlenet": (6_624_904, 1.498),
    "inception_v3": (27_161_264, 5.713),
    "inception_v4": (42_679_816, 12.254),
    "inception_resnet_v2": (55_843_464, 13.156),
    "xception": (22_855_952, 8.357),
    "inception_next_tiny": (28_055_680, 4.189),
    "mobilenet_v2": (3_504_872, 0.301),
    "efficientnet_lite0": (4_652_008, 0.385),
    "convnext_tiny": (28_589_128, 4.456),
    "repvgg_a0": (9_108_968, 1.513),
}

# Millions of parameters and thousands of millions of operations in timm's tables. timm's counter
# (fvcore) adds two operations for each output of a batch norm.
TIMM_COUNTS = {
    "inception_v4": (42.68, 12.28),
    "inception_resnet_v2": (55.84, 13.18),
    "xception": (22.86, 8.40),
    "inception_next_tiny": (28.06, 4.19),
    "efficientnet_lite0": (4.65, 0.40),
    "repvgg_a0": (9.11, 1.52),
}

MIN_SIZES = {
    "googlenet": 15, "inception_v3": 75, "inception_v4": 75, "inception_resnet_v2": 75,
    "xception": 7, "inception_next_tiny": 32, "convnext_tiny": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", [slow_if_large(name) for name in PUBLISHED])
def test_parameters_and_multiply_adds_are_the_published_ones(name):
    size = PUBLISHED[name].size
    summary = summarize(abstract_network(name), (size, size, 3))
    parameters, billions = COUNTS[name]
    assert summary.parameters == parameters
    assert round(summary.multiply_adds / 1e9, 3) == billions
    if name in TIMM_COUNTS:
        norms = [layer for layer in summary.layers if layer.kind == "BatchNorm"]
        normalised = sum(math.prod(layer.output_shape) for layer in norms)
        operations = summary.multiply_adds + 2 * normalised
        assert (round(parameters / 1e6, 2), round(operations / 1e9, 2)) == TIMM_COUNTS[name]


def test_parameters_of_googlenet_variants():
    # Caffe's bvlc_googlenet has 6,998,552 parameters, and 13,378,280 with both heads.
    assert num_parameters(abstract_network("googlenet", batch_norm=False)) == 6_998_552
    with_heads = abstract_network("googlenet", batch_norm=False, auxiliary=True)
    assert num_parameters(with_heads) == 13_378_280
    # torchvision's with both heads.
    assert num_parameters(abstract_network("googlenet", auxiliary=True)) == 13_004_888


@pytest.mark.slow
def test_auxiliary_heads_are_called_in_training_only():
    model = abstract_network("inception_v3", num_classes=7)
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    outputs = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x)
    assert isinstance(outputs, Logits)
    assert outputs.logits.shape == outputs.auxiliary[0].shape == (2, 7)
    model.eval()
    assert logits_shape(model, 2, 299, 299, 3) == (2, 7)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "xception", "mobilenet_v2"])
def test_unknown_origin_raises(name):
    with pytest.raises(ValueError, match="`origin` must be one of"):
        abstract_network(name, origin="caffe")


@pytest.mark.parametrize("name", [slow_if_large(name) for name in PUBLISHED])
def test_min_size_is_the_smallest_image_that_works(name):
    model = nnx.clone(abstract_network(name))
    model.eval()
    size = MIN_SIZES.get(name, 1)
    assert logits_shape(model, 1, size, size + 1, 3) == (1, 1000)
    for shape in ((1, size - 1, size, 3), (1, size, size - 1, 3), (size, size, 3)):
        with pytest.raises(ValueError, match=rf"`x` must be images .* at least {size}x{size}"):
            logits_shape(model, *shape)
    if size > 1:  # without the check, a smaller image fails in one of the layers
        model.min_size = 0
        with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
            logits_shape(model, 1, size - 1, size - 1, 3)


def test_min_size_of_googlenet_without_batch_norm():
    model = nnx.clone(abstract_network("googlenet", batch_norm=False))
    model.eval()
    assert logits_shape(model, 1, 31, 31, 3) == (1, 1000)
    with pytest.raises(ValueError, match="at least 31x31"):
        logits_shape(model, 1, 30, 31, 3)


@pytest.mark.slow
def test_auxiliary_head_of_inception_v3_needs_larger_images():
    with pytest.raises(ValueError, match="17x17 pixels for the auxiliary head.*auxiliary=False"):
        logits_shape(abstract_network("inception_v3"), 2, 298, 298, 3)
    without = abstract_network("inception_v3", auxiliary=False)
    assert logits_shape(without, 2, 224, 224, 3) == (2, 1000)
