"""The common form of published networks: a sequence of named layers, with auxiliary heads."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from jconv.models.preprocessing import Preprocessing
from jconv.nn import GlobalAveragePool

ORIGINS = ("torch", "tensorflow")


class Logits(NamedTuple):
    """Output, in training, of a network with auxiliary heads.

    Attributes:
      logits: logits of the network, `(n, classes)`.
      auxiliary: logits of each auxiliary head, `(n, classes)`, in the order of the network.
    """

    logits: jax.Array
    auxiliary: tuple[jax.Array, ...]


class Network(nnx.Module):
    """Sequence of named layers: images `(n, h, w, c)` to logits `(n, classes)`.

    Each layer is an attribute of its name. In training, a network with auxiliary heads returns
    `Logits`; in evaluation the heads are not called. `preprocessing` describes the images that its
    weights expect.

    Args:
      layers: the layers by name, in the order of their calls.
      auxiliary: the auxiliary heads, by the name of the layer whose output they take.
      min_size: rows and columns of the smallest image that the network can process.
      build_options: the options of the network that its weights do not imply, which
        `jconv.models.save` writes and `load` reads.

    Raises:
      ValueError: when called with an array that is not a batch of images, or with images that are
        too small.
    """

    def __init__(
        self,
        layers: Mapping[str, Callable],
        auxiliary: Mapping[str, nnx.Module] | None = None,
        *,
        min_size: int = 1,
        build_options: Mapping[str, Any] | None = None,
    ):
        self.layer_names = tuple(layers)
        for name, layer in layers.items():
            setattr(self, name, layer)
        heads = auxiliary or {}
        self.auxiliary_after = tuple(heads)
        self.auxiliary = nnx.List(heads.values())
        self.deterministic = False
        self.preprocessing = Preprocessing()
        self.min_size = min_size
        self.build_options = tuple((build_options or {}).items())

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set whether auxiliary heads are left out, as in evaluation; called by `nnx.view`."""
        if deterministic is not None:
            self.deterministic = deterministic

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "n classes"] | Logits:
        """Return the logits of images `(n, h, w, c)`, in training with those of auxiliary heads."""
        if x.ndim != 4 or min(x.shape[1:3]) < self.min_size:
            raise ValueError(
                f"`x` must be images (n, rows, columns, channels) of at least "
                f"{self.min_size}x{self.min_size} pixels. Received: x.shape={x.shape}. "
                f"{'Resize them.' if x.ndim == 4 else 'Give one image a batch axis by `x[None]`.'}"
            )
        auxiliary = []
        for name in self.layer_names:
            # All layers are called by this line; the scope tells them apart in profiles.
            with jax.named_scope(name):
                x = getattr(self, name)(x)
            if name in self.auxiliary_after and not self.deterministic:
                auxiliary.append(self.auxiliary[self.auxiliary_after.index(name)](x))
        return Logits(x, tuple(auxiliary)) if auxiliary else x


def classifier(
    features: int, num_classes: int, *, dropout: float = 0.0, rngs: nnx.Rngs
) -> dict[str, nnx.Module]:
    """Return the last layers: global average pooling, dropout and a dense layer."""
    return {
        "pool": GlobalAveragePool(),
        "dropout": nnx.Dropout(dropout, rngs=rngs if dropout else None),
        "dense": nnx.Linear(features, num_classes, rngs=rngs),
    }


def framework_defaults(origin: str) -> dict[str, Any]:
    """Return the padding of strided convolutions and the batch norm epsilon of a framework.

    Args:
      origin: `"torch"` or `"tensorflow"`, the framework that the weights were trained with.

    Raises:
      ValueError: for another `origin`.
    """
    if origin not in ORIGINS:
        raise ValueError(
            f"`origin` must be one of {list(ORIGINS)}, the framework whose padding and epsilon to "
            f"use. Received: origin={origin!r}."
        )
    if origin == "torch":
        return {"padding": "HALF", "epsilon": 1e-5}
    return {"padding": "SAME", "epsilon": 1e-3}
