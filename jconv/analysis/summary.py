"""The summary of a network: its layers, their connections, and their costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx

from jconv._core.jaxpr import multiply_adds
from jconv._core.rich_repr import RichRepr
from jconv.analysis.layer_trace import LayerSummary, count_parameters, trace_layers

if TYPE_CHECKING:
    import rich.table

COLUMNS = (
    "name", "kind", "output_shape", "parameters", "multiply_adds", "connected_to",
    "receptive_field",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Summary(RichRepr):
    """The layers of a network in call order, and their totals; prints as a table.

    Attributes:
      layers: one entry for each call of a layer.
      parameters: trainable values of the network.
      multiply_adds: products summed for one input.
      build_options: the options that a published network was made with.
    """

    layers: Sequence[LayerSummary]
    parameters: int
    multiply_adds: int
    build_options: Mapping[str, Any] = field(default_factory=dict)

    def to_depth(self, depth: int) -> Summary:
        """Return a summary with one row for all layers whose first `depth` path words agree."""
        groups: dict[str, list[LayerSummary]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
        group_of = {layer.name: name for name, layers in groups.items() for layer in layers}
        return replace(
            self, layers=[_merge_rows(name, rows, group_of) for name, rows in groups.items()]
        )

    def as_rows(self) -> list[dict]:
        """Return the layers as plain values, as in a run's layers.json."""
        return [{name: getattr(layer, name) for name in COLUMNS} for layer in self.layers]

    def __rich__(self) -> rich.table.Table:
        """Return a table with the totals below."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(show_footer=True, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        caption = "field: receptive field on the input, in pixels"
        if self.build_options:
            options = (f"{name}={value!r}" for name, value in self.build_options.items())
            caption += f"\noptions: {', '.join(options)}"
        table.caption, table.caption_justify = escape(caption), "left"
        table.add_column("layer", "total", no_wrap=True)
        table.add_column("output", justify="right", no_wrap=True)
        table.add_column("parameters", f"{self.parameters:,}", justify="right", no_wrap=True)
        table.add_column("multiply-adds", f"{self.multiply_adds:,}", justify="right", no_wrap=True)
        table.add_column("field", justify="right", no_wrap=True)
        table.add_column("connected to", overflow="fold")
        for layer in self.layers:
            parent = layer.name[: layer.name.rfind(".") + 1]
            table.add_row(
                f"{escape(layer.name)}\n [dim]{escape(layer.kind)}[/]",
                "x".join(map(str, layer.output_shape)),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
                layer.receptive_field,
                escape("\n".join(name.removeprefix(parent) for name in layer.connected_to)),
            )
        return table


def summarize(model: nnx.Module, input_shape: Sequence[int], dtype=jnp.float32) -> Summary:
    """List the layers of `model` in evaluation, without running it.

    A layer is a module that calls no other module. Parameters and multiply-adds outside of layers,
    such as those of the modules around them or of layers inside of `scan`, `cond` and `jit`, are
    listed last, in a row called `elsewhere`.

    Receptive fields are exact through convolutions, pooling, padding, slices and elementwise
    functions. A border that repeats pixels counts as zeros do. The field of an operation that mixes
    space in another way, such as a global average, is the whole input (`"all"`), and so are the
    fields of all layers after it.

    Args:
      model: called with one array `(1, *input_shape)`.
      input_shape: rows, columns and channels, or whatever shape the model takes.
      dtype: data type of the input.
    """
    layers, jaxpr = trace_layers(model, input_shape, dtype)
    parameters, products = count_parameters(model), multiply_adds(jaxpr)
    other_parameters = parameters - sum(layer.parameters for layer in layers)
    other_products = products - sum(layer.multiply_adds for layer in layers)
    if other_parameters or other_products:
        layers.append(
            LayerSummary(
                "elsewhere",
                "outside of layers",
                parameters=other_parameters,
                multiply_adds=other_products,
            )
        )
    return Summary(
        layers, parameters, products, build_options=dict(getattr(model, "build_options", ()))
    )


def _merge_rows(
    name: str, layers: Sequence[LayerSummary], group_of: Mapping[str, str]
) -> LayerSummary:
    """Return one row for several layers: total costs, the last output, all outside sources."""
    sources = [source for layer in layers for source in layer.connected_to]
    groups = dict.fromkeys(group_of.get(source, source) for source in sources)
    return replace(
        layers[-1],
        name=name,
        kind=f"{len(layers)} layers" if len(layers) > 1 else layers[0].kind,
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        connected_to=[group for group in groups if group != name],
    )
