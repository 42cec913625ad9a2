"""Errors of `jconv.conv_general_dilated`, and the cases in which `lax` raises one."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.valid_calls import LHS, RHS, TOO_LARGE, assert_error, conv_general_dilated
from jax import lax

import jconv

INVALID_CALLS = [
    (dict(window_strides=(1,)), "`window_strides` must be one int", "which has 1"),
    (dict(window_strides=(0, 1)), "`window_strides` must be an int", "window_strides=0"),
    (dict(window_strides=None), "`window_strides` must be an int", "window_strides=None"),
    (dict(lhs_dilation=(1,)), "`lhs_dilation` must be one int", "lhs_dilation=(1,)"),
    (dict(rhs_dilation=(1.5, 1)), "`rhs_dilation` must be an int", "rhs_dilation=1.5"),
    (dict(rhs_dilation=(TOO_LARGE - 1, 1)), "`rhs_dilation`", "rhs_dilation=2147483647"),
    (dict(padding=[(1, 1)]), "`padding` must be one of", "which has 1"),
    (dict(padding=None), "`padding` must be one of", "padding=None"),
    (dict(feature_group_count=0), "`feature_group_count` must be an int", "=0"),
    (dict(feature_group_count=3), "`feature_group_count` must divide", "=3 with 4"),
    (dict(feature_group_count=None), "`feature_group_count` must be an int", "=None"),
    (dict(batch_group_count="2"), "`batch_group_count` must be an int", "='2'"),
    (dict(batch_group_count=0), "`batch_group_count` must be an int", "=0"),
    (dict(batch_group_count=3), "`batch_group_count` must divide the batch", "=3 with 2"),
    (dict(batch_group_count=2, rhs=RHS[:5]), "divide the output channels", "=2 with 5"),
    (dict(batch_group_count=2, rhs=RHS[:, :2]), "`rhs` must take the 4 channels of `lhs`",
     "Check `dimension_numbers`"),
    (dict(batch_group_count=2, feature_group_count=2),
     "`batch_group_count` and `feature_group_count` must not both", "feature_group_count=2"),
    (dict(dimension_numbers=("NCHW", "OIHW")), "`dimension_numbers` must be", "'OIHW')"),
    (dict(dimension_numbers=("NCHW", "OIXX", "NCHW")), "`dimension_numbers` must", "OIXX"),
    (dict(dimension_numbers=5), "`dimension_numbers` must be", "dimension_numbers=5"),
    (dict(lhs=LHS[0]), "`lhs` must have as many axes as `rhs`", "`lhs[None]`"),
    (dict(lhs=LHS[:, :3]), "`rhs` must take the channels of `lhs`", "which takes 4"),
    (dict(rhs=RHS[:, :2]), "`rhs` must take the channels", "`feature_group_count=2`"),
    (dict(rhs=None), "`rhs` must be an array", "NoneType"),
    (dict(lhs=LHS > 0, rhs=RHS > 0), "`lhs` and `rhs` must be numbers", "bool"),
    (dict(rhs=RHS[:, :, :0]), "`rhs` must have at least one tap", "axis 0"),
    (dict(lhs=jnp.asarray(LHS, "int4")), "`lhs` and `rhs` must have dtypes", "int4, rhs"),
    (dict(precision={}), "`precision` must be None", "precision={}"),
    (dict(preferred_element_type="int32"), "must be floating", "int32 for float32"),
    (dict(out_sharding=3), "`out_sharding` must be None", "out_sharding=3"),
    (dict(padding_mode="reflect", lhs_dilation=(2, 2)), "where `lhs_dilation`", "(2, 2)"),
]  # fmt: skip
every_invalid_call = pytest.mark.parametrize(
    "options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS))
)


@pytest.mark.usefixtures("unchecked")
@every_invalid_call
def test_error_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(conv_general_dilated, options, allowed, received)


@pytest.mark.parametrize(
    "name, value",
    [
        ("window_strides", None),
        ("padding", [(1, 1)]),
        ("rhs_dilation", (0, 1)),
        ("dimension_numbers", 5),
        ("dimension_numbers", ("NCHW", "OIXX", "NCHW")),
        ("feature_group_count", "2"),
        ("batch_group_count", "2"),
        ("lhs", LHS[0]),
        ("preferred_element_type", "int32"),
    ],
)
def test_type_errors_of_lax_are_type_errors_here(name, value):
    arguments = dict(lhs=LHS, rhs=RHS, window_strides=(1, 1), padding="SAME") | {name: value}
    with pytest.raises(TypeError):
        lax.conv_general_dilated(**arguments)
    with pytest.raises(TypeError, match=f"`{name}` must"):
        jconv.conv_general_dilated(**arguments)


PRECISIONS = [
    None, "highest", "float32", "high", "bfloat16_3x", "tensorfloat32", "default", "bfloat16",
    "fastest", lax.Precision.HIGH, ("high", "default"), ["highest", "highest"],
    (lax.Precision.HIGH, lax.Precision.HIGHEST), lax.DotAlgorithmPreset.BF16_BF16_F32,
    "BF16_BF16_F32", lax.DotAlgorithm(np.float32, np.float32, np.float32),
    "HIGHEST", "", 0, ("high", None), (lax.Precision.HIGH, "high"), ("BF16_BF16_F32",) * 2,
    ("high",), {"a": 1}, "exact",
]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_precision_is_accepted_exactly_where_lax_accepts_it(precision):
    def result_or_none(convolve):
        try:
            return convolve(LHS, RHS, (1, 1), "SAME", precision=precision)
        except (TypeError, ValueError):
            return None

    theirs, ours = (
        result_or_none(lax.conv_general_dilated),
        result_or_none(jconv.conv_general_dilated),
    )
    assert (theirs is None) == (ours is None)
    if ours is not None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
