"""Losses, which reduce outputs and targets to one number, and the accuracy of labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

Loss = Callable[[Array, Array], Float[Array, ""]]


def cross_entropy(
    logits: Float[Array, "n classes"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """Return the mean softmax cross-entropy, in nats, with labels or with class probabilities."""
    if are_labels(targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
    return optax.softmax_cross_entropy(logits, targets).mean()


def mean_squared_error(
    outputs: Float[Array, "n *shape"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """Return the mean of `(output - target)^2`; labels are converted to one-hot vectors."""
    return jnp.mean((outputs - soft_targets(targets, outputs.shape[-1])) ** 2)


def binary_cross_entropy(
    logits: Float[Array, "n classes"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """Return the sigmoid cross-entropy, in nats, summed over classes and averaged over examples.

    A single logit predicts whether the label is 1. With several, each predicts whether its class is
    the label.
    """
    targets = soft_targets(targets, logits.shape[-1])
    return optax.sigmoid_binary_cross_entropy(logits, targets).sum(-1).mean()


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_error,
    "binary": binary_cross_entropy,
}


def accuracy(
    outputs: Float[Array, "n ..."], targets: Shaped[Array, "n ..."]
) -> dict[str, Float[Array, ""]]:
    """Return the share of correct predictions, or an empty dict if the targets are no labels."""
    if not are_labels(targets):
        return {}
    return {"accuracy": jnp.mean(predictions(outputs) == targets)}


def predictions(outputs: Float[Array, "n classes"]) -> Int[Array, " n"]:
    """Return the predicted labels: the largest logit, or the sign of a single one."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=-1)


def confusion(
    outputs: Float[Array, "n classes"], labels: Int[Array, " n"], mask: Bool[Array, " n"]
) -> Int[Array, "classes classes"]:
    """Return the confusion matrix of the masked examples: rows are labels, columns predictions."""
    classes = max(2, outputs.shape[-1])
    pairs = labels * classes + predictions(outputs)
    counts = jnp.zeros(classes**2, jnp.int32).at[pairs].add(mask.astype(jnp.int32))
    return counts.reshape(classes, classes)


def smooth_labels(
    targets: Shaped[Array, "n ..."], classes: int, share: float
) -> Shaped[Array, "n ..."]:
    """Return class probabilities, a `share` of which is distributed evenly over all classes.

    Reference: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2015).
    """
    if share == 0:
        return targets
    return soft_targets(targets, classes) * (1 - share) + share / max(2, classes)


def soft_targets(targets: Shaped[Array, "n ..."], classes: int) -> Shaped[Array, "n ..."]:
    """Convert labels to class probabilities; with one class, to the probability of label 1."""
    if not are_labels(targets):
        return targets
    if classes == 1:
        return targets[..., None].astype(jnp.float32)
    return jax.nn.one_hot(targets, classes)


def are_labels(targets: Shaped[Array, "n ..."]) -> bool:
    """Return whether the targets are class labels."""
    return jnp.issubdtype(targets.dtype, jnp.integer)
