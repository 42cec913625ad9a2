"""`unfold` and `fold` against plain loops, each other, and `conv`."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import USER_OPTIONS
from helpers.definition import pads_by_definition, per_axis, source_index
from jax.test_util import check_grads

import jconv
from jconv.functional.patches import fold, unfold


def unfold_by_definition(
    x, kernel_size, *, stride=1, padding="VALID", dilation=1, padding_mode="zeros"
):
    """Copy windows of `(n, *space, c)` to `(n, *output, *size, c)`, pixel by pixel."""
    rank = x.ndim - 2
    size, stride, dilation = (per_axis(v, rank) for v in (kernel_size, stride, dilation))
    pads = pads_by_definition(padding, x.shape[1:-1], size, stride, dilation, (1,) * rank)
    outputs = [
        (n + low + high - d * (k - 1) - 1) // s + 1
        for n, k, s, d, (low, high) in zip(x.shape[1:-1], size, stride, dilation, pads, strict=True)
    ]
    patches = np.zeros((x.shape[0], *outputs, *size, x.shape[-1]), x.dtype)
    for o in itertools.product(*map(range, outputs)):
        for t in itertools.product(*map(range, size)):
            i = tuple(
                source_index(o[a] * stride[a] + t[a] * dilation[a] - pads[a][0], n, padding_mode)
                for a, n in enumerate(x.shape[1:-1])
            )
            if None not in i:
                patches[(slice(None), *o, *t)] = x[(slice(None), *i)]
    return patches


CASES = [
    ((2, 9, 3), dict(kernel_size=4)),
    ((2, 9, 3), dict(kernel_size=(3,), stride=2, padding=[(2, 1)], dilation=3)),
    ((2, 6, 5, 3), dict(kernel_size=(3, 2))),
    ((2, 6, 5, 3), dict(kernel_size=2, stride=2)),
    ((2, 7, 9, 1), dict(kernel_size=3, stride=(2, 3), padding="SAME", dilation=(1, 2))),
    ((2, 7, 6, 2), dict(kernel_size=(2, 4), padding="SAME_LOWER", stride=2)),
    ((1, 7, 6, 2), dict(kernel_size=2, stride=4, padding=1)),  # some pixels are in no window
    ((1, 8, 9, 2), dict(kernel_size=3, stride=4, dilation=2, padding=[(0, 3), (4, 0)])),
    ((1, 7, 8, 2), dict(kernel_size=3, padding=[(-1, 2), (1, -3)])),
    ((2, 5, 4, 2), dict(kernel_size=3, padding="FULL", padding_mode="circular")),
    ((2, 5, 4, 2), dict(kernel_size=3, padding=(2, 1), padding_mode="reflect", stride=2)),
    ((2, 5, 4, 2), dict(kernel_size=3, padding=[(3, 0), (0, 5)], padding_mode="replicate")),
    ((1, 4, 5, 6, 2), dict(kernel_size=(2, 3, 2), stride=(2, 1, 3), padding=1)),
    ((1, 3, 3, 3, 3, 2), dict(kernel_size=2, padding="SAME")),
    ((0, 6, 5, 3), dict(kernel_size=3)),
]
every_case = pytest.mark.parametrize("shape, options", CASES, ids=str)


@every_case
def test_unfold_matches_the_definition_and_fold_is_its_adjoint(shape, options, rng):
    x = rng.normal(size=shape).astype("float32")
    patches = unfold(x, **options)
    np.testing.assert_array_equal(patches, unfold_by_definition(x, **options))

    # Sums of integers below 2^24 are exact in float32, so the two inner products are equal.
    x, p = rng.integers(-9, 9, shape), rng.integers(-9, 9, patches.shape)
    back = fold(p.astype("float32"), shape[1:-1], **options)
    assert back.shape == shape
    assert np.sum(x * np.asarray(back)) == np.sum(unfold_by_definition(x, **options) * p)


def test_fold_of_ones_counts_the_windows_over_each_pixel():
    ones = jnp.ones((1, 5, 6, 1))
    count = fold(unfold(ones, 3, stride=(1, 2)), (5, 6), 3, stride=(1, 2))
    np.testing.assert_array_equal(count[0, :, :, 0], np.outer([1, 2, 3, 2, 1], [1, 1, 2, 1, 1, 0]))
    x = jnp.arange(30.0).reshape(1, 5, 6, 1)
    y = fold(unfold(x, 3, padding="SAME"), (5, 6), 3, padding="SAME")
    y /= fold(unfold(ones, 3, padding="SAME"), (5, 6), 3, padding="SAME")
    np.testing.assert_allclose(y, x, rtol=1e-6)


@pytest.mark.parametrize("layout", ["NCHW", ("CHWN", "HWIO", "NHWC"), ("NWHC", "HWIO", "NHWC")])
def test_layouts_permute_the_axes_only(layout, rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    options = dict(kernel_size=(3, 2), stride=(1, 2), padding=1)
    patches = unfold(x, **options)  # n h w kh kw c
    x_axes, axes = {
        "NCHW": ((0, 3, 1, 2), (0, 5, 3, 4, 1, 2)),
        "CHWN": ((3, 1, 2, 0), (5, 3, 4, 1, 2, 0)),
        "NWHC": ((0, 2, 1, 3), (0, 2, 1, 3, 4, 5)),
    }[layout if isinstance(layout, str) else layout[0]]
    np.testing.assert_array_equal(
        unfold(x.transpose(x_axes), layout=layout, **options), patches.transpose(axes)
    )
    np.testing.assert_array_equal(
        fold(patches.transpose(axes), (6, 5), layout=layout, **options),
        fold(patches, (6, 5), **options).transpose(x_axes),
    )


def test_documented_reshapes_give_the_convolution_and_the_unfold_of_torch(rng):
    x = rng.normal(size=(2, 6, 5, 3)).astype("float32")
    kernel = rng.normal(size=(3, 2, 3, 4)).astype("float32")
    y = unfold(x, (3, 2), stride=2).reshape(2, 2, 2, -1) @ kernel.reshape(-1, 4)
    expected = jconv.conv(x, kernel, stride=2, padding="VALID")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    # torch: column (o_h, o_w) holds, channel by channel, its window row by row.
    torch = unfold(x.transpose(0, 3, 1, 2), (3, 2), layout="NCHW").reshape(2, 3 * 6, 4 * 4)
    np.testing.assert_array_equal(torch[1, 6:12, 4 * 2 + 3], x[1, 2:5, 3:5, 1].ravel())


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_derivatives_match_finite_differences(mode, rng):
    options = dict(kernel_size=(3, 2), stride=(2, 1), padding=1, padding_mode=mode)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=(1, 5, 4, 2)))
        patches = unfold(x, **options)
        check_grads(lambda x: jnp.tanh(unfold(jnp.sin(x), **options)), (x,), order=2)
        check_grads(lambda p: jnp.tanh(fold(jnp.sin(p), (5, 4), **options)), (patches,), order=2)


def test_unfold_and_fold_are_the_derivatives_of_each_other(rng):
    x, p = rng.normal(size=(1, 5, 4, 2)), rng.normal(size=(1, 3, 3, 3, 2, 2))
    x, p = jnp.asarray(x, jnp.float32), jnp.asarray(p, jnp.float32)
    f, g = lambda x: unfold(x, (3, 2)), lambda p: fold(p, (5, 4), (3, 2))
    np.testing.assert_array_equal(jax.vjp(f, x)[1](p)[0], g(p))
    np.testing.assert_array_equal(jax.vjp(g, p)[1](x)[0], f(x))
    names = lambda f, *a: str(jax.make_jaxpr(f)(*a))
    pull = names(lambda p: jax.vjp(f, x)[1](p)[0], p)
    assert "jconv_fold" in pull and "jconv_unfold" not in pull.split("jconv_fold", 1)[1]


@pytest.mark.parametrize("space", [(6,), (6, 5), (4, 3, 5)])
def test_jit_and_vmap_match_single_calls(space, rng):
    xs = rng.normal(size=(2, 4, *space, 3)).astype("float32")
    f = lambda x: unfold(x, 3, padding="SAME", stride=2)
    g = lambda p: fold(p, space, 3, padding="SAME", stride=2)
    for axis in (0, 1, xs.ndim - 1):
        mapped = jnp.moveaxis(xs, 0, axis)
        patches = jax.jit(jax.vmap(f, axis))(mapped)
        np.testing.assert_array_equal(patches, np.stack([f(x) for x in xs]))
        folded = jax.vmap(g, axis)(jnp.moveaxis(patches, 0, axis))
        np.testing.assert_allclose(folded, np.stack([g(p) for p in patches]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8", "uint32", "complex64"])
def test_dtypes_are_kept(dtype):
    x = jnp.arange(20).reshape(1, 20, 1).astype(dtype)
    patches = unfold(x, 3)
    assert patches.dtype == dtype and fold(patches, 20, 3).dtype == dtype
    np.testing.assert_array_equal(np.asarray(patches[0, 4, :, 0].real).astype(int), [4, 5, 6])


def test_bfloat16_is_summed_in_float32():
    # In bfloat16 256 + 1 is 256, so a sum of 300 ones would be 256.
    y = fold(jnp.ones((1, 300, 300, 1), jnp.bfloat16), 599, 300)
    assert y.dtype == jnp.bfloat16 and y[0, 299, 0] == 300


def test_program_size_does_not_grow_with_the_window():
    def instructions(f, x):
        text = jax.jit(f).lower(x).compile(USER_OPTIONS).as_text()
        return sum(" = " in line for line in text.splitlines())

    for size in (5, 31):
        f = lambda x, size=size: unfold(x, size, padding="SAME")
        g = lambda p, size=size: fold(p, 40, size, padding="SAME")
        x = jnp.ones((1, 40, 40, 2))
        assert instructions(f, x) < 200
        assert instructions(g, f(x)) < 200
        assert instructions(jax.grad(lambda x: jnp.sum(f(x) ** 2)), x) < 250  # noqa: B023


def test_export_with_a_symbolic_batch(rng):
    x = rng.normal(size=(3, 6, 5, 2)).astype("float32")
    f = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(unfold(x, 3, padding=1)))))
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(f)(jax.ShapeDtypeStruct((n, 6, 5, 2), x.dtype))
    np.testing.assert_allclose(exported.call(x), f(x), rtol=1e-5, atol=1e-6)


def test_gradients_under_shard_map_and_explicit_sharding(rng):
    x = rng.normal(size=(2, 6, 5, 2)).astype("float32")
    f = jax.grad(lambda x: jnp.sum(jnp.sin(fold(unfold(x, 3) ** 2, (6, 5), 3))))
    mesh = jax.make_mesh((1,), ("d",))
    part = jax.sharding.PartitionSpec("d")
    with jax.set_mesh(mesh):
        placed = jax.device_put(x, part)
        mapped = jax.shard_map(f, in_specs=part, out_specs=part)
        np.testing.assert_allclose(jax.jit(mapped)(placed), f(x), rtol=1e-5, atol=1e-5)
        y = jax.jit(f)(placed)
        assert jax.typeof(y).sharding.spec[0] == "d"
        np.testing.assert_allclose(y, f(x), rtol=1e-5, atol=1e-5)
