"""Published networks with the weights of torchvision, timm and Keras: the same logits."""

import os

import jax
import numpy as np
import pytest
from flax import nnx

from jconv import models
from jconv.analysis import summarize
from jconv.models import PUBLISHED

REASON = "pip install -r tests/peers/requirements.txt"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TIMM = {
    "inception_v4": "inception_v4",
    "inception_resnet_v2": "inception_resnet_v2",
    "xception": "legacy_xception",
    "inception_next_tiny": "inception_next_tiny",
    "mobilenet_v2": "mobilenetv2_100",
    "efficientnet_lite0": "efficientnet_lite0",
    "convnext_tiny": "convnext_tiny",
    "repvgg_a0": "repvgg_a0",
}
TORCHVISION = ("googlenet", "inception_v3", "mobilenet_v2", "convnext_tiny")
CASES = [("torchvision", name) for name in TORCHVISION] + [("timm", name) for name in TIMM]
KERAS = {
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "xception": "Xception",
    "mobilenet_v2": "MobileNetV2",
    "convnext_tiny": "ConvNeXtTiny",
}
ODD = {299: 257, 224: 193}


def of_torch(library, name, **options):
    torch = pytest.importorskip("torch", reason=REASON)
    torch.manual_seed(0)
    if library == "timm":
        timm = pytest.importorskip("timm", reason=REASON)
        model = timm.create_model(TIMM.get(name, name), **options)
    else:
        vision = pytest.importorskip("torchvision", reason=REASON).models
        heads = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        model = getattr(vision, name)(weights=None, **heads)
    # Norms that do something: what they start with leaves numbers as they are.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return model.eval()


def called(theirs, x):
    """Return the output of a torch network for images `(n, h, w, c)`."""
    import torch

    with torch.no_grad():
        return theirs(torch.tensor(x).permute(0, 3, 1, 2))


def logits(model, x):
    graph, state = nnx.split(model)
    return jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x)


def assert_alike(ours, theirs):
    theirs = np.asarray(theirs)
    # Of sums of many thousand products in float32, in another order.
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def assert_same_logits(ours, theirs, name, rng):
    """At the network's own size and at an odd one."""
    native = PUBLISHED[name].size
    for size in (native, ODD[native]):
        x = rng.normal(size=(2, size, size, 3)).astype("float32")
        assert_alike(logits(ours, x), called(theirs, x))


@pytest.mark.parametrize("library, name", CASES)
def test_logits_and_round_trip(library, name, rng):
    theirs = of_torch(library, name)
    state = theirs.state_dict()
    ours = models.load(name, state)
    assert_same_logits(ours, theirs, name, rng)
    back = models.to_torch(name, ours, library)
    kept = {key: value for key, value in state.items() if "num_batches" not in key}
    assert back.keys() == kept.keys()
    for key, value in kept.items():
        np.testing.assert_array_equal(back[key], value.numpy())


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_logits(name, rng):
    theirs = of_torch("torchvision", name)
    ours = models.load(name, theirs.state_dict())
    # Heads are called in training. Norms and dropout stay as in evaluation: those over the one
    # pixel of two images, where Inception v3's head ends, would amplify any rounding.
    theirs.training, ours.deterministic = True, False
    size = PUBLISHED[name].size
    x = rng.normal(size=(2, size, size, 3)).astype("float32")
    found, expected = logits(ours, x), called(theirs, x)
    if name == "googlenet":
        heads = (expected.aux_logits1, expected.aux_logits2)
    else:
        heads = (expected.aux_logits,)
    for one, other in zip((found.logits, *found.auxiliary), (expected.logits, *heads), strict=True):
        assert_alike(one, other)


