"""`jconv.inspect`: what is convolved, where, and by what."""

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
def wide(monkeypatch):
    """A terminal of 120 columns, whatever the tests run in."""
    monkeypatch.setenv("COLUMNS", "120")


def convolve(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@on_a_cpu
def test_what_lax_convolves_is_listed_as_accelerate_would_do_it():
    (found,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    assert found.place.where.startswith("test_inspect.py:") and "(convolve)" in found.place.where
    assert found.window == "3x3, stride 2"
    assert found.x == (1, 2, 8, 8, 1, 4) and found.kernel == (1, 3, 3, 1, 4, 6)
    assert found.multiply_adds == 2 * 4 * 4 * 9 * 4 * 6
    assert found.bytes == 4 * (X.size + KERNEL.size + 2 * 4 * 4 * 6)
    assert found.intensity == pytest.approx(2 * found.multiply_adds / found.bytes)
    assert found.algorithm in jconv.ALGORITHMS and "predicted to take" in found.reason
    assert found.seconds > 0
    assert not found.place.derivative and found.place.runs == 1


def test_gradients_and_loops():
    def loss(kernel):
        step = lambda x, _: (jconv.conv(x, kernel, groups=4, algorithm="direct"), None)
        return (lax.scan(step, X, None, length=5)[0] ** 2).sum()

    found = jconv.inspect(jax.jit(jax.grad(loss)))(jnp.ones((3, 3, 1, 4))).convolutions
    assert [(c.place.derivative, c.place.runs) for c in found] == [(False, 5), (True, 5), (True, 5)]
    assert found[0].algorithm == "direct" and found[0].reason == "asked for"
    assert found[0].window == "3x3, 4 groups"
    assert all("test_inspect.py" in c.place.where for c in found)


def test_a_model_with_what_is_no_array_among_its_arguments():
    model = nnx.Conv(4, 6, (3, 3), rngs=nnx.Rngs(0))
    call = lambda model, x, name, act=None: {"y": act(model(x)), "name": name}
    found = jconv.inspect(call)(model, X, "some name", act=nnx.relu)
    assert [c.kernel for c in found.convolutions] == [(1, 3, 3, 1, 4, 6)]


def test_shapes_are_enough_and_nothing_runs():
    x, kernel = (jax.ShapeDtypeStruct(a.shape, a.dtype) for a in (X, KERNEL))
    assert len(jconv.inspect(functools.partial(convolve))(x, kernel).convolutions) == 1


def test_times_are_of_each_alone(monkeypatch):
    timed = []

    def seconds(algorithm, problem):
        timed.append((algorithm, problem))
        return 1.5

    monkeypatch.setattr("jconv.transforms.inspect.seconds_alone", seconds)
    twice = lambda x, k: convolve(x, k) + convolve(x, 2 * k)
    found = jconv.inspect(twice, algorithm="direct", timed=True)(X, KERNEL)
    assert found.seconds == 3.0 and len(found.convolutions) == 2
    assert timed == [(jconv.ALGORITHMS["direct"], found.convolutions[0].problem)]  # once


@pytest.mark.parametrize("algorithm", ["auto", "xla"])
def test_times_are_measured(algorithm):
    found = jconv.inspect(
        jax.grad(lambda k: convolve(X, k).sum()), algorithm=algorithm, timed=True
    )(KERNEL)
    assert all(0 < c.seconds < 10 for c in found.convolutions)


def test_the_table():
    text = str(jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()))(KERNEL))
    for words in ("test_inspect.py:", "3x3, stride 2", "13,824", "in a gradient", "total"):
        assert words in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_is_whole_in_a_narrow_terminal(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    found = jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()))(KERNEL)
    text = repr(found)
    assert text == str(found) and "\x1b" not in text
    assert "…" not in text and max(map(len, text.splitlines())) <= width
    for c in found.convolutions:
        numbers = (f"{c.multiply_adds:,}", "3.59 KiB", f"{c.intensity:.1f}")
        for words in (*numbers, c.algorithm, c.place.where.split()[0], "bytes"):
            assert words in text
        # Its place, its shapes and its window, of which the width may break each once.
    assert len(text.splitlines()) <= 8 + 6 * len(found.convolutions)


def test_a_scope_that_is_called_transpose_is_no_gradient():
    def forward(kernel):
        with jax.named_scope("conv2d_transpose"), jax.named_scope("transpose"):
            return convolve(X, kernel).sum()

    places = [c.place for c in jconv.inspect(jax.grad(jax.jit(forward)))(KERNEL).convolutions]
    assert [place.derivative for place in places] == [False, True]


