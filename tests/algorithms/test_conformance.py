"""Every algorithm, through every case, against the definition; a new one is tested by being there.

An algorithm may refuse a case, with its reason; then the case is skipped for it, by that reason,
and the share that each takes is printed at the end. `GRID`, and the rarer derivatives of most
cases, are slow: `pytest -m slow`.
"""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.cases import CASES, GRID, Case
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES, VARIANTS, any_algorithm, every_algorithm
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import jconv
from jconv._core.geometry import make_window
from jconv._core.problem import Problem
from jconv.selection.plan import resolve

ALL = {**ENTRIES, **VARIANTS}
# For entries that are made of others, and for the costly derivatives: one case of each kind.
FEW = ("2d", "1d-causal", "depthwise", "depthwise-strided", "groups2", "everything", "3d-strided",
       "as-large-as-input", "empty-batch")  # fmt: skip

# The code that LLVM makes without optimising is as good a witness, and there in half the time.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def through(cases, few=None):
    """Parametrizes by algorithm and case; cases beyond `few`, of made-up entries FEW, are slow."""
    quick = {case.name for case in cases} if few is None else set(few)
    return pytest.mark.parametrize(
        "algorithm, case",
        [
            pytest.param(
                algorithm,
                case,
                id=f"{algorithm}-{case}",
                marks=()
                if case.name in (quick if algorithm in jconv.ALGORITHMS else quick & set(FEW))
                else pytest.mark.slow,
            )
            for algorithm in ALL
            for case in cases
        ],
    )


def draw(rng, case, count=()):
    """A random input and kernel, `count` of each along a new first axis."""
    shapes = ((*count, *case.x), (*count, *case.kernel))
    return tuple(rng.normal(size=shape).astype("float32") for shape in shapes)


def conv(case, algorithm):
    """`jconv.conv` of a case as a function of the two arrays."""
    return lambda x, kernel: jconv.conv(x, kernel, algorithm=ALL[algorithm], **case.options)


def by_definition(case, x, kernel):
    return conv_by_definition(x, kernel, **case.options)


def terms(case):
    """Products in the sum behind one output."""
    return int(np.prod(case.kernel[:-1]))


def problem_of(case, dtype="float32"):
    """A case as `supports` and `error_bound` see it; its border counts as zeros."""
    rank, groups = len(case.kernel) - 2, case.options.get("groups", 1)
    kept = ("stride", "padding", "dilation", "input_dilation")
    window = make_window(
        case.x[1:-1],
        case.kernel[:rank],
        **{name: value for name, value in case.options.items() if name in kept},
    )
    inputs, outputs = case.kernel[-2], case.kernel[-1] // groups
    return Problem(window, 1, case.x[0], groups, inputs, outputs, jnp.dtype(dtype))


def refusal(algorithm, case, dtype="float32"):
    """Why the algorithm refuses the case; None if it takes it."""
    value = ALL[algorithm]
    return None if value == "auto" else value.supports(problem_of(case, dtype))


@pytest.fixture
def taken(request, record_property):
    """Skips what the algorithm refuses, and has the share of what it takes counted."""
    algorithm, case = request.getfixturevalue("algorithm"), request.getfixturevalue("case")
    reason = refusal(algorithm, case)
    record_property("share", (algorithm, str(case), reason is None))
    if reason is not None:
        with pytest.raises(ValueError, match="cannot, because"):
            resolve(ALL[algorithm], problem_of(case))
        pytest.skip(f"{algorithm} refuses: {reason}")


def slack(algorithm, case):
    """How much less exact the algorithm may be than sums are, here or in its gradients."""
    value, problem = ALL[algorithm], problem_of(case)
    if value == "auto":
        return 1.0
    window, ratios = problem.window, []
    for derived in (window, window.input_gradient(), window.kernel_gradient()):
        which = Problem(derived, *(problem.__dict__[name] for name in
                        ("pairs", "images", "groups", "inputs", "outputs", "dtype")))  # fmt: skip
        if math.prod(derived.output) and value.supports(which) is None:
            ratios.append(value.error_bound(which) / jconv.Xla().error_bound(which))
    return max(1.0, *ratios) if ratios else 1.0


def assert_close(actual, expected, terms, slack=1.0, eps=2**-23):
    # Summing `terms` products of normal numbers errs by about sqrt(terms) roundings of
    # sqrt(terms); 16 of these leave room for the tails and for two sums in a row.
    actual = np.asarray(actual)
    assert actual.shape == expected.shape
    error = 16 * eps * slack
    np.testing.assert_allclose(actual, expected, rtol=error, atol=error * max(terms, 1))


