"""JAX's own harnesses of `conv_general_dilated`, which ship in its wheel, run by jconv."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jconv

pytestmark = pytest.mark.slow

# With 64 bits, or the module leaves out the harnesses that need them.
with jax.enable_x64(True):
    harnesses = pytest.importorskip(
        "jax._src.internal_test_util.test_harnesses",
        reason="this JAX ships without its test harnesses",
        exc_type=ImportError,
    )

HARNESSES = [
    harness
    for harness in harnesses.all_harnesses
    # A second one, without XLA, is for exporters and has the same arguments.
    if harness.group_name == "conv_general_dilated" and harness.params["enable_xla"]
]


def _id(harness):
    preferred = harness.params["preferred_element_type"]
    names = [harness.name.split("_lhs")[0], np.dtype(harness.dtype).name]
    return "-".join(names + ([np.dtype(preferred).name] if preferred else []))


def test_there_are_harnesses():
    assert len(HARNESSES) > 50


@pytest.mark.parametrize("harness", HARNESSES, ids=_id)
def test_output(harness, algorithm):
    with _bits(harness):
        args, ours, theirs = _calls(harness, algorithm)
        expected, y = jax.jit(theirs)(*args), jax.jit(ours)(*args)
        assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
        _assert_close(y, expected, _scale(harness, args), harness.dtype)


@pytest.mark.parametrize("harness", HARNESSES, ids=_id)
def test_gradients(harness, algorithm):
    if not jnp.issubdtype(harness.dtype, jnp.inexact):
        pytest.skip("integers have no gradients")
    with _bits(harness):
        args, ours, theirs = _calls(harness, algorithm)

        def pull(f, y_bar):
            return jax.jit(lambda *args: jax.vjp(f, *args)[1](y_bar))(*args)

        y_bar = jnp.ones_like(jax.eval_shape(theirs, *args))
        try:
            expected = pull(theirs, y_bar)
        except Exception as error:
            pytest.skip(f"JAX has no gradient here: {type(error).__name__}")
        for bar, bar_expected in zip(pull(ours, y_bar), expected, strict=True):
            assert (bar.shape, bar.dtype) == (bar_expected.shape, bar_expected.dtype)
            # Ones take the other operand's place, and gradients sum over whole images.
            scale = np.max(np.abs(bar_expected).astype(float), initial=1) * 10
            _assert_close(bar, bar_expected, scale, harness.dtype)


def _bits(harness):
    dtypes = (harness.dtype, harness.params["preferred_element_type"] or harness.dtype)
    return jax.enable_x64(any(np.dtype(d) in ("f8", "c16", "i8", "u8") for d in dtypes))


def _calls(harness, algorithm):
    """The arguments, `lax.conv_general_dilated` of them, and ours."""
    args = harness.dyn_args_maker(np.random.RandomState(0))
    swap = functools.partial(jconv.conv_general_dilated, algorithm=algorithm)
    ours = lambda *args: swap(*harness._args_from_dynargs(args))
    return args, ours, harness.dyn_fun


def _scale(harness, args):
    """The largest sum of the products' absolute values, which rounding is in proportion to."""
    fun = lambda *args: harness.fun(*harness._args_from_dynargs(args)[:-1])
    y = fun(*(jnp.abs(jnp.asarray(arg)).astype(jnp.float32) for arg in args))
    return np.max(np.asarray(y, float), initial=1)


def _assert_close(y, expected, scale, dtype):
    y, expected = np.asarray(y), np.asarray(expected)
    if not jnp.issubdtype(dtype, jnp.inexact) and not jnp.issubdtype(y.dtype, jnp.inexact):
        np.testing.assert_array_equal(y, expected)
        return
    # The coarser of the two dtypes that the sum passes through, 60 products long.
    eps = max(float(jnp.finfo(d).eps) for d in (dtype, y.dtype) if jnp.issubdtype(d, jnp.inexact))
    wide = np.complex128 if jnp.issubdtype(y.dtype, jnp.complexfloating) else np.float64
    np.testing.assert_allclose(y.astype(wide), expected.astype(wide), rtol=0, atol=4 * eps * scale)