def test_scopes_tell_apart_what_one_line_calls():
    def network(kernel):
        y = X[..., :1]
        for name in ("stem", "body"):
            with jax.named_scope(name):
                y = jax.checkpoint(convolve)(y, kernel)
        return y.sum()

    found = jconv.inspect(jax.jit(network))(jnp.ones((3, 3, 1, 1)))
    assert [c.place.scope for c in found.convolutions] == [("stem",), ("body",)]
    text = str(jconv.inspect(jax.grad(jax.jit(network)))(jnp.ones((3, 3, 1, 1))))
    assert "in stem, in a gradient" in text and "stem/stem" not in text


def test_a_place_whose_path_has_a_space_and_parentheses(tmp_path):
    path = tmp_path / "my code (old)" / "model.py"
    path.parent.mkdir()
    path.write_text("def call(convolve, x, k):\n    return convolve(x, k)\n")
    names = {}
    exec(compile(path.read_text(), path, "exec"), names)
    convolve_there = functools.partial(
        lax.conv_general_dilated, window_strides=(1, 1), padding="SAME"
    )
    (found,) = jconv.inspect(lambda x, k: names["call"](convolve_there, x, k))(
        jnp.ones((1, 1, 5, 5)), jnp.ones((1, 1, 3, 3))
    ).convolutions
    assert found.place.where == "model.py:2 (call)"


def test_the_algorithm_itself_is_told():
    tiles = jconv.Winograd(tile=2)
    (found,) = jconv.inspect(lambda x, k: jconv.conv(x, k, algorithm=tiles))(X, KERNEL).convolutions
    assert found.value == tiles and found.algorithm == repr(tiles)
    (found,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    assert found.value == jconv.ALGORITHMS[found.algorithm]


def test_a_network_of_ours_shows_the_lines_of_its_blocks():
    block = jconv.nn.InvertedResidual(4, 4, rngs=nnx.Rngs(0))
    places = [c.place.where for c in jconv.inspect(block)(X).convolutions]
    assert len(set(places)) == 3
    assert all(place.startswith("inverted_residual.py:") for place in places)
    layer = jconv.nn.ConvNorm(4, 4, 3, rngs=nnx.Rngs(0))
    (found,) = jconv.inspect(lambda layer, x: layer(x))(layer, X).convolutions
    assert found.place.where.startswith("test_inspect.py:")


def test_a_model_in_training_is_inspected_and_left_as_it_was():
    class Model(nnx.Module):
        def __init__(self, rngs):
            ones = nnx.initializers.ones
            self.conv = jconv.nn.DepthwiseConv(4, (3, 3), kernel_init=ones, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return self.dropout(self.norm(self.conv(x)))

    model = Model(nnx.Rngs(0))
    (found,) = jconv.inspect(model)(X).convolutions
    assert found.problem.groups == 4
    np.testing.assert_array_equal(model.norm.mean[...], 0)
    shapes = nnx.eval_shape(lambda: Model(nnx.Rngs(0)))
    assert jconv.inspect(shapes)(X).convolutions[0].problem == found.problem


@on_a_cpu
def test_of_branches_the_dearest_counts():
    inner = lambda x, k: lax.cond(x.sum() > 1, convolve, lambda x, k: 0 * convolve(x, k), x, k)
    dear = lambda x, k: convolve(x, k) + inner(x, k)
    outer = lambda x, k: lax.cond(x.sum() > 0, convolve, dear, x, k)
    found = jconv.inspect(lambda x, k: outer(x, k) + inner(x, k) + convolve(x, k))(X, KERNEL)
    (one,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    # Four in the first `cond`, two of which run; one of two in the second; and one outside.
    assert [len(c.place.branches) for c in found.convolutions].count(0) == 1
    assert len(found.convolutions) == 4 + 2 + 1
    assert found.multiply_adds == 4 * one.multiply_adds
    assert found.bytes == 4 * one.bytes
    assert found.seconds == pytest.approx(4 * one.seconds)
    assert f"{found.multiply_adds:,}" in str(found)
    assert str(found).count("in a branch") == 6


def test_errors():
    with pytest.raises(ValueError, match="`fn` must be a function. Received: fn=3"):
        jconv.inspect(3)
    with pytest.raises(ValueError, match="`algorithm` must be 'auto'"):
        jconv.inspect(convolve, algorithm="fast")(X, KERNEL)


def test_the_blocks_of_a_network_are_told_apart():
    network = jconv.models.ParallelNet(rngs=nnx.Rngs(0))
    found = jconv.inspect(network)(jnp.ones((1, 8, 8, 1))).convolutions
    assert [c.place.scope for c in found] == [("blocks.0",)] * 3 + [("blocks.1",)] * 3