@through([*CASES, *GRID], few=[case.name for case in CASES])
@pytest.mark.usefixtures("taken")
def test_matches_the_definition_with_first_derivatives(algorithm, case, rng):
    """The map is bilinear, so the definition's differences of any step are exact derivatives."""
    x, kernel = draw(rng, case)
    dx, dkernel = draw(rng, case)
    along_x, along_kernel = by_definition(case, dx, kernel), by_definition(case, x, dkernel)
    y_bar = rng.normal(size=along_x.shape).astype("float32")

    @jit
    def derivatives(x, kernel, dx, dkernel, y_bar):
        f = conv(case, algorithm)
        y, dy = jax.jvp(f, (x, kernel), (dx, dkernel))
        return y, dy, *jax.vjp(f, x, kernel)[1](y_bar)

    y, dy, x_bar, kernel_bar = derivatives(x, kernel, dx, dkernel, y_bar)
    assert y.dtype == jnp.float32
    close = functools.partial(assert_close, slack=slack(algorithm, case))
    close(y, by_definition(case, x, kernel), terms(case))
    close(dy, along_x + along_kernel, 2 * terms(case))
    assert x_bar.shape == x.shape and kernel_bar.shape == kernel.shape
    scale = y.size * terms(case)
    close(np.vdot(x_bar, dx), np.vdot(y_bar, along_x), scale)
    close(np.vdot(kernel_bar, dkernel), np.vdot(y_bar, along_kernel), scale)


@through(CASES, few=["2d", "depthwise-many-taps", "everything"])
@pytest.mark.usefixtures("taken")
def test_eager_is_the_same(algorithm, case, rng):
    x, kernel = draw(rng, case)
    y = conv(case, algorithm)(x, kernel)
    assert_close(y, by_definition(case, x, kernel), terms(case), slack(algorithm, case))


@through(CASES, few=["1d", "depthwise", "groups2", "everything"])
@pytest.mark.usefixtures("taken")
def test_hessian_is_a_product_of_the_definitions_columns(algorithm, case, rng):
    if np.prod(case.kernel) > 130:
        pytest.skip("a Hessian of over 130 x 130 tells nothing that a smaller one does not")
    x, kernel = draw(rng, case)
    f = conv(case, algorithm)

    @jit
    @jax.hessian
    def hessian(kernel):
        return 0.5 * jnp.sum(f(x, kernel) ** 2)

    columns = np.array(
        [by_definition(case, x, e.reshape(case.kernel)).ravel() for e in np.eye(kernel.size)]
    )
    expected = columns @ columns.T
    actual = hessian(kernel).reshape(expected.shape)
    assert_close(actual, expected, columns.shape[1], slack(algorithm, case))


@pytest.mark.parametrize("mapped", ["x", "kernel", "both"])
@through(CASES, few=["depthwise-strided", "everything"])
@pytest.mark.usefixtures("taken")
def test_vmap_with_both_gradients(algorithm, case, mapped, rng):
    """Batched along axes that are not the first, against the definition of one at a time."""
    count = 3
    xs, kernels = draw(rng, case, (count,))
    if mapped == "x":
        kernels[:] = kernels[0]
    elif mapped == "kernel":
        xs[:] = xs[0]
    dxs, dkernels = draw(rng, case, (count,))
    y_shape = by_definition(case, xs[0], kernels[0]).shape
    y_bars = rng.normal(size=(count, *y_shape)).astype("float32")

    def one(x, kernel, y_bar):
        y, pull = jax.vjp(conv(case, algorithm), x, kernel)
        return y, *pull(y_bar)

    x_axis = None if mapped == "kernel" else 1
    kernel_axis = None if mapped == "x" else kernels.ndim - 1
    ys, x_bars, kernel_bars = jit(jax.vmap(one, (x_axis, kernel_axis, 0)))(
        xs[0] if x_axis is None else np.moveaxis(xs, 0, x_axis),
        kernels[0] if kernel_axis is None else np.moveaxis(kernels, 0, kernel_axis),
        y_bars,
    )
    close = functools.partial(assert_close, slack=slack(algorithm, case))
    for i in range(count):
        x, kernel, y_bar = xs[i], kernels[i], y_bars[i]
        scale = y_bar.size * terms(case)
        close(ys[i], by_definition(case, x, kernel), terms(case))
        along_x = by_definition(case, dxs[i], kernel)
        close(np.vdot(x_bars[i], dxs[i]), np.vdot(y_bar, along_x), scale)
        along_kernel = by_definition(case, x, dkernels[i])
        close(np.vdot(kernel_bars[i], dkernels[i]), np.vdot(y_bar, along_kernel), scale)


def test_what_every_algorithm_must_take():
    """All of the windows or, of `winograd`, those that it is for."""
    cases = [*CASES, *GRID]
    assert len(cases) >= 300
    for name in ("xla", "direct", "im2col", "fft", "overlap_add", "phases", "split"):
        assert [str(case) for case in cases if refusal(name, case)] == []
    for case in cases:
        window = problem_of(case).window
        if set(window.stride) == {1} and all(t <= 7 for t in window.taps):
            assert refusal("winograd", case) is None, case


