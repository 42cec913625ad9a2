"""One training step: accumulation, moving average, precision, evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.tiny_run import read_metrics, tiny_config

from jconv.nn import Conv, Sequential
from jconv.train import train
from jconv.train.losses import mean_squared_error
from jconv.train.optimizer import build_optimizer
from jconv.train.step import TrainStep, evaluate_batch
from jconv.train.trainer import Trainer

TWO_STEPS_PER_UPDATE = build_optimizer(
    tiny_config(optimizer={"kind": "sgd", "learning_rate": 0.1}, accumulate=2)
)


def regression(rng, optimizer=None, **options):
    """Return the step of one convolution without bias, its initial state, and a batch."""
    layer = Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    options = dict(loss=mean_squared_error, classes=1) | options
    step, state = TrainStep.create([layer], optimizer or optax.sgd(0.1), **options)
    x = jnp.asarray(rng.normal(size=(8, 6, 6, 1)), "float32")
    y = jnp.asarray(rng.normal(size=(8, 4, 4, 1)), "float32")
    return step, state, x, y


def kernel(state):
    return np.asarray(jax.tree.leaves(state.params)[0])


def test_two_accumulated_half_batches_make_the_update_of_the_whole_batch(rng):
    step, state, x, y = regression(rng)
    expected, _ = step(state, x, y, jax.random.key(0))
    step, state, *_ = regression(rng, TWO_STEPS_PER_UPDATE)
    first, _ = step(state, x[:4], y[:4], jax.random.key(0))
    np.testing.assert_array_equal(kernel(first), kernel(state))
    second, _ = step(first, x[4:], y[4:], jax.random.key(0))
    np.testing.assert_allclose(kernel(second), kernel(expected), rtol=1e-5, atol=1e-6)


def test_moving_average_of_the_parameters_is_evaluated(rng):
    step, state, x, y = regression(rng, ema_decay=0.75)
    first, _ = step(state, x, y, jax.random.key(0))
    np.testing.assert_allclose(step.model(first).kernel[...], kernel(first), rtol=1e-6)
    second, _ = step(first, x, y, jax.random.key(0))
    expected = (0.75 * kernel(first) + kernel(second)) / 1.75  # without the initial parameters
    evaluated, trained = (step.model(second, evaluation=e).kernel[...] for e in (True, False))
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(trained, kernel(second))
    metrics = evaluate_batch(step, second, x, y, np.ones(8, bool))
    errors = (step.model(second)(x) - y) ** 2
    np.testing.assert_allclose(metrics["loss"], 8 * np.mean(errors), rtol=1e-5)


def test_moving_average_is_over_updates_and_not_over_accumulated_steps(rng):
    step, state, x, y = regression(rng, ema_decay=0.75)
    first, _ = step(state, x, y, jax.random.key(0))
    expected, _ = step(first, x, y, jax.random.key(0))
    step, state, *_ = regression(rng, TWO_STEPS_PER_UPDATE, ema_decay=0.75)
    for half in (slice(0, 4), slice(4, 8)) * 2:
        state, _ = step(state, x[half], y[half], jax.random.key(0))
    assert int(state.ema.updates) == 2
    for a, b in zip(jax.tree.leaves(state.ema), jax.tree.leaves(expected.ema), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_batch_norm_statistics_are_averaged_with_the_parameters(rng):
    norm = nnx.BatchNorm(1, momentum=0.5, rngs=nnx.Rngs(0))
    layers = Sequential([norm, nnx.Dropout(0.5, rngs=nnx.Rngs(1))])
    options = dict(loss=mean_squared_error, classes=1, ema_decay=0.75)
    step, state = TrainStep.create([layers], optax.sgd(0.1), **options)
    x, y = (jnp.asarray(rng.normal(3.0, size=(8, 4, 4, 1)), "float32") for _ in range(2))
    first, _ = step(state, x, y, jax.random.key(0))
    second, _ = step(first, x, y, jax.random.key(0))
    a, b = (step.model(s, evaluation=False).layers[0].mean[...] for s in (first, second))
    assert abs(b - a) > 0.1
    evaluated = step.model(second).layers[0].mean[...]
    np.testing.assert_allclose(evaluated, (0.75 * a + b) / 1.75, rtol=1e-5)


def test_layers_compute_in_bfloat16_and_parameters_remain_float32(rng):
    step, state, x, y = regression(rng, precision=jnp.bfloat16)
    program = str(jax.make_jaxpr(step)(state, x, y, jax.random.key(0)))
    convolutions = [line for line in program.splitlines() if "jconv_conv[" in line]
    assert convolutions and all("bf16[" in line for line in convolutions)
    after, metrics = step(state, x, y, jax.random.key(0))
    assert kernel(after).dtype == np.float32 and metrics["loss"].dtype == np.float32
    exact, _ = regression(rng)[0](state, x, y, jax.random.key(0))
    change, expected = kernel(after) - kernel(state), kernel(exact) - kernel(state)
    np.testing.assert_allclose(change, expected, atol=0.03 * np.abs(expected).max())


def test_confusion_matrix_is_omitted_for_very_many_classes(tmp_path):
    np.savez(tmp_path / "many.npz", x=np.zeros((40, 8, 8), np.uint8), y=np.arange(40) * 25)
    data = {"kind": "npz", "path": str(tmp_path / "many.npz"), "images": "x", "labels": "y",
            "num_classes": 1000}  # fmt: skip
    trainer = Trainer(tiny_config(data=data, batch_size=4))
    assert trainer.data.outputs == 1000
    assert set(trainer.evaluate(trainer.data.train)) == {"loss", "accuracy"}


@pytest.mark.slow
def test_all_options_of_a_step_together_lower_the_loss(tmp_path):
    config = tiny_config(
        augment={"shift": 1, "flip": True, "cutout": 2, "mixup": 0.2},
        label_smoothing=0.1,
        ema=0.9,
        clip_norm=5.0,
        precision="bfloat16",
        loss="binary",
    )
    run, _ = train(config, runs=tmp_path)
    losses = [line["loss"] for line in read_metrics(run)]
    assert losses[-1] < 0.9 * losses[0]
