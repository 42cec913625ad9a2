"""Steps of learning: forward, loss, gradient, update; as many in one call as come between two
looks at the run.

A step is a pure function of the state and a batch. Several of them are one loop on the device,
which ends early where a loss or gradient is not finite; how many it takes is a number that it is
given, so that every run of steps is the same program, and has the same bits, however it is cut.
"""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Shaped

from jconv.nn.interception import eval_view, intercept_calls
from jconv.train.augment import augmented
from jconv.train.config import Augment
from jconv.train.losses import Loss, accuracy, confusion, named, smoothed

MOST_TABLED = 256  # classes of a confusion table, which grows with their square
Metrics = dict[str, Float[Array, "..."]]
Key = Shaped[Array, "..."]


class Mean(NamedTuple):
    """A network averaged over the updates so far, each of which counts a little less than the next.

    Attributes:
      parameters: of the network.
      rest: numbers that layers keep, such as the statistics of norms, which must suit the
        parameters; random streams are those of now.
      steps: how many updates it is of.
    """

    parameters: Any
    rest: Any
    steps: Int[Array, "..."]

    def with_one_more(self, parameters, rest, decay: float) -> "Mean":
        """The mean of one more step, the steps before it counting `decay` times as much as they
        did; their weights together are 1 from the first step on."""
        steps = self.steps + 1
        share = (1 - decay) / -jnp.expm1(steps * math.log(decay))

        def averaged(old, new):
            if not jnp.issubdtype(new.dtype, jnp.floating):
                return new
            return (old + share * (new - old)).astype(new.dtype)

        parameters, rest = jax.tree.map(averaged, self[:2], (parameters, rest))
        return Mean(parameters, rest, steps)


class State(NamedTuple):
    """All that a step changes. With several replicates every array has one more axis, the first.

    Attributes:
      parameters: what is learned.
      rest: what layers keep beside it, such as the statistics of norms and random streams.
      rule: what the optimizer keeps.
      mean: the network averaged over the steps; None where that is not asked for.
    """

    parameters: Any
    rest: Any
    rule: Any
    mean: Mean | None

    @property
    def judged(self) -> tuple[Any, Any]:
        """Parameters and rest of the network that is judged: their mean if there is one."""
        return (self.parameters, self.rest) if self.mean is None else self.mean[:2]


