"""The summary of a network: its layers, what flows between them, and what they cost.

The network is traced once, on shapes alone. Every call of a layer marks what goes in and what
comes out, so the trace tells which layers feed which, also through functions that are no layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import Jaxpr, Literal, Primitive
from rich import box
from rich.table import Table

from jconv._core.geometry import Window
from jconv._core.jaxpr import multiply_adds, of_equation, shape_of
from jconv.analysis.propagation import seen_by_results
from jconv.analysis.receptive_field import Field, Seen, joined, placed, through_window
from jconv.nn import LocalConv
from jconv.nn.interception import eval_view, intercept_calls

INPUT = "input"

Fields = tuple[Field, ...]  # one a spatial axis; none where everything is seen


@dataclass
class Layer:
    """One call of a layer.

    Args:
      name: its path in the model.
      kind: its class, and its kernel's size.
      output_shape: without the batch.
      parameters: numbers that are learned.
      multiply_adds: products summed for one input; padding counts, biases do not.
      connected_to: the layers whose outputs it takes.
      fields: what an output sees of the input, one a spatial axis.
      calls_others: whether it is no layer itself but made of layers.
      window: how it slides, where the trace does not tell.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    connected_to: list[str] = field(default_factory=list)
    fields: Fields = ()
    calls_others: bool = False
    window: Window | None = None

    @property
    def receptive_field(self) -> str:
        """Rows by columns of the input between the first and the last that an output sees."""
        return "x".join(str(f.size) for f in self.fields) or "all"


