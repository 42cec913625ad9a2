"""What a config says of learning: rules, schedules, losses, augmentation; and replicates."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jconv.nn import Conv, Sequential
from jconv.train import TrainConfig, train
from jconv.train.augment import augment_batch, cutout, flip, mixup
from jconv.train.config import Augment
from jconv.train.losses import (
    accuracy,
    binary_cross_entropy,
    confusion,
    cross_entropy,
    mean_squared_error,
    smooth_labels,
)
from jconv.train.optimizer import build_optimizer, build_schedule
from jconv.train.step import TrainStep, evaluate_batch
from jconv.train.trainer import Trainer

TINY = {
    "name": "tiny",
    "data": {"kind": "digits"},
    "model": {"kind": "parallel_net", "blocks": [{1: 4, 3: 8}]},
    "optimizer": {"kind": "adam", "learning_rate": 1e-2},
    "steps": 30,
    "batch_size": 32,
    "log": {"every": 10, "evaluate_every": 10, "kernels_every": 30},
}


def config(**changes):
    return TrainConfig.model_validate(TINY | changes)


def logged(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ({"kind": "constant", "warmup_steps": 10}, {0: 0, 5: 0.5, 10: 1, 99: 1}),
        ({"kind": "step", "every": 30, "factor": 0.5}, {0: 1, 29: 1, 30: 0.5, 60: 0.25, 99: 0.125}),
        ({"kind": "step", "every": 30, "factor": 0.5, "warmup_steps": 10},
         {5: 0.5, 10: 1, 39: 1, 40: 0.5}),
        ({"kind": "one_cycle", "pct_start": 0.5, "start": 0.1, "end": 0.01},
         {0: 0.1, 50: 1, 100: 0.01}),
    ],
)  # fmt: skip
def test_schedules(schedule, expected):
    rate = build_schedule(config(schedule=schedule, optimizer={"kind": "sgd", "learning_rate": 1},
                                 steps=100))  # fmt: skip
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5), step


def test_a_schedule_counts_updates_where_several_steps_make_one():
    whole = build_schedule(config(schedule={"kind": "cosine"}, steps=100))
    halved = build_schedule(config(schedule={"kind": "cosine"}, steps=200, accumulate=2))
    steps = {"kind": "step", "every": 10, "factor": 0.5, "warmup_steps": 6}
    falls = build_schedule(config(schedule=steps, steps=100, accumulate=4))
    by_steps = build_schedule(config(schedule=steps, steps=100))
    for update in range(25):
        assert falls(update) == pytest.approx(by_steps(4 * update))
    assert [float(whole(i)) for i in (0, 50, 100)] == [float(halved(i)) for i in (0, 50, 100)]


def updates_of(gradient, parameters, **changes):
    rule = build_optimizer(config(**changes))
    return rule.update(gradient, rule.init(parameters), parameters)[0]


@pytest.mark.parametrize("kind", ["momentum", "adamw", "lion", "lamb"])
@pytest.mark.parametrize("weight_decay_on", ["kernels", "all"])
def test_weights_that_decay_and_those_that_do_not(kind, weight_decay_on):
    parameters = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    nothing = jax.tree.map(jnp.zeros_like, parameters)
    optimizer = {
        "kind": kind,
        "learning_rate": 0.1,
        "weight_decay": 0.5,
        "weight_decay_on": weight_decay_on,
    }
    updates = updates_of(nothing, parameters, optimizer=optimizer)
    assert (updates["kernel"] < -1e-3).all()
    assert ((updates["bias"] < -1e-3) if weight_decay_on == "all" else (updates["bias"] == 0)).all()


def test_a_gradient_is_clipped_by_its_norm_over_all_parameters():
    gradient = {"a": jnp.full(9, 4.0), "b": jnp.full(16, 3.0)}  # of norms 12 and 12
    sgd = {"kind": "sgd", "learning_rate": 1.0}
    updates = updates_of(gradient, gradient, optimizer=sgd, clip_norm=2.0)
    assert float(optax.tree.norm(updates)) == pytest.approx(2, rel=1e-5)
    np.testing.assert_allclose(updates["a"][0] / updates["b"][0], 4 / 3, rtol=1e-5)
    small = updates_of(gradient, gradient, optimizer=sgd, clip_norm=100.0)
    np.testing.assert_allclose(small["a"], -gradient["a"])


def regression(rng, **options):
    """A convolution without bias, its train_step, first state and a batch."""
    layer = Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    options = dict(loss=mean_squared_error, classes=1) | options
    train_step, state = TrainStep.create([layer], optax.sgd(0.1), **options)
    x = rng.normal(size=(8, 6, 6, 1)).astype("float32")
    y = rng.normal(size=(8, 4, 4, 1)).astype("float32")
    return train_step, state, x, y


def test_two_halves_of_a_batch_make_the_update_of_the_whole(rng):
    train_step, state, x, y = regression(rng)
    whole, _ = train_step(state, x, y, jax.random.key(0))
    rule = build_optimizer(config(optimizer={"kind": "sgd", "learning_rate": 0.1}, accumulate=2))
    layer = Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    train_step, state = TrainStep.create([layer], rule, loss=mean_squared_error, classes=1)
    first, _ = train_step(state, x[:4], y[:4], jax.random.key(0))
    np.testing.assert_array_equal(kernel(first), kernel(state))
    second, _ = train_step(first, x[4:], y[4:], jax.random.key(0))
    np.testing.assert_allclose(kernel(second), kernel(whole), rtol=1e-5, atol=1e-6)


def kernel(state):
    return np.asarray(jax.tree.leaves(state.params)[0])


def test_the_mean_of_the_weights_is_what_is_evaluated(rng):
    train_step, state, x, y = regression(rng, ema_decay=0.75)
    first, _ = train_step(state, x, y, jax.random.key(0))
    np.testing.assert_allclose(train_step.model(first).kernel[...], kernel(first), rtol=1e-6)
    second, _ = train_step(first, x, y, jax.random.key(0))
    expected = (0.75 * kernel(first) + kernel(second)) / 1.75  # nothing of what was there before
    evaluated, trained = (train_step.model(second, evaluation=e).kernel[...] for e in (True, False))
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(trained, kernel(second))
    figures = evaluate_batch(train_step, second, x, y, np.ones(8, bool))
    errors = (train_step.model(second)(x) - y) ** 2
    np.testing.assert_allclose(figures["loss"], 8 * np.mean(errors), rtol=1e-5)


def test_the_mean_of_the_weights_is_over_updates_and_not_over_their_parts(rng):
    train_step, state, x, y = regression(rng, ema_decay=0.75)
    first, _ = train_step(state, x, y, jax.random.key(0))
    whole, _ = train_step(first, x, y, jax.random.key(0))
    layer = Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    rule = build_optimizer(config(optimizer={"kind": "sgd", "learning_rate": 0.1}, accumulate=2))
    options = dict(loss=mean_squared_error, classes=1, ema_decay=0.75)
    train_step, state = TrainStep.create([layer], rule, **options)
    for half in (slice(0, 4), slice(4, 8)) * 2:
        state, _ = train_step(state, x[half], y[half], jax.random.key(0))
    assert int(state.ema.updates) == 2
    for own, expected in zip(jax.tree.leaves(state.ema), jax.tree.leaves(whole.ema), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-6)


def test_statistics_of_norms_are_those_of_the_mean_of_the_weights(rng):
    layers = Sequential(
        [nnx.BatchNorm(1, momentum=0.5, rngs=nnx.Rngs(0)), nnx.Dropout(0.5, rngs=nnx.Rngs(1))]
    )
    train_step, state = TrainStep.create(
        [layers], optax.sgd(0.1), loss=mean_squared_error, classes=1, ema_decay=0.75
    )
    x, y = (rng.normal(3.0, size=(8, 4, 4, 1)).astype("float32") for _ in range(2))
    first, _ = train_step(state, x, y, jax.random.key(0))
    second, _ = train_step(first, x, y, jax.random.key(0))
    one, other = (
        train_step.model(s, evaluation=False).layers[0].mean[...] for s in (first, second)
    )
    assert abs(other - one) > 0.1
    evaluated = train_step.model(second).layers[0].mean[...]
    np.testing.assert_allclose(evaluated, (0.75 * one + other) / 1.75, rtol=1e-5)


def test_layers_compute_in_bfloat16_and_weights_stay_in_float32(rng):
    train_step, state, x, y = regression(rng, precision=jnp.bfloat16)
    program = str(jax.make_jaxpr(train_step)(state, x, y, jax.random.key(0)))
    convolutions = [line for line in program.splitlines() if "jconv_conv[" in line]
    assert convolutions and all("bf16[" in line for line in convolutions)
    after, figures = train_step(state, x, y, jax.random.key(0))
    assert kernel(after).dtype == np.float32 and figures["loss"].dtype == np.float32
    exact, _ = regression(np.random.default_rng(0))[0].step(state, x, y, jax.random.key(0))
    moved, wanted = kernel(after) - kernel(state), kernel(exact) - kernel(state)
    np.testing.assert_allclose(moved, wanted, atol=0.03 * np.abs(wanted).max())


def test_smoothed_labels():
    np.testing.assert_allclose(smooth_labels(jnp.array([2]), 4, 0.2), [[0.05, 0.05, 0.85, 0.05]])
    np.testing.assert_allclose(smooth_labels(jnp.array([1, 0]), 1, 0.2), [[0.9], [0.1]])
    labels = jnp.array([1, 3])
    assert smooth_labels(labels, 4, 0.0) is labels
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    by_shares = cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(by_shares, cross_entropy(logits, jnp.array([1])), rtol=1e-6)


def test_yes_or_no():
    logits = jnp.array([[0.0], [2.0]])
    expected = (np.log(2) + np.log1p(np.exp(2))) / 2
    assert float(binary_cross_entropy(logits, jnp.array([1, 0]))) == pytest.approx(expected)
    assert float(accuracy(logits, jnp.array([0, 1]))["accuracy"]) == 1
    three = jnp.array([[1.0, -1.0, 0.0]])
    expected = np.log1p(np.exp(-1)) + np.log1p(np.exp(-1)) + np.log(2)
    assert float(binary_cross_entropy(three, jnp.array([0]))) == pytest.approx(expected)


def test_what_was_taken_for_what():
    outputs = jnp.eye(3)[jnp.array([0, 1, 1, 2])]
    table = confusion(outputs, jnp.array([0, 1, 2, 2]), jnp.array([True, True, True, False]))
    np.testing.assert_array_equal(table, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])


def test_flip_turns_whole_images_round_half_of_the_time(rng):
    images = rng.normal(size=(200, 3, 4, 2)).astype("float32")
    turned = np.asarray(flip(images, jax.random.key(0)))
    same = (turned == images).all((1, 2, 3))
    assert ((turned == images[:, :, ::-1]).all((1, 2, 3)) | same).all()
    assert 60 < same.sum() < 140


def test_cutout_clears_one_square_of_each_image():
    images = np.ones((100, 9, 7, 2), "float32")
    cut = np.asarray(cutout(images, 3, jax.random.key(0)))
    for image in cut:
        rows, columns = np.nonzero((image == 0).all(-1))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 1 <= height <= 3 and 1 <= width <= 3 and len(rows) == height * width
        assert (image == 0).sum() == 2 * len(rows)
    assert len({tuple(np.argwhere(image[..., 0] == 0)[0]) for image in cut}) > 20


def test_mixup_mixes_labels_as_it_mixes_images():
    labels = np.arange(6)
    images = np.eye(6, dtype="float32").reshape(6, 6, 1, 1)
    mixed, shares = mixup(images, jnp.asarray(np.eye(6, dtype="float32")), 1.0, jax.random.key(3))
    np.testing.assert_allclose(mixed[:, :, 0, 0], shares, rtol=1e-6)
    assert np.allclose(shares.sum(1), 1) and not np.allclose(shares, np.eye(6))
    _, targets = augment_batch(
        images, jnp.asarray(labels), Augment(mixup=0.5), 6, jax.random.key(0)
    )
    assert targets.shape == (6, 6)
    same = augment_batch(images, labels, Augment(), 6, jax.random.key(0))
    assert same[0] is images and same[1] is labels


@pytest.mark.slow
def test_what_is_done_to_images_learns_too(tmp_path):
    how = {"shift": 1, "flip": True, "cutout": 2, "mixup": 0.2}
    run, _ = train(config(augment=how, label_smoothing=0.1, ema=0.9, clip_norm=5.0,
                          precision="bfloat16", loss="binary"), runs=tmp_path)  # fmt: skip
    losses = [line["loss"] for line in logged(run)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_run_that_gets_no_better_ends_early(tmp_path):
    still = {"kind": "sgd", "learning_rate": 1e-12}
    run, summary = train(
        config(optimizer=still, early_stopping={"patience": 2, "min_delta": 1e-4}, steps=500),
        runs=tmp_path,
    )
    assert summary["status"] == "finished" and summary["stopped_early"]
    assert summary["steps"] == 30 and (run / "checkpoints" / "000030").is_dir()


def test_replicates_are_the_runs_of_their_seeds(tmp_path):
    changes = {"augment": {"shift": 1}, "model": TINY["model"] | {"dropout": 0.2, "norm": True}}
    many, summary = train(config(replicates=3, seed=5, **changes), runs=tmp_path / "many")
    singles = [train(config(seed=seed, **changes), runs=tmp_path / str(seed)) for seed in (5, 6, 7)]
    lines = [logged(run) for run, _ in singles]
    for i, line in enumerate(logged(many)):
        for name in ("loss", "accuracy", "grad_norm"):
            values = [own[i][name] for own in lines]
            assert line[name] == pytest.approx(np.mean(values), rel=2e-3)
            error = np.std(values, ddof=1) / np.sqrt(3)
            assert line[f"{name}_error"] == pytest.approx(error, rel=0.05, abs=2e-3)
    values = [own["test_accuracy"] for _, own in singles]
    assert summary["test_accuracy"] == pytest.approx(np.mean(values), abs=5e-3)
    assert np.sum(summary["test_confusion"]) == 3 * summary["test_images"]
    with (
        np.load(many / "kernels" / "000030.npz") as own,
        np.load(singles[0][0] / "kernels" / "000030.npz") as first,
    ):
        for name in first:
            np.testing.assert_allclose(own[name], first[name], atol=2e-3)


def test_a_table_of_very_many_classes_is_not_made(tmp_path):
    labels = np.arange(40) * 25
    images = np.zeros((40, 8, 8), np.uint8)
    np.savez(tmp_path / "many.npz", x=images, y=labels)
    data = {"kind": "npz", "path": str(tmp_path / "many.npz"), "images": "x", "labels": "y",
            "classes": 1000}  # fmt: skip
    training = Trainer(config(data=data, batch_size=4))
    assert training.data.outputs == 1000
    figures = training.evaluate(training.data.train)
    assert set(figures) == {"loss", "accuracy"}
