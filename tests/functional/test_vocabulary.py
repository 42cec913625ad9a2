"""All public functions use one vocabulary: the names, meanings and defaults of their options."""

import inspect

import pytest

import jconv

FUNCTIONS = {
    name: getattr(jconv, name)
    for name in (
        "conv", "conv_transpose", "depthwise_conv", "separable_conv", "conv_local", "deform_conv",
        "unfold", "fold", "avg_pool", "max_pool", "lp_pool", "output_shape", "choose",
    )
}  # fmt: skip
CONVOLUTIONS = [name for name in FUNCTIONS if "conv" in name]
OPERANDS = {
    "x", "kernel", "depthwise", "pointwise", "offset", "mask", "patches", "x_shape",
    "kernel_shape", "window_shape", "kernel_size", "input_size",
}  # fmt: skip
# Each option, and its default in every function that has it; None where functions differ.
OPTIONS = {
    "stride": None,  # pools move by their window
    "padding": None,  # "SAME" in convolutions, "VALID" in pools and patches
    "dilation": 1,
    "input_dilation": 1,
    "groups": 1,
    "offset_groups": 1,
    "padding_mode": "zeros",
    "layout": None,
    "flip": False,
    "precision": None,
    "preferred_element_type": None,
    "algorithm": "auto",
    "tolerance": None,
    "output_padding": 0,
    "output_size": None,
    "ceil_mode": False,
    "count_include_pad": True,
    "return_indices": False,
    "p": 2,
    "gradient": None,
    "platform": None,
}


def parameters(name):
    return inspect.signature(FUNCTIONS[name]).parameters.values()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_has_a_name_of_the_vocabulary(name):
    assert {p.name for p in parameters(name)} <= OPERANDS | set(OPTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_is_a_declared_keyword(name):
    for parameter in parameters(name):
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.name in OPTIONS:
            assert parameter.kind is parameter.KEYWORD_ONLY
            default = OPTIONS[parameter.name]
            assert default is None or parameter.default == default


@pytest.mark.parametrize("name", FUNCTIONS)
def test_default_padding_is_same_for_convolutions_and_valid_for_windows(name):
    expected = "SAME" if name in (*CONVOLUTIONS, "output_shape", "choose") else "VALID"
    assert inspect.signature(FUNCTIONS[name]).parameters["padding"].default == expected


def test_conv_general_dilated_starts_with_the_signature_of_lax():
    import jax

    theirs = inspect.signature(jax.lax.conv_general_dilated).parameters
    ours = inspect.signature(jconv.conv_general_dilated).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default