@dataclass(frozen=True)
class Summary:
    """The layers of a network in the order of their calls, their totals, and, of a published one,
    the options that it was made with."""

    layers: Sequence[Layer]
    parameters: int
    multiply_adds: int
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def to_depth(self, depth: int) -> Summary:
        """The same with one row for all layers whose paths begin with the same `depth` words."""
        groups: dict[str, list[Layer]] = {}
        for layer in self.layers:
            groups.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
        group_of = {layer.name: name for name, own in groups.items() for layer in own}
        return replace(self, layers=[_joined(name, own, group_of) for name, own in groups.items()])

    def as_rows(self) -> list[dict]:
        """The layers as plain values, as in a run's layers.json."""
        names = ("name", "kind", "output_shape", "parameters", "multiply_adds", "connected_to",
                 "receptive_field")  # fmt: skip
        return [{name: getattr(layer, name) for name in names} for layer in self.layers]

    def __rich__(self) -> Table:
        """A table for the terminal, with the totals below."""
        table = Table(show_footer=True, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        if self.made_with:
            options = (f"{name}={value!r}" for name, value in self.made_with.items())
            table.caption = f"made with {', '.join(options)}"
        table.add_column("layer", "total", no_wrap=True)
        table.add_column("output", justify="right", no_wrap=True)
        table.add_column("parameters", f"{self.parameters:,}", justify="right", no_wrap=True)
        table.add_column("multiply-adds", f"{self.multiply_adds:,}", justify="right", no_wrap=True)
        table.add_column("sees", justify="right", no_wrap=True)
        table.add_column("connected to", overflow="fold")
        for layer in self.layers:
            table.add_row(
                f"{layer.name}\n [dim]{layer.kind}[/]",
                "x".join(map(str, layer.output_shape)),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
                layer.receptive_field,
                "\n".join(name.removeprefix(_parent(layer.name)) for name in layer.connected_to),
            )
        return table


def _joined(name: str, layers: Sequence[Layer], group_of: Mapping[str, str]) -> Layer:
    """Layers as one: what they cost together, what the last puts out, whence the first take."""
    if len(layers) == 1 and layers[0].name == name:
        own = layers[0]
        return replace(own, connected_to=_groups(own.connected_to, group_of, name))
    sources = [source for layer in layers for source in layer.connected_to]
    return replace(
        layers[-1],
        name=name,
        kind=f"{len(layers)} layers" if len(layers) > 1 else layers[0].kind,
        parameters=sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        connected_to=_groups(sources, group_of, name),
    )


def _groups(sources: Sequence[str], group_of: Mapping[str, str], own: str) -> list[str]:
    groups = dict.fromkeys(group_of.get(source, source) for source in sources)
    return [group for group in groups if group != own]


def summarize(model: nnx.Module, input_shape: Sequence[int], dtype=jnp.float32) -> Summary:
    """Lists the layers of `model`, as it is when evaluated.

    A layer is a module that calls no other. What the modules around them do and own by themselves,
    if anything, is listed last, as `elsewhere`, and so is what runs inside of `scan`, `cond` and
    `jit`, into which layers are not followed.

    Receptive fields are followed through convolutions, pooling, padding, slices and all functions
    of single pixels. A border that repeats pixels counts as zeros do. What mixes space in another
    way, such as an average over all of it, is taken to see everything, and so is all behind it.

    Args:
      model: called with one array `(1, *input_shape)`.
      input_shape: rows, columns, channels, or as the model wants it.
      dtype: of the input.
    """
    graph, state = nnx.split(eval_view(model))
    calls: list[Layer] = []

    def run(state, x):
        module = nnx.merge(graph, state)
        with _marked(module, calls):
            return module(x)

    x = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    jaxpr = jax.make_jaxpr(run)(state, x).jaxpr
    layers = [Layer(INPUT, "Input", tuple(input_shape), fields=(Field(),) * (len(input_shape) - 1))]
    layers += _connected(jaxpr, calls, layers[0])
    totals = (_count(model), multiply_adds(jaxpr))
    owned, done = (
        sum(getattr(layer, name) for layer in layers) for name in ("parameters", "multiply_adds")
    )
    if totals != (owned, done):
        layers.append(
            Layer(
                "elsewhere",
                "in no layer",
                parameters=totals[0] - owned,
                multiply_adds=totals[1] - done,
            )
        )
    return Summary(layers, *totals, made_with=dict(getattr(model, "made_with", ())))


# Marks an array on its way into or out of a call. It exists in traces only.
mark_p = Primitive("jconv_mark")
mark_p.def_abstract_eval(lambda x, **_: x)


@contextlib.contextmanager
def _marked(model: nnx.Module, calls: list[Layer]) -> Iterator[None]:
    """While this lasts, each call of a module of `model` joins `calls` and marks its arrays."""
    stack: list[Layer] = []
    seen: set[int] = set()

    def marked(path: tuple, module: nnx.Module, call, *args, **kwargs):
        layer = Layer(_name(path), _kind(module))
        if isinstance(module, LocalConv):
            layer.window = module.geometry
        if id(module) not in seen:  # what is called twice has learned once
            layer.parameters = _count(module)
        seen.add(id(module))
        if stack:
            stack[-1].calls_others = True
        index = len(calls)
        calls.append(layer)
        stack.append(layer)
        args, kwargs = _mark((args, kwargs), index, entering=True)
        try:
            return _mark(call(*args, **kwargs), index, entering=False)
        finally:
            stack.pop()

    with intercept_calls(model, marked):
        yield


def _mark(tree, index: int, *, entering: bool):
    def mark(leaf):
        return (
            mark_p.bind(leaf, index=index, entering=entering)
            if isinstance(leaf, jax.Array)
            else leaf
        )

    return jax.tree.map(mark, tree)


def _connected(jaxpr: Jaxpr, calls: list[Layer], source: Layer) -> list[Layer]:
    """Follows the arrays through the trace; returns the calls that are layers, filled in."""
    start = jaxpr.invars[-1]
    origins: dict[Any, list[str]] = {start: [source.name]}  # the last layers before an array
    itself: Seen = {axis: (axis + 1, own) for axis, own in enumerate(source.fields)}
    seen: dict[Any, Seen | None] = {start: itself}
    open_layers: list[Layer] = []
    entered: list[Seen] = []  # what the open layer's inputs see
    for eqn in jaxpr.eqns:
        operands = [None if isinstance(v, Literal) else v for v in eqn.invars]
        taken = [v for v in operands if v in origins]
        origin = list(dict.fromkeys(name for v in taken for name in origins[v]))
        results = seen_by_results(eqn, [seen.get(v) for v in operands])
        if eqn.primitive is mark_p:
            layer = calls[eqn.params["index"]]
            if not layer.calls_others:
                if eqn.params["entering"]:
                    layer.connected_to = list(dict.fromkeys([*layer.connected_to, *origin]))
                    open_layers.append(layer)
                    entered += [own for own in results if own is not None]
                else:
                    if layer.window is not None and entered:
                        results = [through_window(joined(entered), layer.window)]
                    shape = shape_of(eqn.outvars[0])
                    layer.output_shape = shape[1:]
                    layer.fields, origin = _fields(results[0], shape), [layer.name]
                    open_layers.clear()
                    entered.clear()
        elif open_layers:
            open_layers[-1].multiply_adds += of_equation(eqn)
        if taken:
            origins |= dict.fromkeys(eqn.outvars, origin)
            seen |= dict(zip(eqn.outvars, results, strict=True))
    return [layer for layer in calls if not layer.calls_others]


def _fields(seen: Seen | None, shape: Sequence[int]) -> Fields:
    """The fields along the axes between the batch and the channels; none where space is gone."""
    found = placed(seen or {}, shape, range(1, len(shape) - 1))
    return tuple(own for _, (_, own) in sorted(found.items()))


def _parent(name: str) -> str:
    return name[: name.rfind(".") + 1]


def _name(path: tuple) -> str:
    return ".".join(map(str, path)) or "model"


def _kind(module: nnx.Module) -> str:
    size = getattr(module, "kernel_size", None) or getattr(module, "window", None)
    return " ".join([type(module).__name__, *(["x".join(map(str, size))] if size else [])])


def _count(module: nnx.Module) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
