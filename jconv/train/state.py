"""The state that a training step changes: parameters, optimizer state, moving average."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


class EMAState(NamedTuple):
    """The exponential moving average of a network over the updates so far.

    Attributes:
      params: average of the parameters.
      model_state: average of the floating-point arrays that layers keep, such as the statistics of
        batch norms, which must match the averaged parameters. Other arrays, such as random streams,
        have their latest value.
      updates: the number of updates in the average.
    """

    params: Any
    model_state: Any
    updates: Int[Array, "..."]

    def update(self, params: Any, model_state: Any, decay: float) -> "EMAState":
        """Return the average after one more update.

        The average is bias-corrected: the weights of all updates sum to 1 from the first one on.

        Args:
          params: the parameters after the update.
          model_state: the layers' arrays after the update.
          decay: factor by which each update multiplies the weights of those before it.
        """
        updates = self.updates + 1
        weight = (1 - decay) / -jnp.expm1(updates * math.log(decay))

        def average(old, new):
            if not jnp.issubdtype(new.dtype, jnp.floating):
                return new
            return (old + weight * (new - old)).astype(new.dtype)

        params, model_state = jax.tree.map(average, self[:2], (params, model_state))
        return EMAState(params, model_state, updates)


class TrainState(NamedTuple):
    """All arrays that a step changes; with replicates, every array has a leading replicate axis.

    Attributes:
      params: the trained parameters.
      model_state: the other arrays of the layers, such as batch statistics and random streams.
      opt_state: the optimizer's state.
      ema: moving average of the network, or None if the config has none.
    """

    params: Any
    model_state: Any
    opt_state: Any
    ema: EMAState | None

    @property
    def eval_state(self) -> tuple[Any, Any]:
        """Parameters and layer arrays for evaluation: the moving average if there is one."""
        return (self.params, self.model_state) if self.ema is None else self.ema[:2]
