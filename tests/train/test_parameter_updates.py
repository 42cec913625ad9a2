"""Parameter updates of one training step against their analytic values."""

import jax
import numpy as np
import optax
import pytest
from flax import nnx

import jconv
from jconv.data import batch_indices, load_digits
from jconv.models import ParallelNet
from jconv.train.losses import cross_entropy, mean_squared_error
from jconv.train.step import TrainStep


def make_step(model, optimizer, loss):
    """Return the compiled step, the initial state, and a function from state to model."""
    train_step, state = TrainStep.create([model], optimizer, loss=loss, classes=10)
    step = jax.jit(lambda state, x, y: train_step(state, x, y, jax.random.key(0)))
    return step, state, train_step.model


def test_linear_layer_takes_the_analytic_gradient_step(rng):
    """For y = W x + b under MSE, dL/dW = 2/n sum((y_hat - y) x) and W becomes W - lr dL/dW."""
    x = rng.normal(size=(32, 1)).astype("float32")
    y = 3 * x - 1 + 0.1 * rng.normal(size=x.shape).astype("float32")
    rate = 0.1
    layer = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    step, state, model_of = make_step(layer, optax.sgd(rate), mean_squared_error)
    for _ in range(3):
        w, b = float(layer.kernel[0, 0]), float(layer.bias[0])
        error = (w * x + b) - y
        state, _ = step(state, x, y)
        layer = model_of(state)
        assert float(layer.kernel[0, 0]) == pytest.approx(
            w - rate * 2 * np.mean(error * x), rel=1e-5
        )
        assert float(layer.bias[0]) == pytest.approx(b - rate * 2 * np.mean(error), rel=1e-5)


def test_kernel_takes_the_analytic_gradient_step(rng):
    """For a convolution, dL/dk[m, n] sums the error times the pixels under tap (m, n)."""
    x = rng.normal(size=(4, 8, 8, 1)).astype("float32")
    target = rng.normal(size=(4, 6, 6, 1)).astype("float32")
    rate = 0.05
    layer = jconv.nn.Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    kernel = np.asarray(layer.kernel[...])[:, :, 0, 0]
    y = jconv.conv(x, kernel[:, :, None, None], padding="VALID")
    error = np.asarray(y) - target
    step, state, model_of = make_step(layer, optax.sgd(rate), mean_squared_error)
    layer = model_of(step(state, x, target)[0])
    for m, n in np.ndindex(3, 3):
        gradient = 2 * np.mean(error * x[:, m : m + 6, n : n + 6])
        updated = float(layer.kernel[m, n, 0, 0])
        assert updated == pytest.approx(kernel[m, n] - rate * gradient, rel=1e-4, abs=1e-6)


def test_training_lowers_the_loss_and_changes_every_parameter():
    data = load_digits().train
    model = ParallelNet(blocks=[{1: 8, 3: 16, 5: 8}], rngs=nnx.Rngs(0))
    step, state, _ = make_step(model, optax.adam(3e-3), cross_entropy)
    before = jax.tree.map(np.asarray, state.params)
    losses = []
    for _, indices in zip(range(40), batch_indices(len(data), 64, seed=0), strict=False):
        state, metrics = step(state, *data.take(indices))
        losses.append(float(metrics["loss"]))
    changes = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, state.params)
    assert min(jax.tree.leaves(changes)) > 1e-3
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
