"""Theoretical and effective receptive fields of the layers of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from jconv._core.rich_repr import RichRepr
from jconv.analysis.layer_trace import INPUT
from jconv.analysis.receptive_field import AxisField
from jconv.analysis.summary import summarize
from jconv.nn.interception import eval_view, intercept_calls

if TYPE_CHECKING:
    import rich.console

# The effective field holds the pixels with at least this share of the largest gradient: two
# standard deviations of a Gaussian.
THRESHOLD = math.exp(-2)


@dataclass(frozen=True)
class LayerReceptiveField:
    """Theoretical receptive field of one layer.

    Attributes:
      name: path of the layer in the model.
      size: rows and columns of the input, from the first to the last that an output depends on.
        They may lie beyond the border.
      exceeds_input: whether `size` is larger than the input along an axis.
    """

    name: str
    size: tuple[int, ...]
    exceeds_input: bool


@dataclass(frozen=True, repr=False)
class ReceptiveField(RichRepr):
    """Receptive field of the central output of a layer; prints as a table, `save` draws it.

    Attributes:
      layers: theoretical fields of all layers with less than a global field, in call order.
      layer: name of the layer.
      window: theoretical field: the first and last pixel along each axis.
      gradient: root mean square of the derivatives of the output with respect to each pixel,
        scaled to a maximum of 1.
    """

    layers: Sequence[LayerReceptiveField]
    layer: str
    window: tuple[tuple[int, int], ...]
    gradient: Float[np.ndarray, "h w"]

    @property
    def size(self) -> tuple[int, ...]:
        """Rows and columns of the theoretical field."""
        return tuple(last - first + 1 for first, last in self.window)

    @property
    def effective_side(self) -> float:
        """Side, in pixels, of a square with the area of the effective field.

        The effective field holds the pixels with a gradient of at least 0.135 of the largest, two
        standard deviations of a Gaussian.
        """
        return math.sqrt((self.gradient >= THRESHOLD).sum())

    def __rich__(self) -> rich.console.Group:
        """Return a sentence about `layer` and a table of all layers."""
        from rich import box
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("layer", overflow="fold")
        table.add_column("receptive field", justify="right")
        table.add_column("")
        for layer in self.layers:
            remark = "larger than the input" if layer.exceeds_input else ""
            table.add_row(escape(layer.name), _by(layer.size), remark)
        side = self.effective_side
        title = (
            f"{escape(self.layer)}: receptive field {_by(self.size)} pixels, "
            f"effective {side:.0f}x{side:.0f}"
        )
        return Group(title, "", table)

    def save(self, path: Path | str) -> None:
        """Draw the gradient, a frame around the theoretical field, and the effective field.

        Args:
          path: the image to write, in a format that matplotlib derives from its suffix.
        """
        from matplotlib.figure import Figure  # slow to import
        from matplotlib.patches import Rectangle

        figure = Figure(figsize=(6, 5.4), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(
            np.log10(np.maximum(self.gradient, 1e-4)), cmap="magma", vmin=-4, vmax=0
        )
        figure.colorbar(image, ax=axes, label="gradient, relative to the largest",
                        ticks=range(-4, 1),
                        format=lambda value, _: f"1e{value:.0f}" if value else "1")  # fmt: skip
        (top, bottom), (left, right) = self.window
        frame = Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1,
                          fill=False, edgecolor="white", linestyle="--", linewidth=1.5)  # fmt: skip
        axes.add_patch(frame)
        axes.contour(self.gradient, [THRESHOLD], colors="cyan", linewidths=1)
        side = self.effective_side
        axes.set_title(
            f"{self.layer}\nreceptive field: theoretical {_by(self.size)} (dashed), "
            f"effective {side:.0f}x{side:.0f} (line)",
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
    """Return the receptive field of the central output of a layer.

    The theoretical field is exact, through branches, strides, padding and slices, for outputs away
    from the border (see `jconv.analysis.summarize`). The effective field is measured by gradients
    of a random mixture of the layer's channels, averaged over random images.

    Args:
      model: called in evaluation with one array `(n, *input_shape)`.
      input_shape: `(rows, columns, channels)`.
      layer: path of the layer in the model, as `jconv summary` lists it; by default the last one
        with less than a global field.
      images: number of random images.
      seed: seed of the random images and mixtures.

    Raises:
      ValueError: if there is no such layer, or its field is the whole input, as behind a global
        average or where the output has no rows and columns.

    Reference: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural
    Networks" (2016).
    """
    local = {
        row.name: row
        for row in summarize(model, input_shape).layers
        if row.fields and row.name != INPUT
    }
    if not local or (layer is not None and layer not in local):
        raise ValueError(
            f"`layer` must be a layer whose receptive field is not the whole input, one of "
            f"{list(local)}. Received: layer={layer!r}."
        )
    space = tuple(input_shape[:-1])
    chosen = local[layer or list(local)[-1]]
    center = tuple(n // 2 for n in chosen.output_shape[:-1])
    window = tuple(_bounds(f, index) for f, index in zip(chosen.fields, center, strict=True))
    layers = [
        LayerReceptiveField(
            row.name,
            sizes := tuple(axis_field.size for axis_field in row.fields),
            any(size > n for size, n in zip(sizes, space, strict=True)),
        )
        for row in local.values()
    ]
    gradient = _gradient(model, tuple(input_shape), chosen.name, center, images, seed)
    return ReceptiveField(layers, chosen.name, window, gradient)


def _bounds(field: AxisField, index: int) -> tuple[int, int]:
    """Return the first and last pixel that an output depends on, along one axis."""
    return math.ceil(index * field.jump + field.low), math.floor(index * field.jump + field.high)


def _gradient(model, input_shape, layer: str, center, images: int, seed: int) -> np.ndarray:
    graph, state = nnx.split(eval_view(model))

    def central_output(x):
        module, outputs = nnx.merge(graph, state), []

        def record(path, _, call, *args, **kwargs):
            y = call(*args, **kwargs)
            if ".".join(map(str, path)) == layer or not path and layer == "model":
                outputs.append(y)
            return y

        with intercept_calls(module, record):
            module(x)
        return outputs[-1][(0, *center)]

    @jax.jit
    def squared_gradient(x, mixture):
        _, pullback = jax.vjp(central_output, x[None])
        (gradient,) = pullback(mixture)
        return jnp.square(gradient[0]).sum(-1)

    rng = np.random.default_rng(seed)
    total = np.zeros(input_shape[:-1])
    x = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    channels = jax.eval_shape(central_output, x).shape
    for _ in range(images):
        x = rng.normal(size=input_shape).astype("float32")
        total += squared_gradient(x, rng.normal(size=channels).astype("float32"))
    return np.sqrt(total / max(total.max(), np.finfo(float).tiny))


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))
