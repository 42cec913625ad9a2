"""The rule that turns gradients into updates, as optax has it."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jconv.train import config as c


def build_schedule(config: c.TrainConfig) -> optax.Schedule:
    """The learning rate at each update, of which there is one every `accumulate` steps."""
    by_steps = _by_steps(config)
    return lambda update: by_steps(update * config.accumulate)


def _by_steps(config: c.TrainConfig) -> optax.Schedule:
    peak, steps = config.optimizer.learning_rate, config.steps
    match config.schedule:
        case c.OneCycle(rise=rise, start=start, end=end):
            return optax.cosine_onecycle_schedule(
                steps, peak, rise, div_factor=1 / start, final_div_factor=start / end
            )
        case c.Cosine(warmup_steps=warmup):
            after = optax.cosine_decay_schedule(peak, max(1, steps - warmup))
        case c.StepDecay(every=every, factor=factor, warmup_steps=warmup):
            after = optax.exponential_decay(peak, every, factor, staircase=True)
        case c.Constant(warmup_steps=warmup):
            after = optax.constant_schedule(peak)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def build_rule(config: c.TrainConfig) -> optax.GradientTransformation:
    """The optimizer, with what comes before it: clipping, and several gradients to one update."""
    rule = _optimizer(config.optimizer, build_schedule(config))
    if config.clip_norm is not None:
        rule = optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)
    if config.accumulate > 1:
        rule = optax.MultiSteps(rule, config.accumulate).gradient_transformation()
    return rule


def _optimizer(config: c.Optimizer, rate: optax.Schedule) -> optax.GradientTransformation:
    mask = _mask(config) if isinstance(config, c.Decaying) else None
    match config:
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


def _mask(config: c.Decaying) -> Callable[[Any], Any] | None:
    """Of what decays: arrays of two axes and more, or all."""
    if config.decays == "all":
        return None
    return lambda parameters: jax.tree.map(lambda array: array.ndim > 1, parameters)
