"""`jconv.inspect`: what is convolved, where, and by what."""

import functools

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

import jconv

X, KERNEL = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))


def convolve(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_what_lax_convolves_is_listed_as_accelerate_would_do_it():
    (found,) = jconv.inspect(convolve)(X, KERNEL).convolutions
    assert found.place.where.startswith("test_inspection.py:") and "(convolve)" in found.place.where
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
    assert all("test_inspection.py" in c.place.where for c in found)


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

    monkeypatch.setattr("jconv.inspection.seconds_alone", seconds)
    twice = lambda x, k: convolve(x, k) + convolve(x, 2 * k)
    found = jconv.inspect(twice, "direct", timed=True)(X, KERNEL)
    assert found.seconds == 3.0 and len(found.convolutions) == 2
    assert timed == [(jconv.ALGORITHMS["direct"], found.convolutions[0].problem)]  # once


@pytest.mark.parametrize("algorithm", ["auto", "xla"])
def test_times_are_measured(algorithm):
    found = jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()), algorithm, timed=True)(KERNEL)
    assert all(0 < c.seconds < 10 for c in found.convolutions)


def test_the_table():
    text = str(jconv.inspect(jax.grad(lambda k: convolve(X, k).sum()))(KERNEL))
    for words in ("test_inspection.py:", "3x3, stride 2", "13,824", "in a gradient", "total"):
        assert words in text
    assert len(text.splitlines()[3]) <= 120


def test_errors():
    with pytest.raises(ValueError, match="`fn` must be a function. Received: fn=3"):
        jconv.inspect(3)
    with pytest.raises(ValueError, match="`algorithm` must be 'auto'"):
        jconv.inspect(convolve, algorithm="fast")(X, KERNEL)
