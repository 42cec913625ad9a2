"""Layers of published networks against their formulas, in plain NumPy where there is one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jconv
from jconv import nn


def rngs():
    return nnx.Rngs(0)


def image(rng, *shape):
    return rng.normal(size=shape).astype("float32")


def test_conv_norm_is_its_three_layers(rng):
    layer = nn.ConvNorm(3, 4, 3, 2, padding="HALF", activation=nnx.tanh, rngs=rngs())
    layer.norm.mean.set_value(jnp.arange(4.0))
    layer.eval()
    x = image(rng, 2, 7, 7, 3)
    y = jconv.conv(x, layer.conv.kernel[...], stride=2, padding=1)
    expected = np.tanh((y - np.arange(4)) / np.sqrt(1 + 1e-3))
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert layer.conv.bias is None
    plain = nn.ConvNorm(3, 4, (1, 3), norm=False, rngs=rngs())
    assert plain.norm is None and plain.conv.bias is not None


def test_local_response_norm(rng):
    x, alpha, beta, k = image(rng, 2, 3, 3, 7), 0.5, 0.75, 2.0
    for size in (1, 2, 5, 9):
        expected = np.empty_like(x)
        for c in range(7):
            low = c - size // 2
            near = [x[..., i] ** 2 for i in range(low, low + size) if 0 <= i < 7]
            expected[..., c] = x[..., c] / (k + alpha / size * sum(near)) ** beta
        layer = nn.LocalResponseNorm(size, alpha=alpha, beta=beta, k=k)
        np.testing.assert_allclose(layer(x), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`size` must be an int of at least 1"):
        nn.LocalResponseNorm(0)


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_border_of_norm_pad_is_the_normalised_zero(rng, use_scale, use_bias):
    layer = nn.NormPad(3, 2, use_scale=use_scale, use_bias=use_bias, rngs=rngs())
    for variable in jax.tree.leaves(nnx.state(layer), is_leaf=lambda v: hasattr(v, "set_value")):
        variable.set_value(jnp.asarray(rng.uniform(0.5, 2, size=3), jnp.float32))
    layer.eval()
    x = image(rng, 2, 5, 4, 3)
    y, of_zeros = layer(x), layer(0 * x)
    assert y.shape == (2, 9, 8, 3)
    np.testing.assert_allclose(of_zeros, np.broadcast_to(of_zeros[0, 2, 2], y.shape), rtol=1e-5)
    np.testing.assert_allclose(y[:, :2], of_zeros[:, :2], rtol=1e-5)
    np.testing.assert_allclose(y[:, 2:-2, 2:-2], nnx.BatchNorm.__call__(layer, x), rtol=1e-5)


def test_squeeze_excite(rng):
    layer, x = nn.SqueezeExcite(8, 2, rngs=rngs()), image(rng, 2, 4, 3, 8)
    hidden = np.maximum(x.mean((1, 2)) @ np.asarray(layer.reduce.kernel[0, 0]), 0)
    scale = 1 / (1 + np.exp(-hidden @ np.asarray(layer.expand.kernel[0, 0])))
    np.testing.assert_allclose(layer(x), x * scale[:, None, None], rtol=1e-5, atol=1e-6)


def test_adaptive_average(rng):
    x = image(rng, 2, 14, 9, 3)
    y = nn.AdaptiveAvgPool((4, 5))(x)
    for i in range(4):
        for j in range(5):
            rows = slice(i * 14 // 4, -(-(i + 1) * 14 // 4))
            columns = slice(j * 9 // 5, -(-(j + 1) * 9 // 5))
            expected = x[:, rows, columns].mean((1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-5, atol=1e-6)


def test_mixed_depthwise(rng):
    layer, x = nn.MixConv(7, (3, 5), 2, rngs=rngs()), image(rng, 2, 9, 8, 7)
    assert layer.widths == (4, 3)
    first, second = (part.kernel[...] for part in layer.parts)
    expected = [
        jconv.depthwise_conv(x[..., :4], first.reshape(3, 3, 4, 1), stride=2),
        jconv.depthwise_conv(x[..., 4:], second.reshape(5, 5, 3, 1), stride=2),
    ]
    np.testing.assert_allclose(layer(x), np.concatenate(expected, -1), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="`kernel_sizes` must have at least one"):
        nn.MixConv(2, (3, 5, 7), rngs=rngs())


def test_inception_depthwise_keeps_most_channels(rng):
    layer, x = nn.InceptionDepthwise(16, rngs=rngs()), image(rng, 2, 12, 12, 16)
    y = layer(x)
    np.testing.assert_array_equal(y[..., :10], x[..., :10])
    assert layer.row.kernel.shape == (1, 11, 1, 2) and layer.column.kernel.shape == (11, 1, 1, 2)
    assert not np.allclose(y[..., 10:], x[..., 10:])


@pytest.mark.parametrize("ratio", [0.5, 0.05, -1.0])
def test_inception_depthwise_rejects_ratios_that_do_not_fit(ratio):
    with pytest.raises(ValueError, match="`ratio` must give .* of the 16 channels, .* a third"):
        nn.InceptionDepthwise(16, ratio=ratio, rngs=rngs())
    assert nn.InceptionDepthwise(15, ratio=1 / 3, rngs=rngs()).widths == (0, 5, 5, 5)


def test_algorithm_reaches_every_convolution_of_a_block():
    block = nn.InvertedResidual(4, 4, se_features=2, algorithm="im2col", rngs=rngs())
    convs = [layer for _, layer in nnx.iter_modules(block) if isinstance(layer, nn.Conv)]
    assert {conv.conv_general_dilated.algorithm for conv in convs} == {"im2col"}
    assert len(convs) == 5


def test_branches_of_every_kind(rng):
    branches = [
        nn.Branch(width=2, kernel_size=1),
        nn.Branch(width=3, kernel_size=(3, 5), kernel_dilation=2),
        nn.Branch(width=4, kernel_size=7, reduce=2, factorised=True),
        nn.Branch(width=5, depthwise=True),
        nn.Branch(width=6, kernel_size=1, pool="max"),
        nn.Branch(width=7, kernel_size=1, pool="average"),
    ]
    for norm in (False, True):
        block = nn.ParallelConv(3, branches, norm=norm, activation=nnx.gelu, rngs=rngs())
        assert block(image(rng, 2, 9, 8, 3)).shape == (2, 9, 8, 27)
    sizes = [m.kernel_size for _, m in nnx.iter_modules(block.branches[2]) if hasattr(m, "strides")]
    assert sorted(sizes) == [(1, 1), (1, 7), (7, 1)]
    # The activation is applied once: after the concatenation nothing more happens.
    one = nn.ParallelConv(3, branches[:1], activation=lambda x: x + 1, rngs=rngs())
    x = image(rng, 1, 4, 4, 3)
    kernel = one.branches[0].layers[0].conv.kernel[...]
    np.testing.assert_allclose(one(x), jconv.conv(x, kernel) + 1, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(width=0), "`width` must be a positive int"),
        (dict(width=2, reduce=0), "`reduce` must be a positive int"),
        (dict(width=2, kernel_size=0), "`kernel_size` must be an int of at least 1"),
        (dict(width=2, pool="median"), "`pool` must be None or one of"),
    ],
)
def test_invalid_branches(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Branch(**arguments)


def test_invalid_arguments_of_blocks():
    with pytest.raises(ValueError, match="`join` must be one of"):
        nn.Parallel([nnx.relu], join="multiply")
    with pytest.raises(ValueError, match="`branches` must be a list"):
        nn.Parallel([])
    with pytest.raises(ValueError, match="`norm` must be False"):
        nn.ParallelConv(3, {1: 2}, norm=True, rngs=rngs())
    with pytest.raises(ValueError, match="`kernel_size` must be odd"):
        nn.DiverseBranchBlock(3, 3, 4, rngs=rngs())
    with pytest.raises(ValueError, match="one array"):
        nn.Add()(jnp.ones(3))


@pytest.mark.parametrize(
    "make, shape, expected",
    [
        (lambda: nn.Inception(8, 2, (3, 4), (2, 3), 5, rngs=rngs()), (9, 9, 8), (9, 9, 14)),
        (lambda: nn.InceptionA(8, 5, rngs=rngs()), (9, 9, 8), (9, 9, 229)),
        (lambda: nn.InceptionB(8, rngs=rngs()), (9, 9, 8), (4, 4, 488)),
        (lambda: nn.InceptionC(8, 4, rngs=rngs()), (9, 9, 8), (9, 9, 768)),
        (lambda: nn.InceptionD(8, rngs=rngs()), (9, 9, 8), (4, 4, 520)),
        (lambda: nn.InceptionE(8, rngs=rngs()), (9, 9, 8), (9, 9, 2048)),
        (lambda: nn.InvertedResidual(8, 8, se_features=2, rngs=rngs()), (9, 9, 8), (9, 9, 8)),
        (lambda: nn.InvertedResidual(8, 6, strides=2, rngs=rngs()), (9, 9, 8), (5, 5, 6)),
        (lambda: nn.XceptionBlock(8, (6, 6), 2, rngs=rngs()), (9, 9, 8), (5, 5, 6)),
        (lambda: nn.DiverseBranchBlock(8, 6, 5, 2, rngs=rngs()), (9, 9, 8), (5, 5, 6)),
        (lambda: nn.RepVGGBlock(8, 8, rngs=rngs()), (9, 9, 8), (9, 9, 8)),
    ],
)
def test_shapes_of_blocks(make, shape, expected):
    graph, state = nnx.split(nnx.eval_shape(make))
    x = jnp.zeros((2, *shape))
    from jax import eval_shape

    assert eval_shape(lambda s: nnx.merge(graph, s)(x), state).shape == (2, *expected)


def test_repvgg_block_is_the_sum_of_its_branches(rng):
    block = nn.RepVGGBlock(4, 4, activation=None, rngs=rngs())
    block.eval()
    x = image(rng, 2, 6, 6, 4)
    three, one, _ = block.branches.branches
    scale = 1 / np.sqrt(1 + 1e-5)
    expected = scale * (
        jconv.conv(x, three.conv.kernel[...], padding=1) + jconv.conv(x, one.conv.kernel[...]) + x
    )
    np.testing.assert_allclose(block(x), expected, rtol=1e-4, atol=1e-5)
