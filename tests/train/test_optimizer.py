"""Optimizers and learning-rate schedules of a config."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.tiny_run import tiny_config

from jconv.nn import Conv
from jconv.train.losses import mean_squared_error
from jconv.train.optimizer import build_optimizer, build_schedule
from jconv.train.step import TrainStep

UNIT_RATE = {"kind": "sgd", "learning_rate": 1}


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ({"kind": "constant", "warmup_steps": 10}, {0: 0, 5: 0.5, 10: 1, 99: 1}),
        ({"kind": "cosine", "warmup_steps": 10}, {0: 0, 5: 0.5, 10: 1, 55: 0.5, 100: 0}),
        ({"kind": "step", "every": 30, "factor": 0.5}, {0: 1, 29: 1, 30: 0.5, 60: 0.25, 99: 0.125}),
        ({"kind": "step", "every": 30, "factor": 0.5, "warmup_steps": 10},
         {5: 0.5, 10: 1, 39: 1, 40: 0.5}),
        ({"kind": "one_cycle", "pct_start": 0.5, "start": 0.1, "end": 0.01},
         {0: 0.1, 50: 1, 100: 0.01}),
    ],
)  # fmt: skip
def test_learning_rate_of_each_schedule(schedule, expected):
    rate = build_schedule(tiny_config(schedule=schedule, optimizer=UNIT_RATE, steps=100))
    for step, value in expected.items():
        assert float(rate(step)) == pytest.approx(value, rel=1e-5, abs=1e-9), step


def test_schedule_counts_updates_if_several_steps_make_one_update():
    single = build_schedule(tiny_config(schedule={"kind": "cosine"}, steps=100))
    double = build_schedule(tiny_config(schedule={"kind": "cosine"}, steps=200, accumulate=2))
    assert [float(single(i)) for i in (0, 50, 100)] == [float(double(i)) for i in (0, 50, 100)]

    decay = {"kind": "step", "every": 10, "factor": 0.5, "warmup_steps": 6}
    by_update = build_schedule(tiny_config(schedule=decay, steps=100, accumulate=4))
    by_step = build_schedule(tiny_config(schedule=decay, steps=100))
    for update in range(25):
        assert by_update(update) == pytest.approx(by_step(4 * update))


def updates(grads, params, **changes):
    optimizer = build_optimizer(tiny_config(**changes))
    return optimizer.update(grads, optimizer.init(params), params)[0]


@pytest.mark.parametrize("kind", ["momentum", "adamw", "lion", "lamb"])
@pytest.mark.parametrize("weight_decay_on", ["kernels", "all"])
def test_weight_decay_applies_to_kernels_or_to_all_parameters(kind, weight_decay_on):
    params = {"kernel": jnp.full((2, 2), 3.0), "bias": jnp.full(2, 3.0)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    optimizer = {"kind": kind, "learning_rate": 0.1, "weight_decay": 0.5}
    decayed = updates(zeros, params, optimizer=optimizer | {"weight_decay_on": weight_decay_on})
    assert (decayed["kernel"] < -1e-3).all()
    bias = decayed["bias"]
    assert (bias < -1e-3).all() if weight_decay_on == "all" else (bias == 0).all()


def test_gradient_is_clipped_by_its_norm_over_all_parameters():
    grads = {"a": jnp.full(9, 4.0), "b": jnp.full(16, 3.0)}  # of norms 12 and 12
    clipped = updates(grads, grads, optimizer=UNIT_RATE, clip_norm=2.0)
    assert float(optax.tree.norm(clipped)) == pytest.approx(2, rel=1e-5)
    np.testing.assert_allclose(clipped["a"][0] / clipped["b"][0], 4 / 3, rtol=1e-5)
    unchanged = updates(grads, grads, optimizer=UNIT_RATE, clip_norm=100.0)
    np.testing.assert_allclose(unchanged["a"], -grads["a"])


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "adamw", "lion", "lamb"])
def test_every_optimizer_lowers_the_loss(kind, rng):
    rate = {"sgd": 0.1, "momentum": 0.05}.get(kind, 1e-2)
    optimizer = build_optimizer(tiny_config(optimizer={"kind": kind, "learning_rate": rate}))
    layer = Conv(1, 1, (3, 3), padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    step, state = TrainStep.create([layer], optimizer, loss=mean_squared_error, classes=1)
    x = jnp.asarray(rng.normal(size=(8, 6, 6, 1)), "float32")
    y = x[:, 1:-1, 2:]  # the kernel whose only tap is right of the centre
    take_step = jax.jit(lambda state: step(state, x, y, jax.random.key(0)))
    losses = []
    for _ in range(40):
        state, metrics = take_step(state)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.7 * losses[0]


def test_equal_configs_share_their_optimizer_and_their_compiled_step():
    assert build_optimizer(tiny_config(seed=1)) is build_optimizer(tiny_config(name="other"))
    slower = tiny_config(optimizer={"kind": "adam", "learning_rate": 1e-3})
    assert build_optimizer(slower) is not build_optimizer(tiny_config())
    cosine = [tiny_config(schedule={"kind": "cosine"}, steps=steps) for steps in (20, 40)]
    assert build_optimizer(cosine[0]) is not build_optimizer(cosine[1])
    layers = [Conv(1, 1, (3, 3), rngs=nnx.Rngs(seed)) for seed in range(2)]
    options = dict(loss=mean_squared_error, classes=1)
    steps = [TrainStep.create([x], build_optimizer(tiny_config()), **options)[0] for x in layers]
    assert steps[0] == steps[1] and hash(steps[0]) == hash(steps[1])
    assert steps[0] != TrainStep.create([layers[0]], build_optimizer(slower), **options)[0]