@pytest.mark.parametrize(
    "name, theirs, options",
    [
        ("efficientnet_lite0", "tf_efficientnet_lite0", {}),
        ("mobilenet_v2", "mobilenetv2_100", {"pad_type": "same", "bn_eps": 1e-3}),
    ],
)
def test_timms_networks_of_tensorflows_borders(name, theirs, options, rng):
    network = of_torch("timm", theirs, **options)
    state = network.state_dict()
    ours = models.load(name, state, origin="tensorflow")
    assert_same_logits(ours, network, name, rng)
    with pytest.warns(UserWarning, match=theirs):
        back = models.to_torch(name, ours, "timm")
    for key, value in back.items():
        np.testing.assert_array_equal(value, state[key].numpy())


@pytest.mark.parametrize("suffix", ["archive", "stream", "safetensors"])
def test_files_of_torch(suffix, tmp_path):
    theirs = of_torch("torchvision", "mobilenet_v2")
    import torch

    path = tmp_path / f"weights.{'safetensors' if suffix == 'safetensors' else 'pth'}"
    if suffix == "safetensors":
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    else:
        torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=suffix == "archive")
    back = models.to_torch("mobilenet_v2", models.load("mobilenet_v2", path), "torchvision")
    for key, value in back.items():
        np.testing.assert_array_equal(value, theirs.state_dict()[key].numpy())


@pytest.mark.parametrize("name", KERAS)
def test_keras_applications(name, rng, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    keras = pytest.importorskip("keras", reason=REASON)
    native = PUBLISHED[name].size
    make = lambda size: getattr(keras.applications, KERAS[name])(
        weights=None, input_shape=(size, size, 3), classifier_activation=None
    )
    theirs = make(native)
    for variable in theirs.weights:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif any(word in variable.path for word in ("moving_mean", "beta", "bias")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    ours = models.load(name, theirs)
    for size in (native, ODD[native]):
        x = given = rng.normal(size=(2, size, size, 3)).astype("float32")
        if name == "convnext_tiny":  # Keras's normalises by itself, from colours of 0 to 255
            mean, std = ours.preprocessing.mean, ours.preprocessing.std
            given = 255 * (x * np.float32(std) + np.float32(mean))
        network = theirs if size == native else make(size)
        network.set_weights(theirs.get_weights())
        assert_alike(logits(ours, x), network(given, training=False))
    # As a mapping, the same.
    again = models.load(name, {variable.path: variable.numpy() for variable in theirs.weights})
    np.testing.assert_array_equal(logits(again, x), logits(ours, x))


@pytest.mark.parametrize("library, name", CASES)
def test_counts_of_torch_are_ours(library, name):
    """Products of convolutions and dense layers, counted on torch's network by its own shapes."""
    theirs, total = of_torch(library, name), 0
    import torch

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features

    for module in theirs.modules():
        module.register_forward_hook(count)
    size = PUBLISHED[name].size
    called(theirs, np.zeros((1, size, size, 3), "float32"))
    form = next(form for form in PUBLISHED[name].formats if form.name == library)
    make = lambda: PUBLISHED[name].make(**form.options, rngs=nnx.Rngs(0))
    assert summarize(nnx.eval_shape(make), (size, size, 3)).multiply_adds == total


@pytest.mark.parametrize("library, name", CASES)
def test_preprocessing_is_the_published_one(library, name):
    """Compare the size of the central crop, the mean and the standard deviation."""
    size = PUBLISHED[name].size
    ours = next(form for form in PUBLISHED[name].formats if form.name == library).preprocessing
    if library == "timm":
        published = of_torch(library, name).pretrained_cfg
        mean, std, crop = published["mean"], published["std"], published["crop_pct"]
    else:
        vision = pytest.importorskip("torchvision", reason=REASON).models
        published = vision.get_model_weights(name).IMAGENET1K_V1.transforms()
        mean, std, crop = published.mean, published.std, size / published.resize_size[0]
        if name in ("googlenet", "inception_v3"):  # their first step takes this to colours from -1
            mean = std = (0.5, 0.5, 0.5)
    assert (ours.mean, ours.std) == (tuple(mean), tuple(std))
    assert ours.crop == pytest.approx(crop, abs=1e-3)  # that is within a pixel
