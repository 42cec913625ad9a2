"""Errors of `jconv.conv`: each names the argument, the allowed and the received value."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.valid_calls import KERNEL, RANDOM_KEYS, TOO_LARGE, X, assert_error, conv
from jax import lax

import jconv

AXES = (0, 3, 1, 2)

INVALID_CALLS = [
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(stride=1.5), "`stride` must be an int", "stride=1.5"),
    (dict(stride=True), "`stride` must be an int", "stride=True"),
    (dict(stride="2"), "`stride` must be an int", "stride='2'"),
    (dict(stride=(1, 2, 3)), "one for each of the 2 spatial axes", "which has 3"),
    (dict(stride=None), "`stride` must be an int", "stride=None"),
    (dict(stride={1, 2}), "`stride` must be an int", "stride={1, 2}"),
    (dict(stride=2**70), "at most 2,147,483,647", "stride=1180591620717411303424"),
    (dict(padding={1: 1, 2: 2}), "`padding` must be one of", "padding={1: 1, 2: 2}"),
    (dict(padding=2**40), "`padding` must be one of", "padding=1099511627776"),
    (dict(preferred_element_type=["f4"]), "`preferred_element_type` must be", "f4"),
    (dict(preferred_element_type="int32"), "must be floating or complex", "int32 for float32"),
    (dict(x=X.astype("M8[s]")), "`x` must be an array of numbers", "datetime64[s]"),
    (dict(x=np.zeros((2, 6, 6, 4), [("a", "f4")])), "`x` must be an array of numbers", "'a'"),
    (dict(dilation=-1), "`dilation` must be an int of at least 1", "dilation=-1"),
    (dict(dilation=(1, 0)), "`dilation` must be an int of at least 1", "dilation=0"),
    (dict(input_dilation=0), "`input_dilation` must be an int", "input_dilation=0"),
    (dict(padding="SAEM"), "`padding` must be one of ['SAME'", "padding='SAEM'"),
    (dict(padding=1.0), "`padding` must be one of", "padding=1.0"),
    (dict(padding=None), "`padding` must be one of", "padding=None"),
    (dict(padding=[(1, 1)]), "for each of the 2 spatial axes", "which has 1"),
    (dict(padding=[(1, 1), (1, 1), (0, 0)]), "for each of the 2 spatial axes", "which has 3"),
    (dict(padding=[(1, 1), (1, 2, 3)]), "an int or a pair (before, after)", "(1, 2, 3) in it"),
    (dict(padding=[(1, 1), "SAME"]), "an int or a pair (before, after)", "'SAME' in it"),
    (dict(padding="CAUSAL"), "one spatial axis", "2 spatial axes"),
    (dict(padding=-2), "nothing is left", "padding (-2, -2)"),
    (dict(padding="VALID", dilation=3), "nothing is left", "spans 7 pixels"),
    (dict(padding_mode="wrap"), "`padding_mode` must be one of ['zeros'", "padding_mode='wrap'"),
    (dict(padding_mode="reflect", input_dilation=2), "must be 'zeros'", "padding_mode='reflect'"),
    (dict(x=X[:, :0], padding_mode="circular"), "no pixels to continue", "(0, 6)"),
    (dict(groups=0), "`groups` must be an int of at least 1", "groups=0"),
    (dict(groups=2.0), "`groups` must be an int of at least 1", "groups=2.0"),
    (dict(groups=3), "`groups` must divide the input channels", "groups=3 with 4"),
    (dict(kernel=KERNEL[..., :1, :6], groups=4), "divide the output channels", "groups=4 with 6"),
    (dict(kernel=KERNEL[:, :, :2]), "`kernel` must take the channels of `x`", "`groups=2`"),
    (dict(layout="NCHW"), "`kernel` must take the channels of `x`", "Check `layout`"),
    (dict(layout="NWC"), "`layout` must be 'NHWC', 'NCHW'", "layout='NWC'"),
    (dict(layout=5), "`layout` must be 'NHWC', 'NCHW'", "layout=5"),
    (dict(layout=("NHWC", "HWIO")), "`layout` must be 'NHWC', 'NCHW'", "layout=('NHWC'"),
    (dict(layout=("NHWC", "HWXX", "NHWC")), "`layout` must be 'NHWC'", "HWXX"),
    (dict(flip="yes"), "`flip` must be True or False", "flip='yes'"),
    (dict(precision="exact"), "`precision` must be None", "precision='exact'"),
    (dict(preferred_element_type="float33"), "`preferred_element_type` must be", "'float33'"),
    (dict(preferred_element_type=bool), "`preferred_element_type` must be", "bool"),
    (dict(x=X + 1j, preferred_element_type="float32"), "must be complex", "float32 for complex64"),
    (dict(algorithm="winnograd"), "`algorithm` must be 'auto', one of ['xla'", "'winnograd'"),
    (dict(algorithm=jconv.conv), "`algorithm` must be 'auto'", "function conv"),
    (dict(tolerance=0), "`tolerance` must be None or a positive number", "tolerance=0"),
    (dict(tolerance=float("nan")), "`tolerance` must be None or a positive", "tolerance=nan"),
    (dict(tolerance="tight"), "`tolerance` must be None or a positive", "tolerance='tight'"),
    (dict(x=X[0]), "`x` must have as many axes as `kernel`", "`x[None]`"),
    (dict(x=X[0, :, :, 0]), "`x` must have as many axes as `kernel`", "`x[None, ..., None]`"),
    (dict(x=X[None]), "`x` must have as many axes as `kernel`", "`jax.vmap`"),
    (dict(kernel=KERNEL[:, :, 0, 0]), "at least one spatial axis", "`[..., None, None]`"),
    (dict(kernel=KERNEL[:0]), "at least one tap", "0 along axis 0"),
    (dict(x=X > 0, kernel=KERNEL > 0), "must be numbers", "bool"),
    (dict(x=X.astype(str)), "`x` must be an array of numbers", "<U"),
    (dict(x="photo.png"), "`x` must be an array", "str"),
    (dict(kernel=None), "`kernel` must be an array", "NoneType"),
    (dict(x=[[1, 2], [3]]), "`x` must be an array", "list"),
    (dict(x=RANDOM_KEYS), "`x` must be an array of numbers", "key<fry>"),
    (dict(kernel=RANDOM_KEYS[:, :3, :3]), "`kernel` must be an array of numbers", "key<fry>"),
    (dict(x=np.ma.masked_array(X, X > 0)), "`x` must be an array", "masked array. Fill"),
    (dict(x=X.astype(">f4")), "`x` must be an array of numbers", "in another order"),
    (dict(x=X.astype(object)), "`x` must be an array of numbers", "an array of object"),
    (dict(x=[[[[10**400]]]]), "`x` must be an array of numbers", "list"),
    (dict(x=jnp.asarray(X, "float8_e4m3fn")), "dtypes that JAX promotes", "float8_e4m3fn, kernel"),
    (dict(kernel=jnp.asarray(KERNEL, "int4")), "dtypes that JAX promotes", "kernel.dtype=int4"),
    (dict(layout=lax.ConvDimensionNumbers(None, None, None)), "`layout` must be", "from 0 to 3"),
    (dict(layout=lax.ConvDimensionNumbers(AXES, AXES, (0, 1, 2, 2))), "`layout` must be", "once"),
    (dict(layout=lax.ConvDimensionNumbers(AXES, AXES, ([], 1, 2, 3))), "`layout` must be", "once"),
    (dict(layout=("NHWC", None, "NHWC")), "`layout` must be", "None"),
    (dict(precision={}), "`precision` must be None", "precision={}"),
    (dict(precision=0), "`precision` must be None", "precision=0"),
    (dict(precision=("high", "exact")), "`precision` must be None", "('high', 'exact')"),
    (dict(precision=("high", None)), "`precision` must be None", "('high', None)"),
    (dict(precision=("high",) * 3), "`precision` must be None", "('high', 'high', 'high')"),
    (dict(flip=1), "`flip` must be True or False", "flip=1"),
    (dict(tolerance=float("inf")), "`tolerance` must be None or a positive", "tolerance=inf"),
    (dict(padding_mode=["zeros"]), "`padding_mode` must be one of", "('zeros',)"),
    (dict(padding=TOO_LARGE), "`padding` must be one of", "padding=2147483648"),
    (dict(padding=(TOO_LARGE, 0)), "At most 2,147,483,647", "(2147483648, 0)"),
    (dict(padding=((1, 1), (0, TOO_LARGE))), "At most 2,147,483,647", "(0, 2147483648)"),
    (dict(padding=TOO_LARGE // 2), "at most 2,147,483,647 pixels", "(1073741824, 1073741824)"),
    (dict(padding=((TOO_LARGE - 1, 1 - TOO_LARGE), 0)), "at most 2,147,483,647",
     "(2147483647, -2147483647)"),
    (dict(dilation=TOO_LARGE - 1), "at most 2,147,483,647 pixels", "dilation=2147483647"),
    (dict(input_dilation=TOO_LARGE - 1), "at most 2,147,483,647 pixels",
     "input_dilation=2147483647"),
    (dict(groups="2"), "`groups` must be an int of at least 1", "groups='2'"),
    (dict(groups=True), "`groups` must be an int of at least 1", "groups=True"),
    (dict(algorithm={}), "`algorithm` must be 'auto'", "algorithm={}"),
]  # fmt: skip
every_invalid_call = pytest.mark.parametrize(
    "options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS))
)


@pytest.mark.usefixtures("unchecked")
@every_invalid_call
def test_error_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(conv, options, allowed, received)
