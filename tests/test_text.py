"""The text that jconv grew from, line by line, as code that runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jconv
from jconv.analysis import summarize
from jconv.data import batches, load_digits
from jconv.models import ParallelNet
from jconv.train.losses import cross_entropy, mean_squared_error
from jconv.train.step import Learner

X = np.arange(1.0, 17.0).reshape(4, 4)
EDGE = np.array([[-1.0, 0.0, 1.0]] * 3)


def filtered(image, kernel, **options):
    """A kernel on one grey image, without padding."""
    y = jconv.conv(image[None, :, :, None], kernel[:, :, None, None], padding="VALID", **options)
    return np.asarray(y[0, :, :, 0])


def test_the_4x4_example():
    np.testing.assert_array_equal(filtered(X, EDGE), [[6, 6], [6, 6]])


def test_the_first_output_is_6_and_not_7_and_the_walk_through_shows_why():
    walk = jconv.walkthrough(X, EDGE)
    np.testing.assert_array_equal(walk.output, filtered(X, EDGE))
    assert "-1 + 3 - 5 + 7 - 9 + 11 = 6" in str(walk)


def test_true_convolution_turns_the_kernel_round():
    np.testing.assert_array_equal(filtered(X, EDGE, flip=True), [[-6, -6], [-6, -6]])
    np.testing.assert_array_equal(jconv.walkthrough(X, EDGE, flip=True).output, [[-6, -6]] * 2)


@pytest.mark.parametrize("flip", [False, True])
def test_the_two_formulas(flip, rng):
    """Correlation: sum of f[i+m, j+n] k[m, n]. Convolution: sum of f[i-m, j-n] k[m, n]."""
    f, k = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
    y = filtered(f, k, flip=flip)
    for i, j in np.ndindex(4, 4):
        if flip:
            # The window's last pixel is where the convolution's indices count down from.
            value = sum(f[i + 2 - m, j + 2 - n] * k[m, n] for m in range(3) for n in range(3))
        else:
            value = sum(f[i + m, j + n] * k[m, n] for m in range(3) for n in range(3))
        assert y[i, j] == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_kernels_detect_edges_where_there_are_edges():
    image = np.zeros((9, 9))
    image[:, 5:] = 1.0  # dark on the left, bright on the right
    response = filtered(image, np.asarray(jconv.kernels.prewitt()))
    assert (response[:, 3:5] == 3).all()  # the two windows that span the edge
    assert (np.delete(response, [3, 4], axis=1) == 0).all()
    assert (filtered(image.T, np.asarray(jconv.kernels.prewitt())) == 0).all()


def learning(model, rule, loss):
    """Steps of a model as a function of state and batch, its first state, and the model in one."""
    learner, state = Learner.of([model], rule, loss=loss, classes=10)
    step = jax.jit(lambda state, x, y: learner.step(state, x, y, jax.random.key(0)))
    return step, state, learner.model


def test_gradient_of_the_single_layer_is_the_analytic_one(rng):
    """y = W x + b under MSE: dL/dW = 2/n sum((y_hat - y) x), and the update is W - lr dL/dW."""
    x = rng.normal(size=(32, 1)).astype("float32")
    y = 3 * x - 1 + 0.1 * rng.normal(size=x.shape).astype("float32")
    rate = 0.1
    layer = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    step, state, model_in = learning(layer, optax.sgd(rate), mean_squared_error)
    for _ in range(3):
        w, b = float(layer.kernel[0, 0]), float(layer.bias[0])
        error = (w * x + b) - y
        state, _ = step(state, x, y)
        layer = model_in(state)
        assert float(layer.kernel[0, 0]) == pytest.approx(
            w - rate * 2 * np.mean(error * x), rel=1e-5
        )
        assert float(layer.bias[0]) == pytest.approx(b - rate * 2 * np.mean(error), rel=1e-5)


def test_gradient_of_a_kernel_is_the_analytic_one(rng):
    """The same for a convolution: each tap meets the pixels that it was multiplied with."""
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    target = rng.normal(size=(4, 6, 6, 1)).astype("float32")
    rate = 0.05
    layer = jconv.nn.Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    kernel = np.asarray(layer.kernel[...])[:, :, 0, 0]
    error = np.stack([filtered(image[..., 0], kernel) for image in x])[..., None] - target
    step, state, model_in = learning(layer, optax.sgd(rate), mean_squared_error)
    layer = model_in(step(state, x, target)[0])
    for m, n in np.ndindex(3, 3):
        gradient = 2 * np.mean(error * x[:, m : m + 6, n : n + 6])
        updated = float(layer.kernel[m, n, 0, 0])
        assert updated == pytest.approx(kernel[m, n] - rate * gradient, rel=1e-4, abs=1e-6)


def test_the_losses():
    assert float(mean_squared_error(jnp.array([[1.0], [4.0]]), jnp.array([[0.0], [2.0]]))) == 2.5
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    assert float(cross_entropy(logits, jnp.array([1]))) == pytest.approx(np.log(4))
    one_hot = mean_squared_error(jnp.array([[1.0, 1.0]]), jnp.array([1]))
    assert float(one_hot) == 0.5


def test_kernels_change_in_training():
    """Initialise, forward (convolution, ReLU, pooling, dense), loss, gradient, update, repeat."""
    data = load_digits().train
    model = ParallelNet(rngs=nnx.Rngs(0))
    step, state, _ = learning(model, optax.adam(3e-3), cross_entropy)
    before = jax.tree.map(np.asarray, state.parameters)
    losses = []
    for _, indices in zip(range(40), batches(len(data), 64, seed=0), strict=False):
        state, metrics = step(state, *data.take(indices))
        losses.append(float(metrics["loss"]))
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, state.parameters)
    assert min(jax.tree.leaves(moved)) > 1e-3
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_the_parallel_block():
    """224x224x3 to 224x224x192 through 64 kernels each of 1x1, 3x3 and 5x5."""
    block = jconv.nn.ParallelConv(3, {1: 64, 3: 64, 5: 64}, rngs=nnx.Rngs(0))
    summary = summarize(block, (224, 224, 3))
    assert summary.layers[-1].output_shape == (224, 224, 192)
    assert summary.parameters == 6_912
    assert summary.multiply_adds == 337_182_720


def test_the_parallel_block_is_its_branches_side_by_side(rng):
    block = jconv.nn.ParallelConv(3, {1: 2, 3: 4, 5: 3}, rngs=nnx.Rngs(0))
    x = rng.normal(size=(2, 7, 6, 3)).astype("float32")
    y = block(x)
    assert y.shape == (2, 7, 6, 9)
    start = 0
    for branch, width in zip(block.branches, (2, 4, 3), strict=True):
        expected = np.maximum(jconv.conv(x, branch.kernel[...]) + branch.bias[...], 0)
        np.testing.assert_allclose(y[..., start : start + width], expected, rtol=1e-5, atol=1e-5)
        start += width


def test_layers_one_by_one_where_a_list_is_meant():
    layers = [jconv.nn.Flatten(), nnx.Linear(4, 2, rngs=nnx.Rngs(0))]
    assert jconv.nn.Sequential(layers)(jnp.ones((3, 2, 2, 1))).shape == (3, 2)
    with pytest.raises(ValueError, match=r"must be one list.*Sequential\(\[Flatten, Linear\]\)"):
        jconv.nn.Sequential(*layers)
    with pytest.raises(ValueError, match="must be one list"):
        jconv.nn.Sequential(layers[0])
    with pytest.raises(ValueError, match="must be one list.*2 arguments"):
        jconv.nn.Sequential([layers[0]], [layers[1]])
    with pytest.raises(ValueError, match="3 at place 1"):
        jconv.nn.Sequential([layers[0], 3])
    with pytest.raises(ValueError, match="list of arrays"):
        jconv.nn.Concatenate()(jnp.ones((1, 2, 2, 1)))


@pytest.mark.parametrize("k, channels, out", [(3, 32, 64), (5, 16, 128), (7, 8, 8)])
def test_separable_convolution_saves_1_over_n_plus_1_over_k_squared(k, channels, out):
    dense = jconv.nn.Conv(channels, out, (k, k), use_bias=False, rngs=nnx.Rngs(0))
    separable = jconv.nn.SeparableConv(channels, out, (k, k), use_bias=False, rngs=nnx.Rngs(0))
    shape = (14, 14, channels)
    dense, separable = summarize(dense, shape), summarize(separable, shape)
    saving = 1 / out + 1 / k**2
    assert separable.parameters / dense.parameters == pytest.approx(saving, rel=1e-12)
    assert separable.multiply_adds / dense.multiply_adds == pytest.approx(saving, rel=1e-12)
