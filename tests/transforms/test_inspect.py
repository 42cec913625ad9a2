"""`jconv.inspect`: the convolutions of a function, their positions and algorithms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.entries import on_a_cpu
from jax import lax

import jconv

X, KERNEL = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """A terminal of 120 columns, independent of that in which the tests run."""
    monkeypatch.setenv("COLUMNS", "120")


def convolve(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@on_a_cpu
def test_convolutions_of_lax_are_listed_as_accelerate_computes_them():
    (conv,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    assert conv.site.source.startswith("test_inspect.py:") and "(convolve)" in conv.site.source
    assert conv.window == "3x3, stride 2"
    assert conv.x == (1, 2, 8, 8, 1, 4) and conv.kernel == (1, 3, 3, 1, 4, 6)
    assert conv.multiply_adds == 2 * 4 * 4 * 9 * 4 * 6
    assert conv.bytes == 4 * (X.size + KERNEL.size + 2 * 4 * 4 * 6)
    assert conv.intensity == pytest.approx(2 * conv.multiply_adds / conv.bytes)
    assert conv.algorithm in jconv.ALGORITHMS and "predicted to take" in conv.reason
    assert conv.seconds > 0
    assert not conv.site.is_gradient and conv.site.runs == 1


def test_gradients_and_loops():
    def loss(kernel):
        step = lambda x, _: (jconv.conv(x, kernel, groups=4, algorithm="direct"), None)
        return (lax.scan(step, X, None, length=5)[0] ** 2).sum()

    convolutions = jconv.inspect(jax.jit(jax.grad(loss)))(jnp.ones((3, 3, 1, 4))).convolutions
    positions = [(c.site.is_gradient, c.site.runs) for c in convolutions]
    assert positions == [(False, 5), (True, 5), (True, 5)]
    assert convolutions[0].algorithm == "direct" and convolutions[0].reason == "requested"
    assert convolutions[0].window == "3x3, 4 groups"
    assert all("test_inspect.py" in c.site.source for c in convolutions)


def test_arguments_and_outputs_that_are_no_arrays():
    model = nnx.Conv(4, 6, (3, 3), rngs=nnx.Rngs(0))
    call = lambda model, x, name, act=None: {"y": act(model(x)), "name": name}
    inspection = jconv.inspect(call)(model, X, "some name", act=nnx.relu)
    assert [c.kernel for c in inspection.convolutions] == [(1, 3, 3, 1, 4, 6)]


def test_shapes_are_sufficient():
    x, kernel = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (X, KERNEL))
    assert len(jconv.inspect(functools.partial(convolve))(x, kernel).convolutions) == 1


def test_each_distinct_convolution_is_measured_once(monkeypatch):
    timed = []

    def seconds(algorithm, problem):
        timed.append((algorithm, problem))
        return 1.5

    monkeypatch.setattr("jconv.transforms.inspect.measure_seconds", seconds)
    twice = lambda x, k: convolve(x, k) + convolve(x, 2 * k)
    inspection = jconv.inspect(twice, algorithm="direct", timed=True)(X, KERNEL)
    assert inspection.seconds == 3.0 and len(inspection.convolutions) == 2
    assert timed == [(jconv.ALGORITHMS["direct"], inspection.convolutions[0].problem)]  # once


@pytest.mark.parametrize("algorithm", ["auto", "xla"])
def test_times_are_measured(algorithm):
    inspection = jconv.inspect(
        jax.grad(lambda k: convolve(X, k).sum()), algorithm=algorithm, timed=True
    )(KERNEL)
    assert all(c.seconds > 0 for c in inspection.convolutions)


def test_the_table_shows_position_window_cost_and_total():
    text = str(jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()))(KERNEL))
    for words in ("test_inspect.py:", "3x3, stride 2", "13,824", "in a gradient", "total"):
        assert words in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_complete_in_a_narrow_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    inspection = jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()))(KERNEL)
    text = repr(inspection)
    assert text == str(inspection) and "\x1b" not in text
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for c in inspection.convolutions:
        numbers = (f"{c.multiply_adds:,}", "3.59 KiB", f"{c.intensity:.1f}")
        for words in (*numbers, c.algorithm, c.site.source.split()[0], "bytes"):
            assert words in text
    # Position, shapes and window take one line each, or two where the terminal is narrow.
    assert len(text.splitlines()) <= 8 + 6 * len(inspection.convolutions)


def test_a_scope_named_transpose_is_not_a_gradient():
    def forward(kernel):
        with jax.named_scope("conv2d_transpose"), jax.named_scope("transpose"):
            return convolve(X, kernel).sum()

    sites = [c.site for c in jconv.inspect(jax.grad(jax.jit(forward)))(KERNEL).convolutions]
    assert [site.is_gradient for site in sites] == [False, True]


def test_scopes_distinguish_calls_of_one_line():
    def network(kernel):
        y = X[..., :1]
        for name in ("stem", "body"):
            with jax.named_scope(name):
                y = jax.checkpoint(convolve)(y, kernel)
        return y.sum()

    inspection = jconv.inspect(jax.jit(network))(jnp.ones((3, 3, 1, 1)))
    assert [c.site.scope for c in inspection.convolutions] == [("stem",), ("body",)]
    text = str(jconv.inspect(jax.grad(jax.jit(network)))(jnp.ones((3, 3, 1, 1))))
    assert "in stem, in a gradient" in text and "stem/stem" not in text


def test_a_path_with_a_space_and_parentheses(tmp_path):
    path = tmp_path / "my code (old)" / "model.py"
    path.parent.mkdir()
    path.write_text("def call(convolve, x, k):\n    return convolve(x, k)\n")
    names = {}
    exec(compile(path.read_text(), path, "exec"), names)
    convolve_there = functools.partial(
        lax.conv_general_dilated, window_strides=(1, 1), padding="SAME"
    )
    (conv,) = jconv.inspect(lambda x, k: names["call"](convolve_there, x, k))(
        jnp.ones((1, 1, 5, 5)), jnp.ones((1, 1, 3, 3))
    ).convolutions
    assert conv.site.source == "model.py:2 (call)"


def test_the_algorithm_value_is_listed():
    tiles = jconv.Winograd(tile=2)
    (conv,) = jconv.inspect(lambda x, k: jconv.conv(x, k, algorithm=tiles))(X, KERNEL).convolutions
    assert conv.value == tiles and conv.algorithm == repr(tiles)
    (conv,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    assert conv.value == jconv.ALGORITHMS[conv.algorithm]


def test_positions_within_a_block_of_jconv():
    block = jconv.nn.InvertedResidual(4, 4, rngs=nnx.Rngs(0))
    sources = [c.site.source for c in jconv.inspect(block)(X).convolutions]
    assert len(set(sources)) == 3
    assert all(source.startswith("inverted_residual.py:") for source in sources)
    layer = jconv.nn.ConvNorm(4, 4, 3, rngs=nnx.Rngs(0))
    (conv,) = jconv.inspect(lambda layer, x: layer(x))(layer, X).convolutions
    assert conv.site.source.startswith("test_inspect.py:")


def test_inspecting_a_model_in_training_does_not_change_it():
    class Model(nnx.Module):
        def __init__(self, rngs):
            ones = nnx.initializers.ones
            self.conv = jconv.nn.DepthwiseConv(4, (3, 3), kernel_init=ones, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(self.norm(self.conv(x)))

    model = Model(nnx.Rngs(0))
    (conv,) = jconv.inspect(model)(X).convolutions
    assert conv.problem.groups == 4
    np.testing.assert_array_equal(model.norm.mean[...], 0)
    shapes = nnx.eval_shape(lambda: Model(nnx.Rngs(0)))
    assert jconv.inspect(shapes)(X).convolutions[0].problem == conv.problem


@on_a_cpu
def test_totals_count_the_most_expensive_branch():
    inner = lambda x, k: lax.cond(x.sum() > 1, convolve, lambda x, k: 0 * convolve(x, k), x, k)
    dear = lambda x, k: convolve(x, k) + inner(x, k)
    outer = lambda x, k: lax.cond(x.sum() > 0, convolve, dear, x, k)
    inspection = jconv.inspect(lambda x, k: outer(x, k) + inner(x, k) + convolve(x, k))(X, KERNEL)
    (one,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    # Four in the first `cond`, two of which run; one of two in the second; and one outside.
    assert [len(c.site.branches) for c in inspection.convolutions].count(0) == 1
    assert len(inspection.convolutions) == 4 + 2 + 1
    assert inspection.multiply_adds == 4 * one.multiply_adds
    assert inspection.bytes == 4 * one.bytes
    assert inspection.seconds == pytest.approx(4 * one.seconds)
    assert f"{inspection.multiply_adds:,}" in str(inspection)
    assert str(inspection).count("in a branch") == 6


def test_errors():
    with pytest.raises(ValueError, match="`fn` must be a function. Received: fn=3"):
        jconv.inspect(3)
    with pytest.raises(ValueError, match="`algorithm` must be 'auto'"):
        jconv.inspect(convolve, algorithm="fast")(X, KERNEL)


def test_blocks_of_a_network_have_different_scopes():
    network = jconv.models.ParallelNet(rngs=nnx.Rngs(0))
    convolutions = jconv.inspect(network)(jnp.ones((1, 8, 8, 1))).convolutions
    assert [c.site.scope for c in convolutions] == [("blocks.0",)] * 3 + [("blocks.1",)] * 3


def test_the_table_is_shown_in_notebooks_too():
    html = jconv.inspect(convolve)(X, KERNEL)._repr_html_()
    assert html.startswith("<pre") and "3x3, stride 2" in html
