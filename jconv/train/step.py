"""One step of learning: forward, loss, gradient, update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Shaped

Metrics = dict[str, Float[Array, ""]]
Loss = Callable[[Array, Array], Float[Array, ""]]


def cross_entropy(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """How surprised the logits are by the labels, in nats, on average."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def mean_squared_error(
    outputs: Float[Array, "n *shape"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """The mean of `(output - target)^2`; labels count as 1 for their class and 0 for others."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        targets = jax.nn.one_hot(targets, outputs.shape[-1])
    return jnp.mean((outputs - targets) ** 2)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mean_squared_error}


def accuracy(outputs: Float[Array, "n ..."], targets: Shaped[Array, "n ..."]) -> Metrics:
    """The share of labels that got the largest output; nothing where targets are no labels."""
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        return {}
    return {"accuracy": jnp.mean(jnp.argmax(outputs, axis=-1) == targets)}


def shift(
    images: Float[Array, "n h w c"], pixels: int, key: Shaped[Array, "..."]
) -> Float[Array, "n h w c"]:
    """Moves each image by up to `pixels` rows and columns at random; the edge is repeated."""
    if pixels == 0:
        return images
    padded = jnp.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="edge")
    offsets = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)

    def cut(image, offset):
        return jax.lax.dynamic_slice(image, (*offset, 0), images.shape[1:])

    return jax.vmap(cut)(padded, offsets)


@nnx.jit(static_argnames="loss")
def train_step(
    model: nnx.Module,
    optimizer: nnx.Optimizer,
    inputs: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    *,
    loss: Loss,
    halted: Bool[Array, ""] | bool = False,
) -> Metrics:
    """Updates `model` and `optimizer` in place; nothing of them where the loss or a gradient is not
    finite, or `halted` is true.

    Nobody has to wait for the numbers of each step to stop at the first that went bad: the state
    stays as it was before it.

    Returns:
      Loss, accuracy where there are labels, and the norm of the gradient, before the update;
      `halted`, whether there was no update.
    """

    def forward(model):
        outputs = model(inputs)
        return loss(outputs, targets), outputs

    before = [nnx.to_pure_dict(nnx.state(node)) for node in (model, optimizer)]
    (value, outputs), grads = nnx.value_and_grad(forward, has_aux=True)(model)
    optimizer.update(model, grads)
    norm = optax.tree.norm(grads)
    halted = halted | ~jnp.isfinite(value + norm)
    for node, old in zip((model, optimizer), before, strict=True):
        new = nnx.to_pure_dict(nnx.state(node))
        nnx.update(node, jax.tree.map(lambda a, b: jnp.where(halted, a, b), old, new))
    figures = {"loss": value, **accuracy(outputs, targets), "grad_norm": norm}
    return figures | {"halted": halted}


def first_bad_layer(
    model: nnx.Module,
    inputs: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    *,
    loss: Loss,
) -> str:
    """Where numbers go bad first, in the order of the layers: a parameter, its gradient, the loss.

    Args:
      model: as before the step, which is not taken.
      inputs: of the step.
      targets: of the step.
      loss: of the run.
    """
    grads = nnx.grad(lambda model: loss(model(inputs), targets))(model)
    found = dict(nnx.to_flat_state(grads))
    for path, parameter in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        for what, values in (("", parameter), ("the gradient of ", found[path])):
            bad = int(jnp.sum(~jnp.isfinite(values[...])))
            if bad:
                name = ".".join(map(str, path))
                return f"{what}{name} has {bad} of {values[...].size} numbers that are not finite"
    return "the loss is not finite, though no parameter or gradient is"


@nnx.jit(static_argnames="loss")
def evaluate(
    model: nnx.Module,
    inputs: Float[Array, "n *shape"],
    targets: Shaped[Array, "n ..."],
    *,
    loss: Loss,
) -> Metrics:
    """Loss, and accuracy where there are labels, with the model as it is."""
    outputs = model(inputs)
    return {"loss": loss(outputs, targets), **accuracy(outputs, targets)}