@dataclass(frozen=True, eq=False)
class Learner:
    """What stays the same in all steps of a run; hashed by identity, as a part of the program.

    Attributes:
      graph: of the network, in training.
      graph_in_evaluation: of the same network, which then drops nothing and keeps its statistics.
      optimizer: the rule that turns gradients into updates.
      loss: of outputs and targets.
      classes: outputs of the network.
      augment: what is done to images.
      label_smoothing: share of a label that is spread over all classes.
      mean_decay: what a step counts by the side of the next in a mean of the network; 0 for none.
      precision: dtype in which layers compute.
      replicates: how many states are one.
      sharding: how the images of a batch, and its targets, lie on devices; None for one device.
    """

    graph: nnx.GraphDef
    graph_in_evaluation: nnx.GraphDef
    optimizer: optax.GradientTransformation
    loss: Loss
    classes: int
    augment: Augment = field(default_factory=Augment)
    label_smoothing: float = 0.0
    mean_decay: float = 0.0
    precision: Any = jnp.float32
    replicates: int = 1
    sharding: tuple[jax.sharding.NamedSharding, jax.sharding.NamedSharding] | None = None

    @classmethod
    def of(
        cls, models: list[nnx.Module], optimizer: optax.GradientTransformation, **options
    ) -> tuple["Learner", State]:
        """A learner of one network or of several alike, and its state before the first step."""
        parts = [nnx.split(model, nnx.Param, ...) for model in models]
        seen = nnx.split(eval_view(models[0]), nnx.Param, ...)[0]
        learner = cls(parts[0][0], seen, optimizer, replicates=len(models), **options)
        states = [learner._first_state(parameters, rest) for _, parameters, rest in parts]
        if len(states) == 1:
            return learner, states[0]
        return learner, jax.tree.map(lambda *arrays: jnp.stack(arrays), *states)

    def _first_state(self, parameters, rest) -> State:
        # Copies: what a step is given is given up.
        copied = lambda: jax.tree.map(jnp.copy, (parameters, rest))
        mean = Mean(*copied(), steps=jnp.zeros((), jnp.int32)) if self.mean_decay else None
        parameters, rest = copied()
        return State(parameters, rest, self.optimizer.init(parameters), mean)

    def model(self, state: State, *, evaluation: bool = True, replicate: int = 0) -> Any:
        """The network as it is in a state; in evaluation its mean, if there is one."""
        parts = state.judged if evaluation else (state.parameters, state.rest)
        if self.replicates > 1:
            parts = jax.tree.map(lambda array: array[replicate], parts)
        graph = self.graph_in_evaluation if evaluation else self.graph
        return nnx.merge(graph, *jax.tree.map(jnp.copy, parts))

    def gradient(self, parameters, rest, inputs, targets):
        """Loss and outputs, what layers keep, and the gradient in the parameters."""

        def forward(parameters):
            # Weights are cast where they are used, so that their gradients come back in float32;
            # what layers keep is made anew, since Flax lets no other trace change it.
            kept = jax.tree.map(lambda array: array, rest)
            model = nnx.merge(self.graph, self._cast(parameters), kept)
            outputs = model(self._cast(inputs)).astype(jnp.float32)
            wanted = smoothed(targets, outputs.shape[-1], self.label_smoothing)
            return self.loss(outputs, wanted), (outputs, nnx.split(model, nnx.Param, ...)[2])

        (loss, (outputs, rest)), gradient = jax.value_and_grad(forward, has_aux=True)(parameters)
        return loss, outputs, rest, gradient

    def _cast(self, tree):
        if self.precision == jnp.float32:
            return tree
        floating = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
        return jax.tree.map(lambda a: a.astype(self.precision) if floating(a) else a, tree)

    def spread(self, inputs: Array, targets: Array) -> tuple[Array, Array]:
        """A batch as it lies on devices."""
        if self.sharding is None:
            return inputs, targets
        lies = jax.lax.with_sharding_constraint
        return lies(inputs, self.sharding[0]), lies(targets, self.sharding[1])

    def everywhere(self, state: State) -> State:
        """A state that lies on every device as a whole, which XLA would not always leave it."""
        if self.sharding is None:
            return state
        whole = NamedSharding(self.sharding[0].mesh, PartitionSpec())
        return jax.lax.with_sharding_constraint(state, whole)

    def step(
        self, state: State, inputs: Float[Array, "n *shape"], targets: Shaped[Array, "n ..."], key
    ) -> tuple[State, Metrics]:
        """One step on one batch.

        Args:
          state: before it.
          inputs: of the batch.
          targets: of the batch.
          key: draws what is done to the images.

        Returns:
          The state after it; loss, accuracy where there are labels, and the norm of the gradient,
          before the update.
        """
        inputs, targets = augmented(inputs, targets, self.augment, self.classes, key)
        inputs, targets = self.spread(inputs, targets)
        loss, outputs, rest, gradient = self.gradient(state.parameters, state.rest, inputs, targets)
        updates, rule = self.optimizer.update(gradient, state.rule, state.parameters)
        parameters = optax.apply_updates(state.parameters, updates)
        mean = state.mean
        if mean is not None:
            mean = mean.with_one_more(parameters, rest, self.mean_decay)
            if isinstance(rule, optax.MultiStepsState):  # of which many are one update
                updated = rule.mini_step == 0
                mean = jax.tree.map(lambda a, b: jnp.where(updated, a, b), mean, state.mean)
        figures = {"loss": loss, **accuracy(outputs, targets)}
        figures["grad_norm"] = optax.tree.norm(gradient)
        return State(parameters, rest, rule, mean), figures


