"""The first step of a run, to look at or to time without taking it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.train.build import build_data, build_model
from jconv.train.config import TrainConfig
from jconv.train.losses import LOSSES
from jconv.train.optimizer import build_rule
from jconv.train.step import Learner


def first_step(config: TrainConfig) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Loss and gradients of one batch, as a function, and what it takes; nothing is computed.

    Args:
      config: the run.

    Returns:
      A function of parameters, other state, inputs and targets, and these four: the state as
      arrays, a batch as shapes.
    """
    data = build_data(config.data)
    model = build_model(config.model, data.input_shape, data.outputs, nnx.Rngs(config.seed))
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    learner = Learner(
        graph,
        graph,
        build_rule(config),
        LOSSES[config.loss],
        classes=data.outputs,
        label_smoothing=config.label_smoothing,
        precision=jnp.dtype(config.precision),
    )
    batch = (
        jax.ShapeDtypeStruct((config.batch_size, *array.shape[1:]), array.dtype)
        for array in data.train.take(np.arange(1))
    )
    return learner.gradient, (parameters, rest, *batch)
