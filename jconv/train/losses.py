"""Losses: how wrong outputs are, as one number; and the share that is right."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Shaped

Loss = Callable[[Array, Array], Float[Array, ""]]


def cross_entropy(
    logits: Float[Array, "n classes"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """How surprised the logits are by labels, or by shares of each class, in nats, on average."""
    if are_labels(targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()
    return optax.softmax_cross_entropy(logits, targets).mean()


def mean_squared_error(
    outputs: Float[Array, "n *shape"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """The mean of `(output - target)^2`; labels count as 1 for their class and 0 for others."""
    return jnp.mean((outputs - shares(targets, outputs.shape[-1])) ** 2)


def binary_cross_entropy(
    logits: Float[Array, "n classes"], targets: Shaped[Array, "n ..."]
) -> Float[Array, ""]:
    """How surprised each logit is by yes or no, in nats, summed over classes and averaged.

    One logit is the question whether a label is 1; of several, each asks whether it is the label.
    """
    return (
        optax.sigmoid_binary_cross_entropy(logits, shares(targets, logits.shape[-1])).sum(-1).mean()
    )


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mse": mean_squared_error,
    "binary": binary_cross_entropy,
}


def accuracy(
    outputs: Float[Array, "n ..."], targets: Shaped[Array, "n ..."]
) -> dict[str, Float[Array, ""]]:
    """The share of labels that were named; nothing where targets are no labels."""
    if not are_labels(targets):
        return {}
    return {"accuracy": jnp.mean(named(outputs) == targets)}


def named(outputs: Float[Array, "n classes"]) -> Int[Array, " n"]:
    """The label that each output names: the largest, or whether a single one is positive."""
    if outputs.shape[-1] == 1:
        return (outputs[..., 0] > 0).astype(jnp.int32)
    return jnp.argmax(outputs, axis=-1)


def confusion(
    outputs: Float[Array, "n classes"], labels: Int[Array, " n"], real: Bool[Array, " n"]
) -> Int[Array, "classes classes"]:
    """How many of the `real` examples of each label (a row) were named each label (a column)."""
    classes = max(2, outputs.shape[-1])
    pairs = labels * classes + named(outputs)
    counts = jnp.zeros(classes**2, jnp.int32).at[pairs].add(real.astype(jnp.int32))
    return counts.reshape(classes, classes)


def smoothed(targets: Shaped[Array, "n ..."], classes: int, share: float) -> Shaped[Array, "n ..."]:
    """Targets of which a `share` is spread evenly over all classes: Szegedy et al. (2015)."""
    if share == 0:
        return targets
    return shares(targets, classes) * (1 - share) + share / max(2, classes)


def shares(targets: Shaped[Array, "n ..."], classes: int) -> Shaped[Array, "n ..."]:
    """Labels as the share that each class has; the single one of a yes or no is that of yes."""
    if not are_labels(targets):
        return targets
    if classes == 1:
        return targets[..., None].astype(jnp.float32)
    return jax.nn.one_hot(targets, classes)


def are_labels(targets: Shaped[Array, "n ..."]) -> bool:
    """Whether targets are numbers of classes."""
    return jnp.issubdtype(targets.dtype, jnp.integer)
