"""`jconv.deform_conv` against loops in float64, `jconv.conv`, ONNX and torchvision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.compiler import USER_OPTIONS
from helpers.definition import pads_by_definition, per_axis
from jax.sharding import PartitionSpec as P

import jconv


def deform_conv(*operands, padding="VALID", **options):
    """Return `jconv.deform_conv`, without padding by default, which makes shapes easy to verify."""
    return jconv.deform_conv(*operands, padding=padding, **options)


CASES = {
    "1d": ((2, 9, 3), (3, 3, 2), dict()),
    "2d": ((2, 6, 5, 3), (3, 2, 3, 4), dict()),
    "3d": ((1, 4, 3, 4, 2), (2, 2, 2, 2, 3), dict(padding=1)),
    "strided": ((2, 8, 7, 2), (3, 3, 2, 3), dict(stride=(3, 2), padding=[(1, 2), 0])),
    "same": ((2, 5, 6, 2), (3, 3, 2, 3), dict(padding="SAME")),
    "dilated": ((2, 7, 8, 2), (3, 2, 2, 3), dict(dilation=(2, 3), padding=(2, 1))),
    "cropped": ((2, 7, 6, 2), (2, 2, 2, 3), dict(padding=[(-1, -1), (-2, 2)])),
    "groups": ((2, 5, 5, 4), (3, 2, 2, 6), dict(groups=2)),
    "offset-groups": ((2, 5, 5, 6), (3, 2, 6, 4), dict(offset_groups=3)),
    "both": ((2, 5, 4, 12), (2, 3, 6, 4), dict(groups=2, offset_groups=3, stride=(1, 2))),
    "depthwise": ((1, 5, 5, 4), (3, 3, 1, 4), dict(groups=4, offset_groups=4)),
    "one-pixel": ((1, 1, 1, 2), (3, 3, 2, 2), dict(padding=1)),
    "no-images": ((0, 6, 5, 3), (3, 2, 3, 4), dict()),
    "no-pixels": ((2, 0, 5, 3), (3, 2, 3, 4), dict()),
}

every_case = pytest.mark.parametrize(
    "x_shape, kernel_shape, options", CASES.values(), ids=CASES.keys()
)


def by_definition(x, kernel, offset, mask=None, *, stride=1, padding="VALID", dilation=1, groups=1,
                  offset_groups=1):  # fmt: skip
    """Sum all pixels, weighted by the hat function of their distance, for each sample."""
    rank = x.ndim - 2
    taps, output, space = kernel.shape[:rank], offset.shape[1 : 1 + rank], x.shape[1:-1]
    stride, dilation = per_axis(stride, rank), per_axis(dilation, rank)
    pads = pads_by_definition(padding, space, taps, stride, dilation, (1,) * rank)
    y = np.zeros((x.shape[0], *output, kernel.shape[-1]), np.result_type(x, kernel))
    for n, *o in np.ndindex(x.shape[0], *output):
        for t in np.ndindex(*taps):
            sample = []
            for m, part in enumerate(np.split(x[n], offset_groups, axis=-1)):
                move = offset[(n, *o, m, *t)]
                for a in range(rank):
                    position = o[a] * stride[a] + t[a] * dilation[a] - pads[a][0] + move[a]
                    hat = np.maximum(0, 1 - np.abs(position - np.arange(space[a])))
                    part = np.tensordot(hat, part, axes=(0, 0))
                sample.append(part * (1 if mask is None else mask[(n, *o, m, *t)]))
            parts = np.split(np.concatenate(sample), groups)
            kernels = np.split(kernel[t], groups, axis=-1)
            y[(n, *o)] += np.concatenate([p @ k for p, k in zip(parts, kernels, strict=True)])
    return y


def draw(rng, x_shape, kernel_shape, options, dtype="float32"):
    """Return input, kernel, offsets of up to 3 pixels that are not near an integer, and mask."""
    geometry = {k: v for k, v in options.items() if k != "offset_groups"}
    geometry = {"padding": "VALID"} | geometry
    output = jconv.output_shape(x_shape, kernel_shape, **geometry)[1:-1]
    taps = kernel_shape[:-2]
    shape = (x_shape[0], *output, options.get("offset_groups", 1), *taps)
    offset = rng.integers(-3, 3, size=(*shape, len(taps))) + rng.uniform(
        0.1, 0.9, size=(*shape, len(taps))
    )
    arrays = (rng.normal(size=x_shape), rng.normal(size=kernel_shape), offset,
              rng.uniform(size=shape))  # fmt: skip
    return [a.astype(dtype) for a in arrays]


def assert_close(actual, expected):
    # Sums of at most some 50 products of normal numbers, in float32.
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=5e-5)


@every_case
@pytest.mark.parametrize("version", [1, 2])
def test_matches_the_definition(version, x_shape, kernel_shape, options, rng):
    arrays = draw(rng, x_shape, kernel_shape, options)[: version + 2]
    y = jax.jit(lambda *arrays: deform_conv(*arrays, **options))(*arrays)
    assert y.dtype == jnp.float32
    assert_close(y, by_definition(*(a.astype(float) for a in arrays), **options))


@every_case
def test_derivatives_match_finite_differences_of_the_definition(
    x_shape, kernel_shape, options, rng
):
    f = lambda *arrays: deform_conv(*arrays, **options)

    @jax.jit
    def derivatives(arrays, steps, y_bar):
        return jax.jvp(f, arrays, steps)[1], jax.vjp(f, *arrays)[1](y_bar)

    with jax.enable_x64(True):
        arrays = draw(rng, x_shape, kernel_shape, options, "float64")
        steps = [rng.normal(size=a.shape) for a in arrays]
        # The map is a polynomial between integers, so a step of 1e-4 has an error of about 1e-8.
        ahead, behind = (
            by_definition(*(a + h * step for a, step in zip(arrays, steps, strict=True)), **options)
            for h in (1e-4, -1e-4)
        )
        along = (ahead - behind) / 2e-4
        y_bar = rng.normal(size=along.shape)
        tangent, bars = derivatives(tuple(arrays), tuple(steps), y_bar)
        np.testing.assert_allclose(tangent, along, rtol=1e-5, atol=1e-5)
        pulled = sum(np.vdot(bar, step) for bar, step in zip(bars, steps, strict=True))
        np.testing.assert_allclose(pulled, np.vdot(y_bar, along), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name != "no-pixels"])
def test_zero_offsets_give_the_plain_convolution(name, rng):
    x_shape, kernel_shape, options = CASES[name]
    x, kernel, offset, mask = draw(rng, x_shape, kernel_shape, options)
    kept = {"padding": "VALID"} | {k: v for k, v in options.items() if k != "offset_groups"}
    # XLA's result for `cropped` is wrong in jaxlib 0.10 (pads of -2 and 2 on one axis, on CPU).
    expected = jconv.conv(x, kernel, algorithm="direct", **kept)
    for masks in ((), (np.ones_like(mask),)):
        assert_close(deform_conv(x, kernel, 0 * offset, *masks, **options), expected)


def test_derivatives_at_an_integer_position_are_right_sided():
    x = jnp.array([1.0, 10, 100]).reshape(1, 3, 1)
    positions = jnp.array([-1.5, -1, -0.5, 0, 1, 2, 2.5, 3, 4])
    offset = (positions - jnp.arange(9)).reshape(1, 9, 1, 1, 1)
    f = lambda o: deform_conv(x, jnp.ones((1, 1, 1)), o, padding=(0, 6))
    y, pull = jax.vjp(f, offset)
    np.testing.assert_allclose(y.ravel(), [0, 0, 0.5, 1, 10, 100, 50, 0, 0])
    np.testing.assert_allclose(
        pull(jnp.ones_like(y))[0].ravel(), [0, 1, 1, 9, 90, -100, -100, 0, 0]
    )


def from_torchvision(offset, mask, offset_groups, taps):
    """Convert offsets `(n, m * kh * kw * 2, ho, wo)` to `(n, ho, wo, m, kh, kw, 2)`, and masks.

    ONNX uses the same layout.
    """
    n, _, ho, wo = offset.shape
    offset = offset.reshape(n, offset_groups, *taps, 2, ho, wo).transpose(0, 5, 6, 1, 2, 3, 4)
    if mask is not None:
        mask = mask.reshape(n, offset_groups, *taps, ho, wo).transpose(0, 4, 5, 1, 2, 3)
    return offset, mask


def onnx_case(size, offsets, channels=1, mask=None):
    """Return the arrays of a test case of ONNX: a kernel of ones, and offsets that are mostly 0."""
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    x = np.concatenate([x, 8 - x], axis=1)[:, :channels].astype("float32")
    offset = np.zeros((1, 8 * channels, size, size), np.float32)
    for index, value in offsets.items():
        offset[index] = value
    return x, np.ones((1, channels, 2, 2), np.float32), offset, mask


ONNX_MASK = np.ones((1, 4, 2, 2), np.float32)
ONNX_MASK[0, 2, 1, 1] = 0.2
ONNX_CASES = {
    "basic_with_padding": (
        onnx_case(4, {(0, 0, 0, 0): 0.5, (0, 5, 1, 2): -0.1}),
        [[0, 1, 3, 2], [3, 8, 11.9, 7], [9, 20, 24, 13], [6, 13, 15, 8]],
    ),
    "basic_without_padding": (
        onnx_case(2, {(0, 0, 0, 0): 0.5, (0, 5, 0, 1): -0.1}), [[9.5, 11.9], [20, 24]]
    ),
    "with_mask_bias": (  # its bias of one is added here
        onnx_case(2, {(0, 0, 0, 0): 0.5, (0, 5, 0, 1): -0.1}, mask=ONNX_MASK),
        [[9.5, 11.9], [20, 18.4]],
    ),
    "with_multiple_offset_groups": (
        onnx_case(2, {(0, 0, 0, 0): 0.5, (0, 13, 0, 1): -0.1}, channels=2),
        [[33.5, 32.1], [32, 32]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ONNX_CASES)
def test_outputs_match_the_test_cases_of_onnx(case):
    (x, kernel, offset, mask), expected = ONNX_CASES[case]
    groups = x.shape[1]
    y = deform_conv(
        x,
        kernel,
        *from_torchvision(offset, mask, groups, (2, 2)),
        offset_groups=groups,
        padding=1 if "with_padding" in case else 0,
        layout="NCHW",
    )
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_outputs_and_gradients_match_torchvision(masked, whole, rng):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    draw = lambda *shape: rng.normal(size=shape).astype("float32")
    x, kernel = draw(2, 12, 7, 6), draw(8, 6, 3, 2)
    offset, mask = 2 * draw(2, 3 * 6 * 2, 4, 5), draw(2, 3 * 6, 4, 5) if masked else None
    offset = np.round(offset) if whole else offset  # at integers, derivatives are a convention
    theirs = [a if a is None else torch.tensor(a, requires_grad=True)
              for a in (x, offset, kernel, mask)]  # fmt: skip
    expected = torchvision.ops.deform_conv2d(
        *theirs[:3], mask=theirs[3], stride=(2, 1), padding=(1, 1), dilation=(1, 3)
    )
    expected.square().sum().backward()

    def f(x, offset, kernel, mask=None):
        offset, mask = from_torchvision(offset, mask, 3, (3, 2))
        return deform_conv(x, kernel, offset, mask, stride=(2, 1), padding=1, dilation=(1, 3),
                           groups=2, offset_groups=3, layout="NCHW")  # fmt: skip

    ours = [a for a in (x, offset, kernel, mask) if a is not None]
    assert_close(f(*ours), expected.detach())
    bars = jax.grad(lambda *a: (f(*a) ** 2).sum(), range(len(ours)))(*ours)
    for bar, array in zip(bars, theirs, strict=False):
        np.testing.assert_allclose(bar, array.grad, rtol=1e-3, atol=1e-3)


def test_channels_first_does_not_change_offset_and_mask(rng):
    options = dict(groups=2, offset_groups=3, stride=(1, 2))
    x, kernel, offset, mask = draw(rng, (2, 5, 4, 12), (2, 3, 6, 4), options)
    expected = deform_conv(x, kernel, offset, mask, **options)
    x, kernel = x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
    y = deform_conv(x, kernel, offset, mask, layout="NCHW", **options)
    assert_close(y, expected.transpose(0, 3, 1, 2))
    y = deform_conv(x, kernel, offset, mask, layout=("NCHW", "OIHW", "HWNC"), **options)
    assert_close(y, expected.transpose(1, 2, 0, 3))


def test_vmap_matches_single_calls(rng):
    options = dict(offset_groups=3, padding=1)
    arrays = [draw(rng, (2, 5, 4, 3), (2, 3, 3, 4), options) for _ in range(3)]
    stacked = [np.stack(parts) for parts in zip(*arrays, strict=True)]
    f = lambda *arrays: deform_conv(*arrays, **options)
    alone = [tuple(0 if i == j else None for i in range(4)) for j in range(4)]
    for axes in (*alone, (0, None, 0, None), (0, 0, 0, 0)):
        given = [a[0] if axis is None else a for a, axis in zip(stacked, axes, strict=True)]
        ys = jax.vmap(f, axes)(*given)
        for i in range(3):
            one = (a if axis is None else a[i] for a, axis in zip(given, axes, strict=True))
            assert_close(ys[i], f(*one))


def test_bfloat16_is_summed_in_float32():
    """In bfloat16 256 + 1 is 256: a sum of ones stops there."""
    x, kernel = jnp.ones((1, 801, 1), jnp.bfloat16), jnp.ones((401, 1, 1), jnp.bfloat16)
    offset = jnp.zeros((1, 401, 1, 401, 1), jnp.bfloat16)
    y, pull = jax.vjp(deform_conv, x, kernel, offset)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(float), 401, rtol=2**-8)
    bars = pull(jnp.ones_like(y))
    assert [bar.dtype for bar in bars] == [jnp.bfloat16] * 3
    assert abs(float(bars[0][0, 400, 0]) - 401) <= 1  # the pixel that all outputs depend on
    np.testing.assert_allclose(bars[1].astype(float), 401, rtol=2**-8)


def test_positions_are_computed_in_float32():
    """bfloat16 represents neither the position 301 nor halves above 128."""
    x = jnp.asarray(np.arange(600) % 7, jnp.bfloat16).reshape(1, 600, 1)
    offset = jnp.full((1, 600, 1, 1, 1), 0.5, jnp.bfloat16)
    y = deform_conv(x, jnp.ones((1, 1, 1), jnp.bfloat16), offset)
    ramp = np.append(np.arange(600) % 7, 0)
    np.testing.assert_array_equal(y[0, :, 0].astype(float), (ramp[1:] + ramp[:-1]) / 2)


@pytest.mark.parametrize(
    "dtypes, preferred, expected",
    [(("bfloat16", "bfloat16", "float16"), "float32", "float32"),
     (("complex64", "float32", "float32"), None, "complex64"),
     (("float32", "float32", "int32"), None, "float32"),
     (("int8", "float32", "float16"), None, "float32")],
)  # fmt: skip
def test_result_dtypes(dtypes, preferred, expected, rng):
    arrays = [rng.integers(9, 20, size=s) for s in ((2, 6, 3), (2, 3, 4))]
    arrays.append(rng.integers(-4, 4, size=(2, 5, 1, 2, 1)))
    mask = rng.integers(2, size=(2, 5, 1, 2)).astype(bool)
    if "complex64" in dtypes:
        arrays[0] = arrays[0] * (1 + 2j)
    given = [jnp.asarray(a, dtype) for a, dtype in zip(arrays, dtypes, strict=True)]
    y = deform_conv(*given, mask.astype("int8"), preferred_element_type=preferred)
    assert y.dtype == expected
    exact = by_definition(*arrays, mask)
    np.testing.assert_array_equal(y, exact)  # exact in float32, not in bfloat16


def test_gradients_under_strict_promotion(rng):
    arrays = draw(rng, (2, 6, 5, 2), (3, 2, 2, 3), {})
    arrays = [jnp.asarray(a, dtype) for a, dtype in
              zip(arrays, ("bfloat16", "bfloat16", "float32", "float16"), strict=True)]  # fmt: skip
    with jax.numpy_dtype_promotion("strict"):
        f = lambda *arrays: deform_conv(*arrays, preferred_element_type=jnp.float32)
        y, bars = jax.jit(lambda *arrays: (f(*arrays), jax.vjp(f, *arrays)[1](f(*arrays))))(*arrays)
        assert y.dtype == jnp.float32
        assert [bar.dtype for bar in bars] == [a.dtype for a in arrays]


def test_samples_outside_the_input_are_zero_and_nan_offsets_give_nan():
    x = jnp.ones((1, 2, 2, 1)).at[0, 0].set(jnp.inf)  # samples outside must not depend on it
    positions = jnp.array([[1e30, 0], [-jnp.inf, 0], [-2, 0.5], [2, 0], [jnp.nan, 0], [1, 0.5]])
    offset = (positions - jnp.array([[0, i] for i in range(6)])).reshape(1, 1, 6, 1, 1, 1, 2)
    f = lambda offset: deform_conv(x, jnp.ones((1, 1, 1, 1)), offset, padding=[(0, -1), (0, 4)])
    y, pull = jax.vjp(f, offset)
    np.testing.assert_array_equal(y.ravel(), [0, 0, 0, 0, np.nan, 1])
    bars = pull(jnp.ones_like(y))[0].reshape(6, 2)
    np.testing.assert_array_equal(bars[:4], 0)


def test_program_size_does_not_grow_with_the_kernel():
    def count(k, f):
        shapes = (2, 40, 41, 2), (k, k, 2, 3), (2, 41 - k, 42 - k, 1, k, k, 2)
        specs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
        return jax.jit(f).lower(*specs).compile(USER_OPTIONS).as_text().count(" = ")

    gradients = jax.grad(lambda *arrays: (deform_conv(*arrays) ** 2).sum(), (0, 1, 2))
    assert count(31, deform_conv) <= count(3, deform_conv) + 10 < 300
    assert count(31, gradients) <= count(3, gradients) + 30 < 900


def test_backward_pass_does_not_store_the_samples():
    shapes = (1, 20, 20, 16), (5, 5, 16, 16), (1, 16, 16, 1, 5, 5, 2)
    specs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    loss = lambda *arrays: (deform_conv(*arrays) ** 2).sum()
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*specs).compile(USER_OPTIONS)
    corners, samples = 4 * 22**2 * 16 * 4, 25 * 16**2 * 16 * 4
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * corners < 4 * samples


def test_export_with_a_symbolic_batch(rng):
    arrays = draw(rng, (2, 6, 5, 2), (3, 2, 2, 3), {})
    f = jax.jit(jax.grad(lambda *a: jnp.tanh(deform_conv(*a)).sum(), range(4)))
    (n,) = jax.export.symbolic_shape("n")
    specs = [jax.ShapeDtypeStruct(a.shape if i == 1 else (n, *a.shape[1:]), "float32")
             for i, a in enumerate(arrays)]  # fmt: skip
    exported = jax.export.export(f)(*specs)
    for bar, expected in zip(exported.call(*arrays), f(*arrays), strict=True):
        assert_close(bar, expected)


def test_gradients_under_shard_map(rng):
    """The loop's sum must vary over devices from its first step, although it starts as zeros."""
    arrays = draw(rng, (2, 6, 5, 2), (3, 2, 2, 3), {})
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("d",))
    specs = (P("d"), P(), P("d"), P("d"))
    sharded = jax.shard_map(deform_conv, mesh=mesh, in_specs=specs, out_specs=P("d"))
    bars, expected = (
        jax.jit(jax.grad(lambda *a, f=f: jnp.tanh(f(*a)).sum(), range(4)))(*arrays)
        for f in (sharded, deform_conv)
    )
    for bar, expected_bar in zip(bars, expected, strict=True):
        assert_close(bar, expected_bar)


def test_1000_calls_with_equal_shapes_trace_once():
    from jconv.functional.deform_conv import _deform_conv

    shapes = (2, 6, 5, 4), (3, 2, 4, 8), (2, 4, 4, 1, 3, 2, 2)
    x, kernel, offset = (np.ones(shape, np.float32) for shape in shapes)
    _deform_conv.clear_cache()
    for i in range(1000):
        deform_conv(jnp.full(x.shape, float(i)), kernel, offset)
    assert _deform_conv._cache_size() == 1