DTYPES = ["float64", "bfloat16", "float16", "int8", "int32", "uint8", "complex64", "complex128"]
DTYPE_CASES = [
    case
    for case in CASES
    if case.name in ("1d", "2d", "everything", "depthwise", "depthwise-many-taps", "valid",
                     "as-large-as-input", "groups3-strided", "reflect", "empty-batch")
]  # fmt: skip


@through(DTYPE_CASES, few=["depthwise-many-taps", "groups3-strided"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(case, algorithm, dtype, rng):
    with jax.enable_x64(True):
        if reason := refusal(algorithm, case, dtype):
            pytest.skip(f"{algorithm} refuses: {reason}")
        dtype = jnp.dtype(dtype)
        if dtype.kind in "iu":
            x, kernel = (rng.integers(0, 100, size=s).astype(dtype) for s in (case.x, case.kernel))
        else:
            x, kernel = (rng.normal(size=s) for s in (case.x, case.kernel))
            if dtype.kind == "c":
                x, kernel = x + 1j * x[::-1], kernel + 1j * kernel[..., ::-1]
            x, kernel = jnp.asarray(x, dtype), jnp.asarray(kernel, dtype)

        @jit
        def with_gradients(x, kernel):
            y, pull = jax.vjp(conv(case, algorithm), x, kernel)
            return (y, *pull(y)) if dtype.kind not in "iu" else (y,)

        y, *bars = with_gradients(x, kernel)
        assert y.dtype == dtype and all(bar.dtype == dtype for bar in bars)
        expected = conv_by_definition(x, kernel, **case.options)
        if dtype.kind in "iu":
            # Integers wrap around, as everywhere in JAX.
            np.testing.assert_array_equal(np.asarray(y), expected.astype(dtype))
            return
        # 16-bit floats are summed in float32 and rounded once at the end: one of their own
        # roundings, and no more of them in longer sums.
        half = dtype.itemsize == 2
        eps = float(jnp.finfo(dtype).eps)
        error = 16 * (2**-23 if half else eps) * slack(algorithm, case) * terms(case)
        np.testing.assert_allclose(
            np.asarray(y).astype(expected.dtype),
            expected,
            rtol=eps if half else 16 * eps,
            atol=error,
        )


@any_algorithm()
@pytest.mark.parametrize(
    "x_dtype, kernel_dtype, preferred, result",
    [
        ("bfloat16", "float32", None, "float32"),
        ("float32", "float16", None, "float32"),
        ("int8", "float32", None, "float32"),
        ("int8", "int8", "int32", "int32"),
        ("uint8", "int8", None, "int16"),
        ("bfloat16", "bfloat16", "float32", "float32"),
        ("float32", "float32", "bfloat16", "bfloat16"),
        ("float32", "complex64", None, "complex64"),
    ],
)
def test_dtypes_promote_as_in_jax(algorithm, x_dtype, kernel_dtype, preferred, result, rng):
    x = jnp.asarray(rng.integers(0, 9, size=(1, 5, 5, 2)), x_dtype)
    kernel = jnp.asarray(rng.integers(0, 9, size=(3, 3, 2, 2)), kernel_dtype)
    f = lambda x, kernel: jconv.conv(
        x, kernel, algorithm=ENTRIES[algorithm], preferred_element_type=preferred
    )
    inexact = jnp.issubdtype(jnp.result_type(x, kernel), jnp.inexact)
    if not inexact and algorithm in ("winograd", "fft", "overlap_add"):
        with pytest.raises(ValueError, match="not exact in u?int"):
            f(x, kernel)
        return
    y = f(x, kernel)
    assert y.dtype == jnp.dtype(result)
    expected = conv_by_definition(*(np.asarray(a).real.astype(int) for a in (x, kernel)))
    tolerance = 2**-8 if result == "bfloat16" else 0
    if algorithm in ("winograd", "fft", "overlap_add"):
        tolerance = max(tolerance, 2**-16)  # no longer exact on whole numbers
    np.testing.assert_allclose(np.asarray(y).astype(complex), expected, rtol=tolerance,
                               atol=100 * tolerance)  # fmt: skip
    if all(jnp.issubdtype(d, jnp.floating) for d in (x.dtype, kernel.dtype)):
        x_bar, kernel_bar = jax.vjp(f, x, kernel)[1](y)
        assert x_bar.dtype == x.dtype and kernel_bar.dtype == kernel.dtype


@pytest.mark.filterwarnings("error::DeprecationWarning")  # of a cast from complex to real
def test_gradients_of_real_operands_whose_result_is_complex(rng):
    x, kernel = (jnp.asarray(rng.normal(size=s), "float32") for s in ((2, 5, 5, 3), (3, 3, 3, 4)))
    y_bar = jnp.asarray(rng.normal(size=(2, 5, 5, 4)) * (1 + 2j), "complex64")
    f = lambda dtype: lambda *both: jconv.conv(*both, preferred_element_type=dtype)
    bars = jax.vjp(f(jnp.complex64), x, kernel)[1](y_bar)
    expected = jax.vjp(f(jnp.float32), x, kernel)[1](y_bar.real)
    for bar, wanted in zip(bars, expected, strict=True):
        np.testing.assert_allclose(bar, wanted, rtol=1e-4, atol=1e-4)


LAYOUTS = [
    ("NWC", (0, 1, 2), (0, 1, 2)),
    ("NCW", (0, 2, 1), (2, 1, 0)),
    ("NHWC", (0, 1, 2, 3), (0, 1, 2, 3)),
    ("NCHW", (0, 3, 1, 2), (3, 2, 0, 1)),
    ("NDHWC", (0, 1, 2, 3, 4), (0, 1, 2, 3, 4)),
    ("NCDHW", (0, 4, 1, 2, 3), (4, 3, 0, 1, 2)),
    (("CHWN", "IHWO", "NHWC"), (3, 1, 2, 0), (2, 0, 1, 3)),
]


@any_algorithm()
@pytest.mark.parametrize("layout, x_order, kernel_order", LAYOUTS, ids=lambda v: str(v))
def test_layouts(algorithm, layout, x_order, kernel_order, rng):
    rank = len(x_order) - 2
    x = rng.normal(size=(2, *(5, 4, 3)[:rank], 4)).astype("float32")
    kernel = rng.normal(size=(*(3, 2, 2)[:rank], 2, 6)).astype("float32")
    options = {"stride": (2, 1, 1)[:rank], "groups": 2, "flip": True}
    y = jconv.conv(x.transpose(x_order), kernel.transpose(kernel_order), layout=layout,
                   algorithm=ENTRIES[algorithm], **options)  # fmt: skip
    expected = conv_by_definition(x, kernel, **options)
    if isinstance(layout, str):
        expected = expected.transpose(x_order)
    assert_close(y, expected, kernel.size, slack=8)


@st.composite
def problems(draw):
    """Shapes and options that leave at least one output."""
    rank = draw(st.integers(1, 3))
    small = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * rank))
    taps, dilation, gaps = small(1, 4), small(1, 3), small(1, 3)
    size, stride = small(1, 7), small(1, 3)
    padding = []
    for n, k, d, g in zip(size, taps, dilation, gaps, strict=True):
        low = draw(st.integers(-2, 4))
        least = d * (k - 1) + 1 - ((n - 1) * g + 1) - low
        padding.append((low, draw(st.integers(max(least, -2), max(least, -2) + 3))))
    groups = draw(st.integers(1, 3))
    into, out, n = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    options = dict(
        stride=stride, dilation=dilation, input_dilation=gaps, padding=padding, groups=groups,
        flip=draw(st.booleans()),
    )  # fmt: skip
    return (n, *size, groups * into), (*taps, into, groups * out), options


