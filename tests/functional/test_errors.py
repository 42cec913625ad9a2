"""What wrong arguments are told: the argument as the caller wrote it, what it may be, what came."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import jconv

X = np.ones((2, 6, 6, 4), np.float32)
KERNEL = np.ones((3, 3, 4, 8), np.float32)
BACKWARDS = KERNEL.swapaxes(-1, -2)  # for `conv_transpose`, from 4 channels to 8
LHS, RHS = X.transpose(0, 3, 1, 2), KERNEL.transpose(3, 2, 0, 1)
DEPTHWISE, POINTWISE = np.ones((3, 3, 4, 2), np.float32), np.ones((8, 5), np.float32)
KEYS = jax.random.split(jax.random.key(0), X.size).reshape(X.shape)
AXES = (0, 3, 1, 2)
HUGE = 2**31


def conv(x=X, kernel=KERNEL, **options):
    return jconv.conv(x, kernel, **options)


def conv_transpose(x=X, kernel=BACKWARDS, **options):
    return jconv.conv_transpose(x, kernel, **options)


def depthwise(x=X, kernel=DEPTHWISE, **options):
    return jconv.depthwise_conv(x, kernel, **options)


def separable(x=X, depthwise=DEPTHWISE, pointwise=POINTWISE, **options):
    return jconv.separable_conv(x, depthwise, pointwise, **options)


def general(lhs=LHS, rhs=RHS, window_strides=(1, 1), padding="SAME", **options):
    return jconv.conv_general_dilated(lhs, rhs, window_strides, padding, **options)


def shape(x_shape=X.shape, kernel_shape=KERNEL.shape, **options):
    return jconv.output_shape(x_shape, kernel_shape, **options)


def size(input=9, kernel=3, **options):
    return jconv.output_size(input, kernel, **options)


def layer(in_features=4, out_features=8, kernel_size=(3, 3), strides=1, **options):
    options = {"rngs": nnx.Rngs(0)} | options
    return jconv.nn.Conv(in_features, out_features, kernel_size, strides, **options)


def layer_on(inputs, **options):
    return layer(**options)(inputs)


def pool_on(x, window_shape=(2, 2), **options):
    return jconv.nn.MaxPool(window_shape, **options)(x)


CONV = [
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
    (dict(x=KEYS), "`x` must be an array of numbers", "key<fry>"),
    (dict(kernel=KEYS[:, :3, :3]), "`kernel` must be an array of numbers", "key<fry>"),
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
    (dict(padding=HUGE), "`padding` must be one of", "padding=2147483648"),
    (dict(padding=(HUGE, 0)), "At most 2,147,483,647", "(2147483648, 0)"),
    (dict(padding=((1, 1), (0, HUGE))), "At most 2,147,483,647", "(0, 2147483648)"),
    (dict(padding=HUGE // 2), "at most 2,147,483,647 pixels", "(1073741824, 1073741824)"),
    (dict(padding=((HUGE - 1, 1 - HUGE), 0)), "at most 2,147,483,647", "(2147483647, -2147483647)"),
    (dict(dilation=HUGE - 1), "at most 2,147,483,647 pixels", "dilation=2147483647"),
    (dict(input_dilation=HUGE - 1), "at most 2,147,483,647 pixels", "input_dilation=2147483647"),
    (dict(groups="2"), "`groups` must be an int of at least 1", "groups='2'"),
    (dict(groups=True), "`groups` must be an int of at least 1", "groups=True"),
    (dict(algorithm={}), "`algorithm` must be 'auto'", "algorithm={}"),
]  # fmt: skip


BAD_CALLS = [
    *((conv, *row) for row in CONV),
    (conv_transpose, dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (conv_transpose, dict(stride=HUGE // 2), "at most 2,147,483,647", "stride=1073741824"),
    (conv_transpose, dict(padding="SAEM"), "`padding` must be one of", "'SAEM'"),
    (conv_transpose, dict(padding=9), "`padding` must leave something", "padding=9"),
    (conv_transpose, dict(padding=HUGE), "`padding` must be one of", "padding=2147483648"),
    (conv_transpose, dict(output_padding=-1), "`output_padding` must be an int", "-1"),
    (conv_transpose, dict(output_padding=1), "`output_padding` must be smaller", "stride=(1, 1)"),
    (conv_transpose, dict(output_padding=1.0), "`output_padding` must be an int", "1.0"),
    (conv_transpose, dict(output_size=12.0), "`output_size` must be an int", "12.0"),
    (conv_transpose, dict(output_size=(6, 99)), "`output_size` must be one that", "(6, 99)"),
    (conv_transpose, dict(output_size=6, output_padding=1), "`output_padding` must be 0", "=6"),
    (conv_transpose, dict(kernel=KERNEL), "`kernel` must give the channels", "gives 8"),
    (conv_transpose, dict(groups=0), "`groups` must be an int of at least 1", "groups=0"),
    (conv_transpose, dict(x=KEYS), "`x` must be an array of numbers", "key<fry>"),
    (conv_transpose, dict(x=X[0]), "`x` must have as many axes as `kernel`", "`x[None]`"),
    (conv_transpose, dict(algorithm="quick"), "`algorithm` must be 'auto'", "'quick'"),
    (depthwise, dict(kernel=KERNEL[:, :, :3]), "channels, multiplier", "(3, 3, 3, 8)"),
    (depthwise, dict(x=X[..., :0], kernel=DEPTHWISE[:, :, :0]), "one channel", "(2, 6, 6, 0)"),
    (depthwise, dict(stride=1.5), "`stride` must be an int", "stride=1.5"),
    (depthwise, dict(layout="NWC"), "`layout` must be", "layout='NWC'"),
    (depthwise, dict(x=None), "`x` must be an array", "NoneType"),
    (depthwise, dict(kernel=DEPTHWISE[:0]), "`kernel` must have at least one tap", "axis 0"),
    (separable, dict(pointwise=POINTWISE[:4]), "`pointwise` must have the shape (8, ", "(4, 5)"),
    (separable, dict(pointwise=np.float32(1)), "`pointwise` must have the shape (8, out)", "()"),
    (separable, dict(x=X[0]), "`x` must have as many axes as `depthwise`", "`x[None]`"),
    (separable, dict(depthwise=DEPTHWISE[:, :, :2], pointwise=POINTWISE[:4]),
     "`depthwise` must have the shape", "depthwise.shape=(3, 3, 2, 2)"),
    (separable, dict(depthwise=DEPTHWISE[:0]), "`depthwise` must have at least one tap", "axis 0"),
    (separable, dict(depthwise="k"), "`depthwise` must be an array", "str"),
    (separable, dict(pointwise=None), "`pointwise` must be an array", "NoneType"),
    (separable, dict(padding=-3), "more `padding`", "nothing is left"),
    (separable, dict(depthwise=jnp.asarray(DEPTHWISE, "int4")), "`depthwise` must have dtypes",
     "depthwise.dtype=int4"),
    (separable, dict(pointwise=jnp.asarray(POINTWISE, "int4")), "`pointwise` must have dtypes",
     "pointwise.dtype=int4"),
    (general, dict(window_strides=(1,)), "`window_strides` must be one int", "which has 1"),
    (general, dict(window_strides=(0, 1)), "`window_strides` must be an int", "window_strides=0"),
    (general, dict(window_strides=None), "`window_strides` must be an int", "window_strides=None"),
    (general, dict(lhs_dilation=(1,)), "`lhs_dilation` must be one int", "lhs_dilation=(1,)"),
    (general, dict(rhs_dilation=(1.5, 1)), "`rhs_dilation` must be an int", "rhs_dilation=1.5"),
    (general, dict(rhs_dilation=(HUGE - 1, 1)), "`rhs_dilation`", "rhs_dilation=2147483647"),
    (general, dict(padding=[(1, 1)]), "`padding` must be one of", "which has 1"),
    (general, dict(padding=None), "`padding` must be one of", "padding=None"),
    (general, dict(feature_group_count=0), "`feature_group_count` must be an int", "=0"),
    (general, dict(feature_group_count=3), "`feature_group_count` must divide", "=3 with 4"),
    (general, dict(feature_group_count=None), "`feature_group_count` must be an int", "=None"),
    (general, dict(batch_group_count="2"), "`batch_group_count` must be an int", "='2'"),
    (general, dict(batch_group_count=0), "`batch_group_count` must be an int", "=0"),
    (general, dict(batch_group_count=3), "`batch_group_count` must divide the batch", "=3 with 2"),
    (general, dict(batch_group_count=2, rhs=RHS[:5]), "divide the output channels", "=2 with 5"),
    (general, dict(batch_group_count=2, rhs=RHS[:, :2]), "`rhs` must take the 4 channels of `lhs`",
     "Check `dimension_numbers`"),
    (general, dict(batch_group_count=2, feature_group_count=2),
     "`batch_group_count` and `feature_group_count` must not both", "feature_group_count=2"),
    (general, dict(dimension_numbers=("NCHW", "OIHW")), "`dimension_numbers` must be", "'OIHW')"),
    (general, dict(dimension_numbers=("NCHW", "OIXX", "NCHW")), "`dimension_numbers` must", "OIXX"),
    (general, dict(dimension_numbers=5), "`dimension_numbers` must be", "dimension_numbers=5"),
    (general, dict(lhs=LHS[0]), "`lhs` must have as many axes as `rhs`", "`lhs[None]`"),
    (general, dict(lhs=LHS[:, :3]), "`rhs` must take the channels of `lhs`", "which takes 4"),
    (general, dict(rhs=RHS[:, :2]), "`rhs` must take the channels", "`feature_group_count=2`"),
    (general, dict(rhs=None), "`rhs` must be an array", "NoneType"),
    (general, dict(lhs=LHS > 0, rhs=RHS > 0), "`lhs` and `rhs` must be numbers", "bool"),
    (general, dict(rhs=RHS[:, :, :0]), "`rhs` must have at least one tap", "axis 0"),
    (general, dict(lhs=jnp.asarray(LHS, "int4")), "`lhs` and `rhs` must have dtypes", "int4, rhs"),
    (general, dict(precision={}), "`precision` must be None", "precision={}"),
    (general, dict(preferred_element_type="int32"), "must be floating", "int32 for float32"),
    (general, dict(out_sharding=3), "`out_sharding` must be None", "out_sharding=3"),
    (general, dict(padding_mode="reflect", lhs_dilation=(2, 2)), "where `lhs_dilation`", "(2, 2)"),
    (shape, dict(x_shape=(1, 6.0, 6, 4)), "`x_shape` must be an int of at least 0", "x_shape=6.0"),
    (shape, dict(x_shape=(1, -6, 6, 4)), "`x_shape` must be an int of at least 0", "x_shape=-6"),
    (shape, dict(x_shape="2664"), "`x_shape` must be a shape", "x_shape='2664'"),
    (shape, dict(x_shape=4), "`x_shape` must be a shape", "x_shape=4"),
    (shape, dict(x_shape=(2, 6, 6, None)), "`x_shape` must be an int", "x_shape=None"),
    (shape, dict(kernel_shape=(3, 3, "4", 8)), "`kernel_shape` must be an int", "='4'"),
    (shape, dict(kernel_shape=(3, True, 4, 8)), "`kernel_shape` must be an int", "=True"),
    (shape, dict(kernel_shape=(3, 4, 8)), "of one length", "kernel_shape=(3, 4, 8)"),
    (shape, dict(x_shape=(4, 8), kernel_shape=(4, 8)), "at least one spatial", "x_shape=(4, 8)"),
    (shape, dict(kernel_shape=(0, 3, 4, 8)), "`kernel_shape` must have at least one tap", "axis 0"),
    (shape, dict(x_shape=(1, 5, 5, 3)), "take the channels of `x_shape`", "(3, 3, 4, 8)"),
    (shape, dict(padding_mode="wrap"), "`padding_mode` must be one of", "'wrap'"),
    (shape, dict(flip="yes"), "`flip` must be True or False", "'yes'"),
    (shape, dict(padding=HUGE), "`padding` must be one of", "2147483648"),
    (size, dict(input=0.5), "`input` must be an int of at least 0", "input=0.5"),
    (size, dict(input="9"), "`input` must be an int of at least 0", "input='9'"),
    (size, dict(kernel=0), "`kernel` must be an int of at least 1", "kernel=0"),
    (size, dict(kernel=True), "`kernel` must be an int of at least 1", "kernel=True"),
    (size, dict(stride=-1), "`stride` must be an int of at least 1", "stride=-1"),
    (size, dict(padding=(1, 2, 3)), "`padding` must be one of", "which has 3"),
    (size, dict(dilation=9), "Use a smaller kernel or dilation", "spans 19 pixels"),
    (jconv.Plan, dict(forward=3), "`forward` must be 'auto'", "forward=3"),
    (jconv.Plan, dict(input_gradient="quick"), "`input_gradient` must be", "'quick'"),
    (layer, dict(in_features=0), "`in_features` must be an int of at least 1", "in_features=0"),
    (layer, dict(in_features=4.0), "`in_features` must be an int", "in_features=4.0"),
    (layer, dict(out_features="8"), "`out_features` must be an int", "out_features='8'"),
    (layer, dict(out_features=True), "`out_features` must be an int", "out_features=True"),
    (layer, dict(kernel_size=(3, 0)), "`kernel_size` must be an int", "kernel_size=0"),
    (layer, dict(kernel_size=()), "`kernel_size` must have at least one", "kernel_size=()"),
    (layer, dict(kernel_size="33"), "`kernel_size` must be an int", "kernel_size='33'"),
    (layer, dict(kernel_size=3.0), "`kernel_size` must be an int", "kernel_size=3.0"),
    (layer, dict(strides=0), "`strides` must be an int of at least 1", "strides=0"),
    (layer, dict(strides=(1, 2, 3)), "`strides` must be one int, or one for each", "which has 3"),
    (layer, dict(kernel_dilation="2"), "`kernel_dilation` must be an int", "='2'"),
    (layer, dict(input_dilation=(1,)), "`input_dilation` must be one int", "which has 1"),
    (layer, dict(padding="SAEM"), "'CIRCULAR', 'REFLECT']", "padding='SAEM'"),
    (layer, dict(padding=1.5), "`padding` must be one of", "padding=1.5"),
    (layer, dict(padding=[(1, 1)]), "`padding` must be one of", "which has 1"),
    (layer, dict(padding="CAUSAL"), "one spatial axis", "2 spatial axes"),
    (layer, dict(padding=HUGE), "`padding` must be one of", "2147483648"),
    (layer, dict(padding="reflect", padding_mode="circular"), "`padding` must be a size", "'REFL"),
    (layer, dict(padding_mode="mirror"), "`padding_mode` must be one of", "'mirror'"),
    (layer, dict(algorithm="fast"), "`algorithm` must be 'auto'", "'fast'"),
    (layer, dict(algorithm=None), "`algorithm` must be 'auto'", "algorithm=None"),
    (layer, dict(feature_group_count=0), "`feature_group_count` must be an int", "=0"),
    (layer, dict(feature_group_count=3), "`feature_group_count` must divide `in_features`", "=4"),
    (layer, dict(feature_group_count=4, out_features=6), "must divide `out_features`", "=6"),
    (layer, dict(mask=np.ones((3, 3))), "`mask` must be None or an array", "(3, 3)"),
    (layer, dict(dtype="float33"), "`dtype` must be a dtype of floats", "'float33'"),
    (layer, dict(dtype="int8"), "`dtype` must be a dtype of floats", "dtype='int8'"),
    (layer, dict(param_dtype=None), "`param_dtype` must be a dtype of floats", "=None"),
    (layer, dict(preferred_element_type=bool), "`preferred_element_type` must be", "bool"),
    (layer, dict(precision={}), "`precision` must be None", "precision={}"),
    (layer, dict(kernel_init=1), "`kernel_init` must be a function", "kernel_init=1"),
    (layer, dict(use_bias="no"), "`use_bias` must be True or False", "use_bias='no'"),
    (layer, dict(rngs=0), "`rngs` must be `nnx.Rngs(seed)`", "rngs=0"),
    (layer, dict(conv_general_dilated="fft"), "`conv_general_dilated` must be a function", "'fft'"),
    (layer, dict(conv_general_dilated=jnp.dot, flip=True),
     "`conv_general_dilated` must be left out where", "flip=True"),
    (layer_on, dict(inputs=X[..., :3]), "`inputs` must end in 2 axes of space", "(2, 6, 6, 3)"),
    (layer_on, dict(inputs=X[0, 0]), "`inputs` must end in 2 axes of space", "(6, 4)"),
    (layer_on, dict(inputs="photo.png"), "`inputs` must be an array of numbers", "str"),
    (layer_on, dict(inputs=KEYS), "`inputs` must be an array of numbers", "key<fry>"),
    (layer_on, dict(inputs=jnp.asarray(X, "int4")), "`inputs` and `kernel` must have", "int4"),
    (layer_on, dict(inputs=X, kernel_dilation=HUGE - 1), "`kernel_dilation`", "=2147483647"),
    (layer_on, dict(inputs=X, kernel_size=(7, 7), padding="VALID"), "does not fit", "(kernel 7,"),
    (layer_on, dict(inputs=X, input_dilation=2, padding_mode="reflect"), "where `input_dilation`",
     "input_dilation=(2, 2)"),
    (jconv.nn.DepthwiseConv, dict(in_features=4, kernel_size=3, multiplier=0, rngs=nnx.Rngs(0)),
     "`multiplier` must be an int of at least 1", "multiplier=0"),
    (jconv.nn.DepthwiseConv, dict(in_features=None, kernel_size=3, rngs=nnx.Rngs(0)),
     "`in_features` must be an int of at least 1", "in_features=None"),
    (jconv.nn.SeparableConv, dict(in_features=4, out_features=0, kernel_size=3, rngs=nnx.Rngs(0)),
     "`out_features` must be an int of at least 1", "out_features=0"),
    (jconv.nn.MaxPool, dict(window_shape=(2, 0)), "`window_shape` must be an int of at least 1",
     "window_shape=0"),
    (jconv.nn.MaxPool, dict(window_shape=()), "`window_shape` must have at least one",
     "window_shape=()"),
    (jconv.nn.AvgPool, dict(window_shape=(2, 2), strides=(1,)), "the 2 spatial axes",
     "strides=(1,)"),
    (pool_on, dict(x=X[0, 0]), "`x` must end in 2 axes of space", "x.shape=(6, 4)"),
    (pool_on, dict(x=X, window_shape=(9, 9)), "`window_shape` must fit", "window_shape=(9, 9)"),
    (pool_on, dict(x="photo.png"), "`x` must be an array of numbers", "str"),
    (jconv.Plan, dict(forward=None), "`forward` must be 'auto', one of", "forward=None"),
    (jconv.Plan, dict(kernel_gradient="fast"), "`kernel_gradient` must be 'auto'", "'fast'"),
    (jconv.Direct, dict(unroll=-1), "`unroll` must be an int of at least 0", "unroll=-1"),
    (jconv.Im2col, dict(workspace=0), "`workspace` must be an int of at least 1", "workspace=0"),
    (jconv.Im2col, dict(workspace="64MB"), "`workspace` must be an int", "workspace='64MB'"),
    (jconv.FFT, dict(block=1.5), "`block` must be an int of at least 1", "block=1.5"),
    (jconv.OverlapAdd, dict(block=None), "`block` must be an int of at least 1", "block=None"),
    (jconv.OverlapAdd, dict(length=0), "`length` must be an int of at least 1", "length=0"),
    (jconv.Winograd, dict(block=0), "`block` must be an int of at least 1", "block=0"),
    (jconv.Winograd, dict(tile=0), "`tile` must be an int of at least 1", "tile=0"),
    (jconv.Winograd, dict(tile=(2, "4")), "or one of them for each spatial axis", "tile='4'"),
    (jconv.Winograd, dict(tile=99), "`tile` must be at most", "tile=99"),
    (jconv.Winograd, dict(tile=()), "`tile` must have an entry for each axis", "tile=()"),
    (jconv.Split, dict(unroll=-1), "`unroll` must be an int of at least 0", "unroll=-1"),
    (jconv.Split, dict(inner="xla"), "`inner` must be an algorithm", "'xla'"),
]  # fmt: skip


def told(function, options) -> str:
    with pytest.raises(ValueError) as error:
        function(**options)
    # Raised by what was called, and not somewhere inside of JAX or Flax.
    assert "jconv" in error.traceback[-1].path.parts
    return str(error.value)


@pytest.mark.parametrize(
    "function, options, allowed, received",
    BAD_CALLS,
    ids=[f"{function.__name__}-{i}" for i, (function, *_) in enumerate(BAD_CALLS)],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_calls_say_what_is_allowed_and_what_came(function, options, allowed, received):
    message = told(function, options)
    assert allowed in message
    assert received in message


@pytest.mark.parametrize(
    "function, options",
    [
        *((general, dict([option])) for option in [
            ("window_strides", None), ("padding", [(1, 1)]), ("rhs_dilation", (0, 1)),
            ("dimension_numbers", 5), ("dimension_numbers", ("NCHW", "OIXX", "NCHW")),
            ("feature_group_count", "2"), ("batch_group_count", "2"), ("lhs", LHS[0]),
            ("preferred_element_type", "int32"),
        ]),
    ],
)  # fmt: skip
def test_type_errors_where_lax_raises_them(function, options):
    arguments = dict(lhs=LHS, rhs=RHS, window_strides=(1, 1), padding="SAME") | options
    with pytest.raises(TypeError):
        lax.conv_general_dilated(**arguments)
    with pytest.raises(TypeError, match=f"`{next(iter(options))}` must"):
        function(**arguments)


@pytest.mark.parametrize("name", ["stride", "dilation", "groups", "padding", "flip", "tolerance",
                                  "padding_mode", "precision", "layout"])  # fmt: skip
def test_traced_options_are_to_be_marked_static(name):
    with pytest.raises(ValueError, match=f"`{name}` must be .*traced.* static"):
        jax.jit(lambda option: conv(**{name: option}))(1)


def test_traced_entries_of_options_and_of_the_kin_are_too():
    calls = [
        lambda n: conv(stride=(1, n)),
        lambda n: conv(padding=((1, n), (1, 1))),
        lambda n: general(window_strides=(n, 1)),
        lambda n: general(batch_group_count=n),
        lambda n: conv_transpose(output_padding=n),
        lambda n: conv_transpose(output_size=n),
        lambda n: shape(x_shape=(n, 6, 6, 4)),
        lambda n: size(input=n),
        lambda n: layer(kernel_size=n),
        lambda n: layer(strides=n),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"must be .*traced.* static"):
            jax.jit(lambda n, call=call: call(n) and None)(1)


def test_numpy_ints_are_ints():
    one, two = np.int64(1), np.int32(2)
    expected = conv(stride=2, padding=1, groups=2, kernel=KERNEL[:, :, :2])
    y = conv(stride=two, padding=((one, one), one), groups=np.uint8(2), kernel=KERNEL[:, :, :2])
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(
        general(window_strides=(two, 1), batch_group_count=two), general(window_strides=(2, 1),
        batch_group_count=2)
    )  # fmt: skip
    np.testing.assert_array_equal(conv_transpose(stride=two), conv_transpose(stride=2))
    assert shape(np.array(X.shape), tuple(map(np.int64, KERNEL.shape))) == (2, 6, 6, 8)
    assert size(np.int64(9), two, stride=two, padding=one) == 5
    made = layer(np.int64(4), np.int64(8), two, np.array([2]), padding=one,
                 feature_group_count=two)  # fmt: skip
    assert made(X[0]).shape == (6, 4, 8)


def test_settings_of_algorithms_may_be_numpy_ints_and_lists():
    assert jconv.Winograd(tile=[np.int64(2), None]) == jconv.Winograd(tile=(2, None))
    assert jconv.OverlapAdd(length=np.int32(8)) == jconv.OverlapAdd(length=8)
    assert hash(jconv.Direct(unroll=np.int64(9))) == hash(jconv.Direct(unroll=9))


def test_output_shape_takes_what_decides_no_shape():
    assert shape(padding_mode="reflect", flip=True) == (2, 6, 6, 8)
    with pytest.raises(ValueError, match="no pixels to continue"):
        shape((2, 0, 6, 4), padding_mode="reflect")


PRECISIONS = [
    None, "highest", "float32", "high", "bfloat16_3x", "tensorfloat32", "default", "bfloat16",
    "fastest", lax.Precision.HIGH, ("high", "default"), ["highest", "highest"],
    (lax.Precision.HIGH, lax.Precision.HIGHEST), lax.DotAlgorithmPreset.BF16_BF16_F32,
    "BF16_BF16_F32", lax.DotAlgorithm(np.float32, np.float32, np.float32),
    "HIGHEST", "", 0, ("high", None), (lax.Precision.HIGH, "high"), ("BF16_BF16_F32",) * 2,
    ("high",), {"a": 1}, "exact",
]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
def test_precision_is_what_lax_takes(precision):
    def taken(convolve):
        try:
            return convolve(LHS, RHS, (1, 1), "SAME", precision=precision)
        except (TypeError, ValueError):
            return None

    theirs, ours = taken(lax.conv_general_dilated), taken(jconv.conv_general_dilated)
    assert (theirs is None) == (ours is None)
    if ours is not None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
