"""Published networks with the weights of torchvision, timm and Keras: the same logits."""

import os

import jax
import numpy as np
import pytest
from flax import nnx

from jconv import models
from jconv.models import PUBLISHED

torch = pytest.importorskip("torch")
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
KERAS = {
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "xception": "Xception",
    "mobilenet_v2": "MobileNetV2",
    "convnext_tiny": "ConvNeXtTiny",
}
ODD = {299: 257, 224: 193}


def of_torch(library, name):
    torch.manual_seed(0)
    if library == "timm":
        model = pytest.importorskip("timm").create_model(TIMM[name])
    else:
        vision = pytest.importorskip("torchvision").models
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


def logits(model, x):
    graph, state = nnx.split(model)
    return np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x))


CASES = [("torchvision", name) for name in TORCHVISION] + [("timm", name) for name in TIMM]


@pytest.mark.parametrize("library, name", CASES)
def test_logits_and_round_trip(library, name, rng):
    theirs = of_torch(library, name)
    state = theirs.state_dict()
    ours = models.load(name, state)
    native = PUBLISHED[name].size
    for size in (native, ODD[native]):
        x = rng.normal(size=(2, size, size, 3)).astype("float32")
        with torch.no_grad():
            expected = theirs(torch.tensor(x).permute(0, 3, 1, 2)).numpy()
        np.testing.assert_allclose(
            logits(ours, x), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
        )
    back = models.to_torch(name, ours, library)
    kept = {key: value for key, value in state.items() if "num_batches" not in key}
    assert back.keys() == kept.keys()
    for key, value in kept.items():
        np.testing.assert_array_equal(back[key], value.numpy())
    theirs.load_state_dict({key: torch.tensor(value) for key, value in back.items()})


@pytest.mark.parametrize("suffix", ["archive", "stream", "safetensors"])
def test_files_of_torch(suffix, tmp_path):
    theirs = of_torch("torchvision", "mobilenet_v2")
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
    keras = pytest.importorskip("keras")
    theirs = getattr(keras.applications, KERAS[name])(weights=None, classifier_activation=None)
    for variable in theirs.weights:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif any(word in variable.path for word in ("moving_mean", "beta", "bias")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    ours = models.load(name, theirs)
    size = PUBLISHED[name].size
    x = rng.normal(size=(2, size, size, 3)).astype("float32")
    given = x
    if name == "convnext_tiny":  # Keras's normalises by itself, from colours of 0 to 255
        given = 255 * (x * np.float32(ours.pixels.std) + np.float32(ours.pixels.mean))
    expected = np.asarray(theirs(given, training=False))
    np.testing.assert_allclose(
        logits(ours, x), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )
    # As a mapping, the same.
    again = models.load(name, {variable.path: variable.numpy() for variable in theirs.weights})
    np.testing.assert_array_equal(logits(again, x), logits(ours, x))


def test_counts_of_torch_are_ours():
    """Products of convolutions and dense layers, counted on torch's network by its own shapes."""
    for library, name in CASES:
        theirs, total = of_torch(library, name), 0

        def count(module, inputs, output):
            nonlocal total
            if isinstance(module, torch.nn.Conv2d):
                total += output.numel() * module.weight[0].numel()
            elif isinstance(module, torch.nn.Linear):
                total += output.numel() * module.in_features

        for module in theirs.modules():
            module.register_forward_hook(count)
        size = PUBLISHED[name].size
        with torch.no_grad():
            theirs(torch.zeros(1, 3, size, size))
        outline = nnx.eval_shape(lambda name=name: PUBLISHED[name].make(rngs=nnx.Rngs(0)))
        if name == "efficientnet_lite0":
            continue  # TensorFlow's padding: other sizes
        from jconv.analysis import summarize

        assert summarize(outline, (size, size, 3)).multiply_adds == total, name
