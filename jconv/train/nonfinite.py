"""Diagnosis of a step whose loss or gradient is not finite."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from jconv.nn.interception import intercept_calls
from jconv.train.state import TrainState
from jconv.train.step import TrainStep

UNEXPLAINED = "the loss is not finite, though every parameter and gradient is"


def locate_nonfinite(
    train_step: TrainStep, state: TrainState, inputs: Array, targets: Array
) -> str:
    """Return a phrase that says where non-finite numbers occur first.

    The search visits the images, the parameters, the outputs of the layers in the order of their
    calls, the loss, and the gradients from the last layer to the first.

    Args:
      train_step: the constants of the step.
      state: the state of one replicate before the step.
      inputs: the step's inputs.
      targets: the step's targets.
    """
    for name, values in {"a batch of images": inputs, **_by_name(state.params)}.items():
        if count := _count_nonfinite(values):
            return f"{name} has {count}"
    if output := _nonfinite_output(train_step, state, inputs):
        return output
    grad = train_step.loss_and_grad(state.params, state.model_state, inputs, targets)[-1]
    for name, values in reversed(_by_name(grad).items()):
        if count := _count_nonfinite(values):
            return f"the gradient of {name} has {count}"
    if not jnp.isfinite(optax.tree.norm(grad)):
        return "the norm of the gradient overflows"
    return UNEXPLAINED


def _nonfinite_output(train_step: TrainStep, state: TrainState, inputs: Array) -> str:
    """Return a phrase that names the first layer whose output is not finite, or an empty text."""
    first = ""

    def check(path, _, call, *args, **kwargs):
        nonlocal first
        outputs = call(*args, **kwargs)
        if isinstance(outputs, jax.Array) and not first and (count := _count_nonfinite(outputs)):
            first = f"the output of {'.'.join(map(str, path)) or 'the network'} has {count}"
        return outputs

    parts = jax.tree.map(jnp.copy, (train_step.cast(state.params), state.model_state))
    model = nnx.merge(train_step.graph, *parts)
    with intercept_calls(model, check):
        model(train_step.cast(inputs))
    return first


def _by_name(params) -> dict[str, Array]:
    flat = nnx.to_flat_state(params)
    return {".".join(map(str, path)): leaf[...] for path, leaf in flat}


def _count_nonfinite(values) -> str:
    count = int(jnp.sum(~jnp.isfinite(values)))
    return f"{count} non-finite values of {values.size}" if count else ""
