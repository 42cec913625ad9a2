"""`jconv.conv_transpose` against the adjoint of the definition and against `lax.conv_transpose`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.definition import conv_by_definition

import jconv

# (sizes of the input, kernel (*taps, out / groups, in), options)
CASES = [
    ((7,), (3, 2, 4), {}),
    ((6,), (4, 2, 4), {"stride": 2}),
    ((5,), (3, 2, 4), {"stride": 3, "padding": "CAUSAL"}),
    ((5, 4), (3, 3, 2, 4), {"stride": 2}),
    ((5, 4), (3, 2, 2, 4), {"stride": 2, "padding": "SAME_LOWER"}),
    ((5, 4), (4, 4, 2, 4), {"stride": 2, "padding": 1}),
    ((5, 4), (3, 3, 2, 4), {"padding": "FULL"}),
    ((5, 4), (3, 3, 2, 4), {"stride": (2, 3), "padding": "VALID", "output_padding": (1, 2)}),
    ((5, 4), (3, 3, 2, 4), {"stride": 2, "output_size": (9, 8)}),
    ((5, 4), (3, 2, 2, 4), {"dilation": 2, "padding": [(1, 0), (2, 1)], "flip": True}),
    ((5, 4), (1, 1, 2, 4), {"stride": 3, "padding": "VALID"}),
    ((5, 4), (3, 3, 1, 4), {"groups": 2, "stride": 2, "padding": 1}),
    ((5, 4), (3, 3, 1, 4), {"groups": 4}),
    ((6, 5), (3, 3, 2, 4), {"padding_mode": "reflect"}),
    ((6, 5), (5, 3, 2, 4), {"padding_mode": "circular", "stride": 2}),
    ((6, 5), (3, 3, 2, 4), {"padding_mode": "replicate", "padding": [(2, 1), (0, 3)]}),
    ((3, 4, 2), (2, 3, 2, 2, 4), {"stride": (2, 1, 2)}),
]
ids = lambda value: str(value) if isinstance(value, dict) else None
every_case = pytest.mark.parametrize("size, kernel_shape, options", CASES, ids=ids)


def forward_options(options):
    """Return the options of the convolution whose adjoint is computed."""
    return {k: v for k, v in options.items() if k not in ("output_padding", "output_size")}


@pytest.mark.parametrize("algorithm", ["auto", "xla", "direct", "phases", "fft", "im2col"])
@every_case
def test_output_is_the_adjoint_of_the_definition(algorithm, size, kernel_shape, options, rng):
    x = rng.normal(size=(2, *size, 4)).astype("float32")
    kernel = rng.normal(size=kernel_shape).astype("float32")
    y = jax.jit(lambda x, k: jconv.conv_transpose(x, k, algorithm=algorithm, **options))(x, kernel)
    u = rng.normal(size=y.shape)
    forward = conv_by_definition(u, kernel, **forward_options(options))
    assert forward.shape == x.shape
    scale = np.abs(x).sum() * np.prod(kernel_shape)
    np.testing.assert_allclose(np.vdot(u, y), np.vdot(forward, x), atol=1e-6 * scale)


@every_case
def test_gradients_are_those_of_the_adjoint(size, kernel_shape, options, rng):
    x, dx = rng.normal(size=(2, 2, *size, 4)).astype("float32")
    kernel, dkernel = rng.normal(size=(2, *kernel_shape)).astype("float32")
    f = lambda x, kernel: jconv.conv_transpose(x, kernel, **options)
    y, dy = jax.jvp(f, (x, kernel), (dx, dkernel))
    np.testing.assert_allclose(dy, f(dx, kernel) + f(x, dkernel), atol=1e-3)
    u = rng.normal(size=y.shape).astype("float32")
    x_bar, kernel_bar = jax.vjp(f, x, kernel)[1](u)
    forward = conv_by_definition(u, kernel, **forward_options(options))
    np.testing.assert_allclose(x_bar, forward, atol=1e-3)
    np.testing.assert_allclose(np.vdot(kernel_bar, dkernel), np.vdot(u, f(x, dkernel)), rtol=1e-3,
                               atol=1e-2)  # fmt: skip


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("taps, stride", [(3, 2), (4, 2), (2, 3), (5, 1)])
@pytest.mark.parametrize("transpose_kernel", [False, True])
def test_named_padding_matches_lax_conv_transpose(padding, taps, stride, transpose_kernel, rng):
    x = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    kernel = rng.normal(size=(taps, taps, 3, 4)).astype("float32")
    theirs = kernel if transpose_kernel else kernel.swapaxes(-1, -2)
    expected = jax.lax.conv_transpose(x, theirs, (stride, stride), padding,
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"),
                                      transpose_kernel=transpose_kernel)  # fmt: skip
    n = np.array(x.shape[1:-1])
    options = {"output_size": tuple(n * stride + max(taps - stride, 0))}
    options = options if padding == "VALID" else {}
    y = jconv.conv_transpose(x, kernel, stride=stride, padding=padding, flip=not transpose_kernel,
                             **options)  # fmt: skip
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_lax_conv_transpose_with_pairs_is_a_convolution_of_a_dilated_input(rng):
    x = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    kernel = rng.normal(size=(3, 3, 4, 2)).astype("float32")
    pairs = [(2, 1), (0, 3)]
    expected = jax.lax.conv_transpose(x, kernel, (2, 2), pairs,
                                      dimension_numbers=("NHWC", "HWIO", "NHWC"))  # fmt: skip
    y = jconv.conv(x, kernel, input_dilation=2, padding=pairs)
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_layouts_permute_the_axes_only(rng):
    x = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    kernel = rng.normal(size=(3, 3, 2, 4)).astype("float32")
    expected = jconv.conv_transpose(x, kernel, stride=2)
    y = jconv.conv_transpose(x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), stride=2,
                             layout="NCHW")  # fmt: skip
    np.testing.assert_allclose(y.transpose(0, 2, 3, 1), expected, atol=1e-5)
    y = jconv.conv_transpose(x, kernel.transpose(3, 2, 0, 1), stride=2,
                             layout=("NHWC", "OIHW", "CHWN"))  # fmt: skip
    np.testing.assert_allclose(y.transpose(3, 1, 2, 0), expected, atol=1e-5)


def test_plan_assigns_its_algorithms_to_the_transposed_convolution_and_its_gradients(rng):
    x, kernel = jnp.ones((1, 6, 6, 2)), jnp.ones((3, 3, 2, 2))
    plan = jconv.Plan("phases", input_gradient="direct", kernel_gradient="im2col")
    f = lambda x, kernel: jconv.conv_transpose(x, kernel, stride=2, algorithm=plan).sum()

    def used_algorithms(g):
        lines = str(jax.make_jaxpr(g)(x, kernel)).split("\n")
        return sorted(n.split("(")[0].split("=")[1] for n in lines if " algorithm=" in n)

    assert used_algorithms(f) == ["Phases"]
    assert used_algorithms(jax.value_and_grad(f)) == ["Direct", "Phases"]
    assert used_algorithms(jax.value_and_grad(f, 1)) == ["Im2col", "Phases"]


@pytest.mark.parametrize("extra", [{"output_size": 1}, {"output_padding": 2}])
def test_padding_may_exceed_the_size_before_output_padding(extra):
    ones = jnp.ones((1, 1, 1))
    assert jconv.conv(ones, ones, stride=3, padding=1).shape == (1, 1, 1)
    y = jconv.conv_transpose(ones, ones, stride=3, padding=1, **extra)
    np.testing.assert_array_equal(y, 0 * ones)


def test_export_with_a_symbolic_batch():
    f = jax.jit(lambda x, k: jconv.conv_transpose(x, k, stride=2))
    n = jax.export.symbolic_shape("n")[0]
    shapes = (
        jax.ShapeDtypeStruct((n, 4, 4, 2), "float32"),
        jax.ShapeDtypeStruct((3, 3, 1, 2), "float32"),
    )
    exported = jax.export.export(f)(*shapes)
    assert exported.call(jnp.ones((3, 4, 4, 2)), jnp.ones((3, 3, 1, 2))).shape == (3, 8, 8, 1)