@partial(jax.jit, static_argnames="learner", donate_argnames="state")
def take_steps(
    learner: Learner,
    state: State,
    data: tuple[Array, Array],
    order: Int[Array, "most ..."],
    keys: Key,
    first: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[State, Metrics, Int[Array, ""]]:
    """Takes some steps, or as many as there are before the first that goes bad.

    Nobody has to wait for the numbers of each step to stop at the first that is not finite: the
    state stays as it was before it.

    Args:
      learner: what stays the same.
      state: before the steps; it is given up.
      data: inputs and targets that batches are taken from.
      order: the examples of each step, (most, batch), or (most, replicates, batch).
      keys: of the run, one for each replicate.
      first: number of the first step.
      count: steps to take, at most `most`.

    Returns:
      The state; what each step figured, (most, ...); how many steps were taken.
    """

    def body(carry):
        state, metrics, i, _ = carry
        new, figures = _one(learner, state, data, order[i], keys, first + i)
        fine = jnp.isfinite(jnp.sum(figures["loss"] + figures["grad_norm"]))
        state = jax.tree.map(lambda a, b: jnp.where(fine, a, b), new, state)
        metrics = jax.tree.map(lambda all, own: all.at[i].set(own), metrics, figures)
        return state, metrics, jnp.where(fine, i + 1, i), ~fine

    shapes = jax.eval_shape(partial(_one, learner), state, data, order[0], keys, first)[1]
    metrics = jax.tree.map(lambda s: jnp.zeros((len(order), *s.shape), s.dtype), shapes)
    start = (state, metrics, jnp.zeros((), jnp.int32), jnp.zeros((), bool))
    state, metrics, taken, _ = jax.lax.while_loop(
        lambda carry: (carry[2] < count) & ~carry[3], body, start
    )
    return learner.everywhere(state), metrics, taken


def _one(learner: Learner, state: State, data, indices, keys, number):
    """The step of one number, of all replicates at once."""

    def step(state, indices, key):
        inputs, targets = (array[indices] for array in data)
        return learner.step(state, inputs, targets, jax.random.fold_in(key, number))

    return (jax.vmap(step) if learner.replicates > 1 else step)(state, indices, keys)


@partial(jax.jit, static_argnames="learner")
def evaluate(
    learner: Learner,
    state: State,
    inputs: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    real: Bool[Array, " n"],
) -> Metrics:
    """Sums over examples: loss, right answers and the table of what was taken for what.

    Args:
      learner: what stays the same.
      state: as it is.
      inputs: a batch.
      targets: of the batch.
      real: which of them count; the others fill the batch up.
    """
    inputs, targets = learner.spread(inputs, targets)

    def one(state):
        parameters, rest = state.judged
        model = nnx.merge(learner.graph_in_evaluation, learner._cast(parameters), rest)
        outputs = model(learner._cast(inputs)).astype(jnp.float32)
        each = jax.vmap(lambda y, t: learner.loss(y[None], t[None]))(outputs, targets)
        figures = {"loss": jnp.sum(each * real)}
        if jnp.issubdtype(targets.dtype, jnp.integer):
            figures["right"] = jnp.sum(real & (named(outputs) == targets))
            if outputs.shape[-1] <= MOST_TABLED:
                figures["confusion"] = confusion(outputs, targets, real)
        return figures

    return (jax.vmap(one) if learner.replicates > 1 else one)(state)


def forget() -> None:
    """Gives up the programs of runs that are over: each learner has its own."""
    for program in (take_steps, evaluate):
        program.clear_cache()  # pyright: ignore  # jax.jit does not say that it has it


def first_bad_layer(learner: Learner, state: State, inputs, targets) -> str:
    """Where numbers go bad first: in the images, a parameter, what a layer makes, the loss, or, on
    the way back from the last layer to the first, a gradient.

    Args:
      learner: what stays the same.
      state: of one replicate, before the step that is not taken.
      inputs: of the step.
      targets: of the step.
    """
    for name, values in {"a batch of images": inputs, **_by_name(state.parameters)}.items():
        if bad := _not_finite(values):
            return f"{name} has {bad}"
    found: list[str] = []

    def watched(path, _, call, *args, **kwargs):
        outputs = call(*args, **kwargs)
        if isinstance(outputs, jax.Array) and not found and (bad := _not_finite(outputs)):
            found.append(f"what {'.'.join(map(str, path)) or 'the network'} makes has {bad}")
        return outputs

    parts = jax.tree.map(jnp.copy, (learner._cast(state.parameters), state.rest))
    model = nnx.merge(learner.graph, *parts)
    with intercept_calls(model, watched):
        model(learner._cast(inputs))
    if found:
        return found[0]
    gradient = learner.gradient(state.parameters, state.rest, inputs, targets)[-1]
    for name, values in reversed(_by_name(gradient).items()):
        if bad := _not_finite(values):
            return f"the gradient of {name} has {bad}"
    if not jnp.isfinite(optax.tree.norm(gradient)):
        return "the gradient is too large to have a norm"
    return "the loss is not finite, though every parameter and gradient is"


def _by_name(parameters) -> dict[str, Array]:
    flat = nnx.to_flat_state(parameters)
    return {".".join(map(str, path)): leaf[...] for path, leaf in flat}


def _not_finite(values) -> str:
    bad = int(jnp.sum(~jnp.isfinite(values)))
    return f"{bad} of {values.size} numbers that are not finite" if bad else ""