@every_algorithm
@settings(max_examples=15, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])  # fmt: skip
@given(problem=problems())
def test_drawn_windows(algorithm, problem):
    x_shape, kernel_shape, options = problem
    case = Case("drawn", x_shape, kernel_shape, options)
    assume(refusal(algorithm, case) is None)
    close = functools.partial(assert_close, slack=slack(algorithm, case))
    rng = np.random.default_rng(0)
    x = rng.normal(size=x_shape).astype("float32")
    kernel = rng.normal(size=kernel_shape).astype("float32")
    dx, dkernel = x[:, ::-1] + 1, kernel[::-1] + 1

    @jit
    def with_gradients(x, kernel):
        y, pull = jax.vjp(conv(case, algorithm), x, kernel)
        return y, *pull(jnp.ones_like(y))

    y, x_bar, kernel_bar = with_gradients(x, kernel)
    count = int(np.prod(kernel_shape[:-1]))
    close(y, conv_by_definition(x, kernel, **options), count)
    assert y.shape == jconv.output_shape(
        x_shape, kernel_shape, **{k: v for k, v in options.items() if k != "flip"}
    )
    scale = count * y.size
    along_x, along_kernel = (
        conv_by_definition(*pair, **options).sum() for pair in ((dx, kernel), (x, dkernel))
    )
    close(np.vdot(x_bar, dx), along_x, scale)
    close(np.vdot(kernel_bar, dkernel), along_kernel, scale)


def test_all_algorithms_share_one_signature():
    signatures = {str(inspect.signature(algorithm)) for algorithm in jconv.ALGORITHMS.values()}
    assert len(signatures) == 1
