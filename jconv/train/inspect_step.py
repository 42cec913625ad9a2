"""The first step of a run as a function, to inspect or time it without training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jconv.train.build import build_data, build_model
from jconv.train.config import TrainConfig
from jconv.train.losses import LOSSES
from jconv.train.optimizer import build_optimizer
from jconv.train.step import TrainStep


def first_step(config: TrainConfig) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the loss and gradient of one batch as a function, and its arguments.

    Args:
      config: the run.

    Returns:
      A function of parameters, model state, inputs and targets; and its four arguments: the state
      as arrays, the batch as `jax.ShapeDtypeStruct`s. Nothing is computed.
    """
    data = build_data(config.data)
    model = build_model(config.model, data.input_shape, data.outputs, nnx.Rngs(config.seed))
    graph, params, model_state = nnx.split(model, nnx.Param, ...)
    step = TrainStep(
        graph,
        graph,
        build_optimizer(config),
        LOSSES[config.loss],
        classes=data.outputs,
        label_smoothing=config.label_smoothing,
        precision=jnp.dtype(config.precision),
    )
    batch = (
        jax.ShapeDtypeStruct((config.batch_size, *array.shape[1:]), array.dtype)
        for array in data.train.take(np.arange(1))
    )
    return step.loss_and_grad, (params, model_state, *batch)
