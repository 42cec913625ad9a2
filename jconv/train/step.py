"""The training step: forward pass, loss, gradient, update; and several steps as one program.

A step is a pure function of the state and a batch. `take_steps` runs many of them as one loop on
the device, which ends early if a loss or gradient is not finite. The number of steps is a run-time
value, so one program serves every call of a run, and the results do not depend on how the steps
are divided into calls.
"""

from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Num, Shaped

from jconv.nn.interception import eval_view
from jconv.train.augment import augment_batch
from jconv.train.config import Augment
from jconv.train.losses import Loss, accuracy, confusion, predictions, smooth_labels
from jconv.train.state import EMAState, TrainState

MAX_CONFUSION_CLASSES = 256  # the confusion matrix grows with the square of the classes
Metrics = dict[str, Num[Array, "..."]]
Key = Shaped[Array, "..."]


@dataclass(frozen=True, eq=False)
class TrainStep:
    """The constants of a run's steps, a static argument of the compiled functions.

    Two runs whose `TrainStep`s are equal share their compiled programs.

    Attributes:
      graph: the network's graph definition in training mode.
      eval_graph: the network's graph definition in evaluation mode.
      optimizer: transforms gradients into updates.
      loss: function of outputs and targets.
      classes: number of outputs of the network.
      augment: the random augmentation of the images.
      label_smoothing: share of a label's weight that is spread over all classes.
      ema_decay: decay of the moving average of the network; 0 for none.
      precision: dtype in which the layers compute.
      replicates: number of networks that are trained in parallel.
      sharding: shardings of the images and the targets of a batch; None on one device.
    """

    graph: nnx.GraphDef
    eval_graph: nnx.GraphDef
    optimizer: optax.GradientTransformation
    loss: Loss
    classes: int
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    precision: Any = jnp.float32
    replicates: int = 1
    sharding: tuple[NamedSharding, NamedSharding] | None = None

    @classmethod
    def create(
        cls, models: list[nnx.Module], optimizer: optax.GradientTransformation, **options
    ) -> tuple["TrainStep", TrainState]:
        """Return the step of one network or several replicates, and the initial state.

        Args:
          models: the replicates, which differ in nothing but the values of their arrays.
          optimizer: transforms gradients into updates.
          **options: the other attributes.
        """
        parts = [nnx.split(model, nnx.Param, ...) for model in models]
        eval_graph = nnx.split(eval_view(models[0]), nnx.Param, ...)[0]
        step = cls(parts[0][0], eval_graph, optimizer, replicates=len(models), **options)
        states = [step._initial_state(params, model_state) for _, params, model_state in parts]
        if len(states) == 1:
            return step, states[0]
        return step, jax.tree.map(lambda *arrays: jnp.stack(arrays), *states)

    @cached_property
    def _key(self) -> tuple:
        return tuple(getattr(self, attribute.name) for attribute in fields(self))

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    # Every call of a compiled function hashes and compares its static arguments, and a graph is
    # large: the hash is cached, and an object is equal to itself without a look at its fields.

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, TrainStep) and self._key == other._key)

    def _initial_state(self, params, model_state) -> TrainState:
        # Copies, because a step donates the buffers of its input state.
        copy = lambda: jax.tree.map(jnp.copy, (params, model_state))
        ema = EMAState(*copy(), updates=jnp.zeros((), jnp.int32)) if self.ema_decay else None
        params, model_state = copy()
        return TrainState(params, model_state, self.optimizer.init(params), ema)

    def model(self, state: TrainState, *, evaluation: bool = True, replicate: int = 0) -> Any:
        """Return the network with the arrays of a state.

        Args:
          state: the state.
          evaluation: return the network for evaluation, with averaged parameters if there are any.
          replicate: index of the replicate.
        """
        parts = state.eval_state if evaluation else (state.params, state.model_state)
        if self.replicates > 1:
            parts = jax.tree.map(lambda array: array[replicate], parts)
        graph = self.eval_graph if evaluation else self.graph
        return nnx.merge(graph, *jax.tree.map(jnp.copy, parts))

    def loss_and_grad(self, params, model_state, inputs, targets):
        """Return loss, outputs, the new model state, and the gradient in the parameters."""

        def forward(params):
            # The cast is part of the differentiated function, so gradients are float32. The model
            # state is copied because Flax does not let another trace mutate it.
            copied = jax.tree.map(lambda array: array, model_state)
            model = nnx.merge(self.graph, self.cast(params), copied)
            outputs = model(self.cast(inputs)).astype(jnp.float32)
            smoothed = smooth_labels(targets, outputs.shape[-1], self.label_smoothing)
            return self.loss(outputs, smoothed), (outputs, nnx.split(model, nnx.Param, ...)[2])

        (loss, (outputs, model_state)), grad = jax.value_and_grad(forward, has_aux=True)(params)
        return loss, outputs, model_state, grad

    def cast(self, tree: Any) -> Any:
        """Cast the floating-point arrays of a tree to the dtype in which the layers compute."""
        if self.precision == jnp.float32:
            return tree
        floating = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
        return jax.tree.map(lambda a: a.astype(self.precision) if floating(a) else a, tree)

    def shard_batch(self, inputs: Array, targets: Array) -> tuple[Array, Array]:
        """Constrain a batch to the run's sharding."""
        if self.sharding is None:
            return inputs, targets
        constrain = jax.lax.with_sharding_constraint
        return constrain(inputs, self.sharding[0]), constrain(targets, self.sharding[1])

    def replicate(self, state: TrainState) -> TrainState:
        """Constrain a state to be replicated on every device, which XLA does not always infer."""
        if self.sharding is None:
            return state
        replicated = NamedSharding(self.sharding[0].mesh, PartitionSpec())
        return jax.lax.with_sharding_constraint(state, replicated)

    def __call__(
        self,
        state: TrainState,
        inputs: Float[Array, "n *shape"],
        targets: Shaped[Array, "n ..."],
        key: Key,
    ) -> tuple[TrainState, Metrics]:
        """Take one step on one batch.

        Args:
          state: the state before the step.
          inputs: the batch's inputs.
          targets: the batch's targets.
          key: random key of the augmentation.

        Returns:
          The state after the step, and its metrics: `loss` and `grad_norm`, and `accuracy` if the
          targets are labels. Loss and accuracy are those before the update.
        """
        inputs, targets = augment_batch(inputs, targets, self.augment, self.classes, key)
        inputs, targets = self.shard_batch(inputs, targets)
        loss, outputs, model_state, grad = self.loss_and_grad(
            state.params, state.model_state, inputs, targets
        )
        updates, opt_state = self.optimizer.update(grad, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = ema.update(params, model_state, self.ema_decay)
            if isinstance(opt_state, optax.MultiStepsState):  # accumulates gradients
                updated = opt_state.mini_step == 0
                ema = jax.tree.map(lambda a, b: jnp.where(updated, a, b), ema, state.ema)
        metrics = {"loss": loss, **accuracy(outputs, targets)}
        metrics["grad_norm"] = optax.tree.norm(grad)
        return TrainState(params, model_state, opt_state, ema), metrics


@partial(jax.jit, static_argnames="train_step", donate_argnames="state")
def take_steps(
    train_step: TrainStep,
    state: TrainState,
    data: tuple[Array, Array],
    indices: Int[Array, "capacity ..."],
    keys: Key,
    first: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[TrainState, Metrics, Int[Array, ""]]:
    """Take `count` steps, or as many as precede the first non-finite loss or gradient.

    A step with a non-finite loss or gradient leaves the state unchanged, so the host need not wait
    for the metrics of each step.

    Args:
      train_step: the constants of the steps.
      state: the state before the steps; its buffers are donated.
      data: inputs and targets from which the batches are taken.
      indices: the examples of each step, (capacity, batch) or (capacity, replicates, batch).
      keys: random key of the run, or one for each replicate.
      first: number of the first step.
      count: number of steps to take, at most `capacity`.

    Returns:
      The state, the metrics of each step, (capacity, ...), and the number of steps taken.
    """

    def body(carry):
        state, metrics, i, _ = carry
        new_state, new_metrics = _one_step(train_step, state, data, indices[i], keys, first + i)
        finite = jnp.isfinite(jnp.sum(new_metrics["loss"] + new_metrics["grad_norm"]))
        state = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new_state, state)
        metrics = jax.tree.map(lambda all, new: all.at[i].set(new), metrics, new_metrics)
        return state, metrics, jnp.where(finite, i + 1, i), ~finite

    shapes = jax.eval_shape(partial(_one_step, train_step), state, data, indices[0], keys, first)[1]
    metrics = jax.tree.map(lambda s: jnp.zeros((len(indices), *s.shape), s.dtype), shapes)
    start = (state, metrics, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    state, metrics, taken, _ = jax.lax.while_loop(
        lambda carry: (carry[2] < count) & ~carry[3], body, start
    )
    return train_step.replicate(state), metrics, taken


def _one_step(train_step: TrainStep, state: TrainState, data, indices, keys, number):
    """Take the step of a given number, of all replicates."""

    def step(state, indices, key):
        inputs, targets = (array[indices] for array in data)
        return train_step(state, inputs, targets, jax.random.fold_in(key, number))

    return (jax.vmap(step) if train_step.replicates > 1 else step)(state, indices, keys)


@partial(jax.jit, static_argnames="train_step")
def evaluate_batch(
    train_step: TrainStep,
    state: TrainState,
    inputs: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    mask: Bool[Array, " n"],
) -> Metrics:
    """Return sums over a batch: `loss`, and for labels `correct` and the `confusion` matrix.

    Args:
      train_step: the constants of the run.
      state: the state.
      inputs: the batch's inputs.
      targets: the batch's targets.
      mask: marks the examples that count; the others pad the batch.
    """
    inputs, targets = train_step.shard_batch(inputs, targets)

    def evaluate_one(state):
        params, model_state = state.eval_state
        model = nnx.merge(train_step.eval_graph, train_step.cast(params), model_state)
        outputs = model(train_step.cast(inputs)).astype(jnp.float32)
        losses = jax.vmap(lambda y, t: train_step.loss(y[None], t[None]))(outputs, targets)
        metrics = {"loss": jnp.sum(losses * mask)}
        if jnp.issubdtype(targets.dtype, jnp.integer):
            metrics["correct"] = jnp.sum(mask & (predictions(outputs) == targets))
            if outputs.shape[-1] <= MAX_CONFUSION_CLASSES:
                metrics["confusion"] = confusion(outputs, targets, mask)
        return metrics

    return (jax.vmap(evaluate_one) if train_step.replicates > 1 else evaluate_one)(state)


def clear_cache() -> None:
    """Free the compiled programs of earlier runs."""
    for program in (take_steps, evaluate_batch):
        program.clear_cache()  # pyright: ignore  # jax.jit's type lacks the method
