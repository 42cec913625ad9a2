"""One step of learning: forward, loss, gradient, update."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Shaped

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
) -> Metrics:
    """Updates `model` and `optimizer` in place.

    Returns:
      Loss, accuracy where there are labels, and the norm of the gradient, before the update.
    """

    def forward(model):
        outputs = model(inputs)
        return loss(outputs, targets), outputs

    (value, outputs), grads = nnx.value_and_grad(forward, has_aux=True)(model)
    optimizer.update(model, grads)
    return {"loss": value, **accuracy(outputs, targets), "grad_norm": optax.tree.norm(grads)}


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
