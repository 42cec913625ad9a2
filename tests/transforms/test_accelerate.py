"""`jconv.accelerate` replaces every convolution of a function and changes nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.sharding import AxisType, PartitionSpec

import jconv


def convolve(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)


@jax.custom_vjp
def with_custom_vjp(x, kernel):
    return convolve(x, kernel)


with_custom_vjp.defvjp(
    lambda x, kernel: (convolve(x, kernel), (x, kernel)),
    lambda kept, y_bar: tuple(2 * bar for bar in jax.vjp(convolve, *kept)[1](y_bar)),
)


@jax.custom_jvp
def with_custom_jvp(x, kernel):
    return convolve(x, kernel)


@with_custom_jvp.defjvp
def _derivative(primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    return convolve(x, kernel), convolve(dx, kernel) + convolve(x, dkernel)


@jax.custom_vjp
def with_both_rules(x, kernel):
    return with_custom_jvp(x, kernel)


with_both_rules.defvjp(
    lambda x, kernel: jax.vjp(with_custom_jvp, x, kernel),
    lambda pull, y_bar: pull(y_bar),
)


def in_scan(x, kernel):
    return lax.scan(lambda y, _: (convolve(y, kernel), None), x, None, length=2)[0]


def in_while(x, kernel):
    step = lambda state: (convolve(state[0], kernel), state[1] + 1)
    return lax.while_loop(lambda state: state[1] < 2, step, (x, 0))[0]


def in_cond(x, kernel):
    return lax.cond(x.sum() > 0, convolve, lambda x, kernel: 2 * convolve(x, kernel), x, kernel)


def in_shard_map(x, kernel):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Auto,))
    batch, whole = PartitionSpec("batch"), PartitionSpec()
    mapped = jax.shard_map(convolve, mesh=mesh, in_specs=(batch, whole), out_specs=batch)
    return mapped(x, kernel)


FUNCTIONS = {
    "plain": convolve,
    "jit": jax.jit(convolve),
    "checkpoint": jax.checkpoint(convolve),
    "scan": in_scan,
    "while": in_while,
    "map": lambda x, kernel: lax.map(lambda x: convolve(x[None], kernel)[0], x),
    "cond": in_cond,
    "custom_vjp": with_custom_vjp,
    "custom_jvp": with_custom_jvp,
    "shard_map": in_shard_map,
    "nested": jax.jit(jax.checkpoint(jax.jit(with_custom_vjp))),
    "vmap": lambda x, kernel: jax.vmap(convolve, (None, 0))(x, jnp.stack([kernel, kernel])),
    "transposed": lambda x, kernel: lax.conv_transpose(x, kernel, (2, 2), "SAME"),
    "batch groups": lambda x, kernel: lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", batch_group_count=2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    ),
}  # fmt: skip
every_function = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.fixture
def arrays(rng):
    shapes = ((2, 6, 6, 4), (3, 3, 4, 4))
    return tuple(jnp.asarray(rng.normal(size=shape), jnp.float32) / 3 for shape in shapes)


def counts(function, *arrays):
    """Return the number of convolutions by jconv and by `lax` in the program of a function."""
    text = str(jax.make_jaxpr(function)(*arrays))
    return text.count("jconv_conv["), text.count(" conv_general_dilated[")


@every_function
def test_every_convolution_is_replaced(name, arrays):
    function = FUNCTIONS[name]
    by_jconv, by_lax = counts(jconv.accelerate(function), *arrays)
    assert by_jconv and not by_lax
    assert (
        counts(function, *arrays)[0] == 0
    )  # the accelerated program is not cached for this function
    expected = function(*arrays)
    for run in (jconv.accelerate(function), jax.jit(jconv.accelerate(function))):
        np.testing.assert_allclose(run(*arrays), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "while"])
def test_convolutions_of_gradients_are_replaced(name, arrays):
    def gradients(function):
        return jax.grad(lambda *arrays: (function(*arrays) ** 2).sum(), (0, 1))

    by_jconv, by_lax = counts(gradients(jconv.accelerate(FUNCTIONS[name])), *arrays)
    assert by_jconv >= 3 and not by_lax
    actual = gradients(jconv.accelerate(FUNCTIONS[name]))(*arrays)
    expected = gradients(FUNCTIONS[name])(*arrays)
    for bar, wanted in zip(actual, expected, strict=True):
        np.testing.assert_allclose(bar, wanted, rtol=1e-3, atol=1e-3)


@jax.custom_vjp
def with_optimized_remat(x, kernel):
    return convolve(x, kernel)


with_optimized_remat.defvjp(
    lambda x, kernel: (convolve(x, kernel), (x, kernel)),
    lambda kept, y_bar: jax.vjp(convolve, *kept)[1](y_bar),
    optimize_remat=True,
)


@pytest.mark.parametrize(
    "function",
    [with_custom_vjp, with_custom_jvp, with_optimized_remat, with_both_rules],
    ids=["vjp", "jvp", "remat", "both"],
)
def test_convolutions_of_deferred_rules_are_replaced(function, arrays):
    def gradients(function):
        return jax.grad(lambda *arrays: (function(*arrays) ** 2).sum(), (0, 1))

    inner = gradients(jax.jit(jconv.accelerate(function)))
    for run in (inner, gradients(jax.checkpoint(jconv.accelerate(function)))):
        by_jconv, by_lax = counts(run, *arrays)
        assert by_jconv >= 3 and not by_lax
    for bar, wanted in zip(inner(*arrays), gradients(function)(*arrays), strict=True):
        np.testing.assert_allclose(bar, wanted, rtol=1e-3, atol=1e-3)
    assert counts(gradients(function), *arrays)[0] == 0  # the function itself was not changed


def test_nondiff_argnames_of_a_custom_vjp_still_work(arrays):
    @functools.partial(jax.custom_vjp, nondiff_argnames=("power",))
    def powered(function, x, power=1):
        return convolve(x, function) ** power

    powered.defvjp(
        lambda function, x, power: (powered(function, x, power), (function, x)),
        lambda power, kept, y_bar: tuple(power * y_bar.sum() * k for k in kept),
    )
    x, kernel = arrays
    run = lambda kernel: powered(function=kernel, x=x, power=2).sum()
    expected = jax.grad(run)(kernel)
    np.testing.assert_allclose(jax.grad(jconv.accelerate(run))(kernel), expected, rtol=1e-4)


def test_unsupported_convolutions_are_left_to_lax():
    matrices = jnp.ones((2, 3)), jnp.ones((4, 3))  # no spatial axis
    no_space = lambda x, kernel: lax.conv_general_dilated(x, kernel, (), ())
    assert counts(jconv.accelerate(no_space), *matrices) == (0, 1)
    np.testing.assert_array_equal(jconv.accelerate(no_space)(*matrices), 3 * jnp.ones((2, 4)))

    booleans = jnp.ones((1, 1, 3, 3), bool), jnp.ones((1, 1, 2, 2), bool)
    convolve_booleans = lambda x, kernel: lax.conv(x, kernel, (1, 1), "VALID")
    assert jconv.accelerate(convolve_booleans)(*booleans).all()

    def exported(words, shape=(3, 3, 4, 4)):
        x = jax.ShapeDtypeStruct(jax.export.symbolic_shape(words), jnp.float32)
        export = jax.export.export(jax.jit(jconv.accelerate(convolve, algorithm="direct")))
        return export(x, jax.ShapeDtypeStruct(shape, jnp.float32)).mlir_module()

    assert "stablehlo.convolution" in exported("2, h, w, 4")
    assert "stablehlo.convolution" not in exported(
        "n, 6, 6, 4"
    )  # an unknown batch size is supported


def test_the_context_applies_to_functions_jitted_before(arrays):
    jitted = jax.jit(convolve)
    before = jitted(*arrays)
    with jconv.accelerated("direct"):
        assert "algorithm=Direct(" in str(jax.make_jaxpr(jitted)(*arrays))
        np.testing.assert_allclose(jitted(*arrays), before, rtol=1e-4, atol=1e-4)
        with jconv.accelerated("im2col"):
            assert "algorithm=Im2col(" in str(jax.make_jaxpr(jitted)(*arrays))
        assert "algorithm=Direct(" in str(jax.make_jaxpr(jitted)(*arrays))
    assert counts(jitted, *arrays) == (0, 1)


def test_an_exception_ends_the_context(arrays):
    with pytest.raises(RuntimeError), jconv.accelerated():
        raise RuntimeError
    assert counts(convolve, *arrays) == (0, 1)


def test_a_name_is_a_preference_and_a_plan_is_strict():
    x, kernel = jnp.ones((1, 6, 6, 1), jnp.int32), jnp.ones((3, 3, 1, 1), jnp.int32)
    assert "algorithm=auto" in str(
        jax.make_jaxpr(jconv.accelerate(convolve, algorithm="fft"))(x, kernel)
    )
    with pytest.raises(ValueError, match="not exact in int32"):
        jconv.accelerate(convolve, algorithm=jconv.Plan("fft"))(x, kernel)


@pytest.mark.parametrize("dtype", ["int4", "int8", "float8_e4m3fn", "bfloat16", "complex64"])
def test_dtypes_of_lax(dtype):
    x, kernel = jnp.ones((1, 6, 6, 1), dtype), jnp.ones((3, 3, 1, 1), dtype)
    y = jconv.accelerate(convolve)(x, kernel)
    with jax.default_device(jax.devices("cpu")[0]):  # `lax` supports some of them on CPUs only
        expected = convolve(jnp.ones_like(x), jnp.ones_like(kernel))
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y.astype("complex64"), expected.astype("complex64"))


def test_donation_and_static_arguments(arrays):
    @functools.partial(jax.jit, static_argnames="power", donate_argnums=0)
    def function(x, kernel, power):
        return convolve(x, kernel) ** power

    x, kernel = arrays
    donated = x + 0
    y = jconv.accelerate(function)(donated, kernel, power=2)
    assert donated.is_deleted()
    np.testing.assert_allclose(y, convolve(x, kernel) ** 2, rtol=1e-4, atol=1e-4)


class Network(nnx.Module):
    """Two convolutions and a batch norm, which changes in training."""

    def __init__(self, rngs):
        self.first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.second = nnx.Conv(4, 4, (3, 3), feature_group_count=4, rngs=rngs)

    def __call__(self, x):
        return self.second(nnx.relu(self.norm(self.first(x))))


def test_the_state_of_a_model_is_updated(rng):
    x = jnp.asarray(rng.normal(size=(2, 8, 8, 3)), jnp.float32)
    plain, fast = Network(nnx.Rngs(0)), Network(nnx.Rngs(0))
    loss = lambda model, x: (model(x) ** 2).mean()
    expected = nnx.jit(nnx.value_and_grad(loss))(plain, x)
    actual = jconv.accelerate(nnx.jit(nnx.value_and_grad(loss)))(fast, x)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4), actual,
                 expected)  # fmt: skip
    assert not np.allclose(plain.norm.mean[...], 0)
    np.testing.assert_allclose(fast.norm.mean[...], plain.norm.mean[...], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jconv.accelerate(3), "`fn` must be a function. Received: fn=3"),
        (lambda: jconv.accelerate(convolve, algorithm="fast"), "`algorithm` must be 'auto'"),
        (lambda: jconv.accelerated("fast").__enter__(), "`algorithm` must be 'auto'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
