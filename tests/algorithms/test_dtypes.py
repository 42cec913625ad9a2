"""Every algorithm in every dtype, and the promotion of mixed dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.cases import CASES
from helpers.conformance import (
    algorithms_and_cases,
    conv,
    error_ratio,
    jit,
    terms,
    unsupported_reason,
)
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES, any_algorithm

import jconv

DTYPES = ["float64", "bfloat16", "float16", "int8", "int32", "uint8", "complex64", "complex128"]
DTYPE_CASES = [
    case
    for case in CASES
    if case.name in ("1d", "2d", "everything", "depthwise", "depthwise-many-taps", "valid",
                     "as-large-as-input", "groups3-strided", "reflect", "empty-batch")
]  # fmt: skip


@algorithms_and_cases(DTYPE_CASES, few=["depthwise-many-taps", "groups3-strided"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_output_and_gradients_match_the_definition_in_every_dtype(case, algorithm, dtype, rng):
    with jax.enable_x64(True):
        if reason := unsupported_reason(algorithm, case, dtype):
            pytest.skip(f"{algorithm} does not support it: {reason}")
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
        # 16-bit floats are summed in float32 and rounded once at the end, so the error does not
        # grow with the number of terms.
        half = dtype.itemsize == 2
        eps = float(jnp.finfo(dtype).eps)
        error = 16 * (2**-23 if half else eps) * error_ratio(algorithm, case) * terms(case)
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
    for bar, expected_bar in zip(bars, expected, strict=True):
        np.testing.assert_allclose(bar, expected_bar, rtol=1e-4, atol=1e-4)
