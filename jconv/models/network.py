"""What published networks have in common: named layers in a row, heads on the way, a classifier."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from jconv.models.preprocessing import Pixels
from jconv.nn import GlobalAveragePool

ORIGINS = ("torch", "tensorflow")


class Logits(NamedTuple):
    """What a network with auxiliary heads gives while it is trained.

    Attributes:
      logits: `(n, classes)`.
      auxiliary: the same of each auxiliary head, the first of the network first.
    """

    logits: jax.Array
    auxiliary: tuple[jax.Array, ...]


class Network(nnx.Module):
    """Calls named layers one after another: `(n, h, w, c)` to `(n, classes)` logits.

    Each layer is an attribute of its name. While training, a network that has auxiliary heads
    returns `Logits`; in evaluation they are not called.

    `pixels` tells what is expected of an image: see `jconv.models.Pixels`.

    Args:
      layers: by name, in the order of their calls.
      auxiliary: heads, by the name of the layer whose output they see.
      least: rows and columns of the smallest image of which a pixel is left in the end.
      made_with: options that the tensors do not tell, which `save` writes and `load` reads.

    Raises:
      ValueError: when called with what are no images, or too small ones.
    """

    def __init__(
        self,
        layers: Mapping[str, Callable],
        auxiliary: Mapping[str, nnx.Module] | None = None,
        *,
        least: int = 1,
        made_with: Mapping[str, Any] | None = None,
    ):
        self.layer_names = tuple(layers)
        for name, layer in layers.items():
            setattr(self, name, layer)
        heads = auxiliary or {}
        self.auxiliary_after = tuple(heads)
        self.auxiliary = nnx.List(heads.values())
        self.deterministic = False
        self.pixels = Pixels()
        self.least = least
        self.made_with = tuple((made_with or {}).items())

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view`: whether auxiliary heads are left out, as in evaluation."""
        if deterministic is not None:
            self.deterministic = deterministic

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n classes"] | Logits:
        if x.ndim != 4 or min(x.shape[1:3]) < self.least:
            raise ValueError(
                f"`x` must be images (n, rows, columns, channels) of at least "
                f"{self.least}x{self.least} pixels. Received: x.shape={x.shape}. "
                f"{'Resize them.' if x.ndim == 4 else 'Give one image a batch axis by `x[None]`.'}"
            )
        auxiliary = []
        for name in self.layer_names:
            with jax.named_scope(name):  # tells apart what this one line calls
                x = getattr(self, name)(x)
            if name in self.auxiliary_after and not self.deterministic:
                auxiliary.append(self.auxiliary[self.auxiliary_after.index(name)](x))
        return Logits(x, tuple(auxiliary)) if auxiliary else x


def classifier(
    features: int, num_classes: int, *, dropout: float = 0.0, rngs: nnx.Rngs
) -> dict[str, nnx.Module]:
    """The last layers: the average over space, dropout, and a product with a weight a class."""
    return {
        "pool": GlobalAveragePool(),
        "dropout": nnx.Dropout(dropout, rngs=rngs if dropout else None),
        "dense": nnx.Linear(features, num_classes, rngs=rngs),
    }


def borders(origin: str) -> dict[str, Any]:
    """How the implementation that weights come from pads strided convolutions, and its epsilon.

    Raises:
      ValueError: for an unknown one.
    """
    if origin not in ORIGINS:
        raise ValueError(
            f"`origin` must be one of {list(ORIGINS)}: whose borders and epsilons to follow. "
            f"Received: origin={origin!r}."
        )
    if origin == "torch":
        return {"padding": "HALF", "epsilon": 1e-5}
    return {"padding": "SAME", "epsilon": 1e-3}
