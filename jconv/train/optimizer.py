"""The optimizer and the learning-rate schedule of a config, built with optax."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from jconv.train import config as c


def build_schedule(config: c.TrainConfig) -> optax.Schedule:
    """Return the learning rate at each update; one update covers `accumulate` steps."""
    return _schedule(config.schedule, config.optimizer, config.steps, config.accumulate)


def build_optimizer(config: c.TrainConfig) -> optax.GradientTransformation:
    """Return the optimizer with gradient clipping and gradient accumulation.

    Equal configs give the same object, so that their compiled steps can be shared.
    """
    # The other schedules do not depend on the number of steps.
    steps = config.steps if isinstance(config.schedule, c.OneCycle | c.Cosine) else 0
    parts = config.optimizer, config.schedule, steps, config.accumulate, config.clip_norm
    return _optimizer(*parts)  # pyright: ignore  # frozen pydantic models are hashable


def _schedule(
    schedule: c.Schedule, optimizer: c.Optimizer, steps: int, accumulate: int
) -> optax.Schedule:
    rate = _rate_by_step(schedule, optimizer.learning_rate, steps)
    return lambda update: rate(update * accumulate)


def _rate_by_step(schedule: c.Schedule, peak: float, steps: int) -> optax.Schedule:
    match schedule:
        case c.OneCycle(pct_start=pct_start, start=start, end=end):
            return optax.cosine_onecycle_schedule(
                steps, peak, pct_start, div_factor=1 / start, final_div_factor=start / end
            )
        case c.Cosine(warmup_steps=warmup):
            decay = optax.cosine_decay_schedule(peak, max(1, steps - warmup))
        case c.StepDecay(every=every, factor=factor, warmup_steps=warmup):
            decay = optax.exponential_decay(peak, every, factor, staircase=True)
        case c.Constant(warmup_steps=warmup):
            decay = optax.constant_schedule(peak)
    if not warmup:
        return decay
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup])


@functools.lru_cache(maxsize=64)
def _optimizer(
    optimizer: c.Optimizer,
    schedule: c.Schedule,
    steps: int,
    accumulate: int,
    clip_norm: float | None,
) -> optax.GradientTransformation:
    transform = _base_optimizer(optimizer, _schedule(schedule, optimizer, steps, accumulate))
    if clip_norm is not None:
        transform = optax.chain(optax.clip_by_global_norm(clip_norm), transform)
    if accumulate > 1:
        transform = optax.MultiSteps(transform, accumulate).gradient_transformation()
    return transform


def _base_optimizer(optimizer: c.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    mask = _weight_decay_mask(optimizer) if isinstance(optimizer, c.WeightDecay) else None
    match optimizer:
        case c.Sgd(momentum=momentum):
            return optax.sgd(rate, momentum=momentum or None)
        case c.Momentum(momentum=momentum, nesterov=nesterov, weight_decay=decay):
            return optax.chain(
                optax.add_decayed_weights(decay, mask),
                optax.sgd(rate, momentum=momentum, nesterov=nesterov),
            )
        case c.Adam(b1=b1, b2=b2):
            return optax.adam(rate, b1=b1, b2=b2)
        case c.AdamW(b1=b1, b2=b2, weight_decay=decay):
            return optax.adamw(rate, b1=b1, b2=b2, weight_decay=decay, mask=mask)
        case c.Lion(b1=b1, b2=b2, weight_decay=decay):
            return optax.lion(rate, b1=b1, b2=b2, weight_decay=decay, mask=mask)
        case c.Lamb(b1=b1, b2=b2, weight_decay=decay):
            return optax.lamb(rate, b1=b1, b2=b2, weight_decay=decay, mask=mask)


def _weight_decay_mask(optimizer: c.WeightDecay) -> Callable[[Any], Any] | None:
    """Return the optax mask of the decayed parameters: kernels (two axes or more), or all."""
    if optimizer.weight_decay_on == "all":
        return None
    return lambda params: jax.tree.map(lambda array: array.ndim > 1, params)
