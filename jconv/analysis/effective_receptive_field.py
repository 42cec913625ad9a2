"""Receptive fields, theoretical and effective: what an output may see, and what it looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from rich import box
from rich.table import Table

from jconv.analysis.receptive_field import Field
from jconv.analysis.summary import INPUT, summarize
from jconv.nn.interception import eval_view, intercept_calls

# A pixel counts as looked at from this share of the largest gradient on: two standard deviations
# of a bell curve.
SHARE = math.exp(-2)


@dataclass(frozen=True)
class LayerField:
    """What outputs of one layer may see.

    Attributes:
      name: the layer's path in the model.
      size: rows and columns of the input between the first and the last that one output sees, which
        may lie beyond the border.
      exceeds: whether that is more than the input has, along some axis: more layers see no more.
    """

    name: str
    size: tuple[int, ...]
    exceeds: bool


@dataclass(frozen=True)
class ReceptiveField:
    """What the output in the middle of one layer sees; printed as a table, drawn by `save`.

    Attributes:
      layers: the fields of all layers that do not see everything, in the order of their calls.
      layer: the one that is looked at.
      window: the first and the last pixel along each axis that its middle output sees, in theory.
      gradient: root mean square of the derivatives of that output in each pixel, the largest 1.
    """

    layers: Sequence[LayerField]
    layer: str
    window: tuple[tuple[int, int], ...]
    gradient: Float[np.ndarray, "h w"] = field(repr=False)

    @property
    def size(self) -> tuple[int, ...]:
        """Of the theoretical field, rows and columns."""
        return tuple(last - first + 1 for first, last in self.window)

    @property
    def effective_side(self) -> float:
        """Side of a square of as many pixels as are looked at: whose gradient is at least 0.135 of
        the largest, two standard deviations of a bell curve."""
        return math.sqrt((self.gradient >= SHARE).sum())

    def __rich__(self) -> Table:
        table = Table(
            title=f"{self.layer} sees {'x'.join(map(str, self.size))} pixels, and looks at "
            f"{self.effective_side:.0f}x{self.effective_side:.0f}",
            box=box.SIMPLE_HEAD,
        )
        table.add_column("layer", overflow="fold")
        table.add_column("sees", justify="right")
        table.add_column("")
        for layer in self.layers:
            size = "x".join(map(str, layer.size))
            table.add_row(layer.name, size, "more than the input has" if layer.exceeds else "")
        return table

    def save(self, path: Path | str) -> None:
        """Draws where the output looks, and a frame round what it may see."""
        from matplotlib.figure import Figure  # slow to import
        from matplotlib.patches import Rectangle

        figure = Figure(figsize=(6, 5.4), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(
            np.log10(np.maximum(self.gradient, 1e-4)), cmap="magma", vmin=-4, vmax=0
        )
        figure.colorbar(image, ax=axes, label="gradient, of the largest", ticks=range(-4, 1),
                        format=lambda value, _: f"1e{value:.0f}" if value else "1")  # fmt: skip
        (top, bottom), (left, right) = self.window
        frame = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1,
                          fill=False, edgecolor="white", linestyle="--", linewidth=1.5)  # fmt: skip
        axes.add_patch(frame)
        axes.contour(self.gradient, [SHARE], colors="cyan", linewidths=1)
        side = self.effective_side
        axes.set_title(
            f"{self.layer}\nmay see {'x'.join(map(str, self.size))} (dashed), "
            f"looks at {side:.0f}x{side:.0f} (line)",
            fontsize=10,
        )
        axes.set_xlabel("column")
        axes.set_ylabel("row")
        figure.savefig(path, dpi=120)


def receptive_field(
    model: nnx.Module,
    input_shape: Sequence[int],
    layer: str | None = None,
    *,
    images: int = 16,
    seed: int = 0,
) -> ReceptiveField:
    """Finds what the output in the middle of a layer sees of the input.

    The theoretical field is exact, through branches, strides, padding and slices, for outputs off
    the border (see `jconv.analysis.summarize`); the effective one is measured by gradients, on
    random images, of a random mixture of the layer's channels.

    Args:
      model: called with one array `(n, *input_shape)`, in evaluation.
      input_shape: `(rows, columns, channels)`.
      layer: its path in the model, as in `jconv summary`; the last that does not see everything if
        None.
      images: how many random ones gradients are averaged over.
      seed: draws them.

    Raises:
      ValueError: for a layer that there is none of, or that sees everything: one behind an average
        over all of space, or that has lost its rows and columns.

    Reference: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural
    Networks" (2016).
    """
    found = {
        own.name: own
        for own in summarize(model, input_shape).layers
        if own.fields and own.name != INPUT
    }
    if not found or (layer is not None and layer not in found):
        raise ValueError(
            f"`layer` must be one of those that do not see everything: {list(found)}. "
            f"Received: layer={layer!r}."
        )
    space = tuple(input_shape[:-1])
    chosen = found[layer or list(found)[-1]]
    middle = tuple(n // 2 for n in chosen.output_shape[:-1])
    window = tuple(_seen(own, place) for own, place in zip(chosen.fields, middle, strict=True))
    layers = [
        LayerField(
            own.name,
            sizes := tuple(f.size for f in own.fields),
            any(size > n for size, n in zip(sizes, space, strict=True)),
        )
        for own in found.values()
    ]
    gradient = _gradient(model, tuple(input_shape), chosen.name, middle, images, seed)
    return ReceptiveField(layers, chosen.name, window, gradient)


def _seen(own: Field, place: int) -> tuple[int, int]:
    """The first and last pixel along an axis."""
    return math.ceil(place * own.jump + own.low), math.floor(place * own.jump + own.high)


def _gradient(model, input_shape, layer: str, middle, images: int, seed: int) -> np.ndarray:
    graph, state = nnx.split(eval_view(model))

    def output(x):
        module, seen = nnx.merge(graph, state), []

        def around(path, own, call, *args, **kwargs):
            y = call(*args, **kwargs)
            if ".".join(map(str, path)) == layer or not path and layer == "model":
                seen.append(y)
            return y

        with intercept_calls(module, around):
            module(x)
        return seen[-1][(0, *middle)]

    @jax.jit
    def squares(x, mixture):
        _, pullback = jax.vjp(output, x[None])
        (gradient,) = pullback(mixture)
        return jnp.square(gradient[0]).sum(-1)

    rng = np.random.default_rng(seed)
    total = np.zeros(input_shape[:-1])
    for _ in range(images):
        x = rng.normal(size=input_shape).astype("float32")
        channels = jax.eval_shape(output, jax.ShapeDtypeStruct((1, *input_shape), jnp.float32))
        total += squares(x, rng.normal(size=channels.shape).astype("float32"))
    return np.sqrt(total / max(total.max(), np.finfo(float).tiny))
