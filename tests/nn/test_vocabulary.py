"""The names of all layers' arguments, which are those of Flax, and errors for other spellings."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jconv import nn

# Arguments of Flax's layers, and beside them the options of jconv's functions.
FLAX = {
    "in_features", "out_features", "num_features", "kernel_size", "strides", "padding",
    "input_dilation", "kernel_dilation", "feature_group_count", "use_bias", "mask", "dtype",
    "param_dtype", "precision", "kernel_init", "bias_init", "conv_general_dilated",
    "promote_dtype", "preferred_element_type", "transpose_kernel", "rngs", "kernel_metadata",
    "bias_metadata",
    # Batch normalisation.
    "use_running_average", "axis", "momentum", "epsilon", "use_scale", "scale_init", "axis_name",
    "axis_index_groups", "use_fast_variance", "scale_metadata",
    # Pooling.
    "window_shape", "window_dilation", "count_include_pad",
}  # fmt: skip
CONVOLUTION = {"algorithm", "tolerance", "padding_mode", "flip", "layout"}
LAYERS = {
    "adjoint", "output_padding", "output_size",  # ConvTranspose, AdaptiveAvgPool
    "multiplier",  # DepthwiseConv, SeparableConv
    "input_size",  # LocalConv
    "offset_groups", "modulated",  # DeformConv
    "ceil_mode", "return_indices", "p",  # pooling
    "size", "alpha", "beta", "k",  # LocalResponseNorm
    "pad",  # NormPad
    "layers", "branches", "join",  # containers
}  # fmt: skip
BLOCKS = {
    "norm", "activation", "dropout", "num_classes",
    "width", "widths", "reduce", "factorised", "depthwise", "pool",  # ParallelConv
    "expansion", "se_features", "gate",  # InvertedResidual, SqueezeExcite
    "kernel_sizes", "square_size", "band_size", "ratio",  # MixConv, InceptionDepthwise
    "mixer", "layer_scale", "drop_path_rate",  # MetaNeXtBlock
    "leading_activation",  # XceptionBlock
    "ones", "threes", "fives", "pooled", "largest", "scale",  # Inception modules
}  # fmt: skip
ALLOWED = FLAX | CONVOLUTION | LAYERS | BLOCKS

PUBLIC = {name: value for name, value in vars(nn).items() if inspect.isclass(value)}
CONVOLUTIONS = ("Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv", "LocalConv",
                "DeformConv", "ConvNorm")  # fmt: skip


def parameters(name):
    declared = dict(inspect.signature(PUBLIC[name].__init__).parameters)
    if PUBLIC[name].__init__ is object.__init__ or PUBLIC[name].__init__ is nnx.Module.__init__:
        return {}
    del declared["self"]
    return declared


@pytest.mark.parametrize("name", PUBLIC)
def test_arguments_are_declared_and_from_one_vocabulary(name):
    for parameter in parameters(name).values():
        assert parameter.kind is not parameter.VAR_KEYWORD
        assert parameter.kind is not parameter.VAR_POSITIONAL or name == "Sequential"
    assert parameters(name).keys() - ALLOWED == set()


def test_every_word_of_the_vocabulary_is_used():
    assert ALLOWED - set().union(*(parameters(name) for name in PUBLIC)) == set()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_layers_share_the_options_of_parameters_and_numerics(name):
    shared = {"in_features", "kernel_size", "strides", "padding", "kernel_dilation", "dtype",
              "param_dtype", "precision", "kernel_init", "padding_mode", "rngs"}  # fmt: skip
    if name != "ConvNorm":  # its bias is that of the normalisation
        shared |= {"use_bias", "bias_init", "preferred_element_type", "layout", "kernel_metadata",
                   "bias_metadata"}  # fmt: skip
    if name != "LocalConv":  # no algorithm computes kernels that are not shared
        shared |= {"algorithm", "tolerance"}
    assert shared - parameters(name).keys() == set()


@pytest.mark.parametrize("name", PUBLIC)
def test_defaults_are_the_same_in_every_layer(name):
    defaults = dict(padding_mode="zeros", algorithm="auto", tolerance=None, precision=None,
                    dtype=None, param_dtype=jnp.float32, feature_group_count=1, layout=None,
                    flip=False, count_include_pad=True, ceil_mode=False)  # fmt: skip
    defaults["padding"] = "VALID" if name.endswith("Pool") else "SAME"
    for argument, default in defaults.items():
        if argument in parameters(name):
            assert parameters(name)[argument].default == default, argument


@pytest.mark.parametrize(
    "name, arguments, old, new",
    [
        ("Conv", (4, 6, 3), "stride", "strides"),
        ("Conv", (4, 6, 3), "dilation", "kernel_dilation"),
        ("Conv", (4, 6, 3), "groups", "feature_group_count"),
        ("ConvTranspose", (4, 6, 3), "dilation", "kernel_dilation"),
        ("DepthwiseConv", (4, 3), "bias", "use_bias"),
        ("SeparableConv", (4, 6, 3), "stride", "strides"),
        ("LocalConv", (4, 6, 3, 9), "groups", "feature_group_count"),
        ("DeformConv", (4, 6, 3), "dilation", "kernel_dilation"),
        ("ConvNorm", (4, 6, 3), "groups", "feature_group_count"),
        ("MaxPool", (), "window", "window_shape"),
        ("AvgPool", (2,), "ceil", "ceil_mode"),
        ("LpPool", (2,), "dilation", "window_dilation"),
        ("InvertedResidual", (4, 4), "squeezed", "se_features"),
        ("SqueezeExcite", (4,), "reduced", "se_features"),
        ("MixConv", (), "features", "in_features"),
        ("MetaNeXtBlock", (4, None, None), "drop", "drop_path_rate"),
        ("Branch", (), "kernel", "kernel_size"),
        ("Branch", (), "dilation", "kernel_dilation"),
    ],
)
def test_another_spelling_raises_an_error_that_names_the_right_one(name, arguments, old, new):
    with pytest.raises(TypeError, match=f"`{old}` is spelled `{new}` here.*Write {new}=2"):
        PUBLIC[name](*arguments, **{old: 2})


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("Conv", dict(in_features=4, out_features=6, kernel_size=3, rngs=nnx.Rngs(0))),
        ("MaxPool", dict(window_shape=3)),
    ],
)
def test_other_unknown_arguments_raise_a_type_error_that_names_them(name, arguments):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        PUBLIC[name](**arguments, colour=2)


@pytest.mark.parametrize("name", ["Conv", "ConvTranspose", "SeparableConv", "DepthwiseConv"])
def test_layers_with_channels_first(name, rng):
    sizes = (4, (3, 2), 2) if name == "DepthwiseConv" else (4, 6, (3, 2), 2)
    last = PUBLIC[name](*sizes, rngs=nnx.Rngs(0))
    first = PUBLIC[name](*sizes, layout="NCHW", rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 3, 6, 5, 4)).astype("float32")
    y = first(np.moveaxis(x, -1, -3))
    np.testing.assert_allclose(np.moveaxis(y, -3, -1), last(x), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="`layout` of a layer must be None or a name"):
        PUBLIC[name](*sizes, layout=("NCHW", "OIHW", "NCHW"), rngs=nnx.Rngs(0))


def test_flip_reverses_the_kernel(rng):
    x = rng.normal(size=(2, 6, 5, 4)).astype("float32")
    layer = nn.Conv(4, 6, (3, 2), flip=True, rngs=nnx.Rngs(0))
    reversed_ = nnx.Conv(4, 6, (3, 2), rngs=nnx.Rngs(0))
    reversed_.kernel.set_value(layer.kernel[::-1, ::-1])
    np.testing.assert_allclose(layer(x), reversed_(x), rtol=1e-5, atol=1e-5)


def test_tolerance_reaches_the_convolution():
    layer = nn.Conv(4, 6, (3, 3), tolerance=1e-5, rngs=nnx.Rngs(0))
    assert layer.conv_general_dilated.tolerance == 1e-5
    with pytest.raises(ValueError, match="`tolerance` must be None or a positive number"):
        nn.Conv(4, 6, (3, 3), tolerance=-1, rngs=nnx.Rngs(0))(jnp.ones((1, 5, 5, 4)))
