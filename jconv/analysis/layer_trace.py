"""The layers of a network, their connections and their cost, from one trace on shapes alone.

Every call of a layer marks the arrays that enter and leave it. The marks tell which layers feed
which, also through functions that are not layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from flax import nnx
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Primitive

from jconv._core.geometry import Window
from jconv._core.jaxpr import of_equation, shape_of
from jconv.analysis.propagation import propagate
from jconv.analysis.receptive_field import AxisField, FieldMap, apply_window, match_axes, union
from jconv.nn import LocalConv
from jconv.nn.interception import eval_view, intercept_calls

INPUT = "input"


@dataclass
class LayerSummary:
    """One call of a layer.

    Attributes:
      name: path of the layer in the model.
      kind: its class and kernel size.
      output_shape: shape of its output, without the batch.
      parameters: number of trainable values.
      multiply_adds: products summed for one input; padding counts, biases do not.
      connected_to: layers whose outputs it takes.
      fields: receptive field along each spatial axis; empty where it is the whole input.
      calls_layers: whether it is made of other layers, which are listed in its place.
      window: its sliding window, for a layer whose trace does not contain one.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...] = ()
    parameters: int = 0
    multiply_adds: int = 0
    connected_to: list[str] = field(default_factory=list)
    fields: tuple[AxisField, ...] = ()
    calls_layers: bool = False
    window: Window | None = None

    @property
    def receptive_field(self) -> str:
        """Rows by columns of the receptive field, such as `"7x7"`, or `"all"`."""
        return "x".join(str(axis_field.size) for axis_field in self.fields) or "all"


def trace_layers(
    model: nnx.Module, input_shape: Sequence[int], dtype
) -> tuple[list[LayerSummary], Jaxpr]:
    """Trace `model` in evaluation; return its input, its layers and the traced program.

    Args:
      model: called with one array `(1, *input_shape)`.
      input_shape: shape of one input, without the batch.
      dtype: data type of the input.
    """
    graph, state = nnx.split(eval_view(model))
    calls: list[LayerSummary] = []

    def run(state, x):
        module = nnx.merge(graph, state)
        with _mark_calls(module, calls):
            return module(x)

    x = jax.ShapeDtypeStruct((1, *input_shape), dtype)
    jaxpr = jax.make_jaxpr(run)(state, x).jaxpr
    fields = (AxisField(),) * (len(input_shape) - 1)
    source = LayerSummary(INPUT, "Input", tuple(input_shape), fields=fields)
    walk = _TraceWalk(calls, jaxpr.invars[-1], source)
    for eqn in jaxpr.eqns:
        walk.visit(eqn)
    return [source, *(layer for layer in calls if not layer.calls_layers)], jaxpr


def count_parameters(module: nnx.Module) -> int:
    """Return the number of trainable values of a module."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))


# Marks an array that enters or leaves a layer. It exists in traces only.
mark_p = Primitive("jconv_mark")
mark_p.def_abstract_eval(lambda x, **_: x)


@contextlib.contextmanager
def _mark_calls(model: nnx.Module, calls: list[LayerSummary]) -> Iterator[None]:
    """Within the context, record each call of a module of `model` and mark its arrays."""
    stack: list[LayerSummary] = []
    counted: set[int] = set()

    def record(path: tuple, module: nnx.Module, call, *args, **kwargs):
        layer = LayerSummary(".".join(map(str, path)) or "model", _kind(module))
        if isinstance(module, LocalConv):
            layer.window = module.geometry
        if id(module) not in counted:  # a second call has no further parameters
            layer.parameters = count_parameters(module)
        counted.add(id(module))
        if stack:
            stack[-1].calls_layers = True
        index = len(calls)
        calls.append(layer)
        stack.append(layer)
        args, kwargs = _mark((args, kwargs), index, entering=True)
        try:
            return _mark(call(*args, **kwargs), index, entering=False)
        finally:
            stack.pop()

    with intercept_calls(model, record):
        yield


def _mark(tree, index: int, *, entering: bool):
    def mark(leaf):
        if not isinstance(leaf, jax.Array):
            return leaf
        return mark_p.bind(leaf, index=index, entering=entering)

    return jax.tree.map(mark, tree)


def _kind(module: nnx.Module) -> str:
    size = getattr(module, "kernel_size", None) or getattr(module, "window", None)
    return " ".join([type(module).__name__, *(["x".join(map(str, size))] if size else [])])


class _TraceWalk:
    """Follows arrays through a trace and completes the recorded calls.

    Args:
      calls: the recorded calls, by the index in their marks.
      start: the variable of the network's input.
      source: the layer that stands for the input.
    """

    def __init__(self, calls: Sequence[LayerSummary], start: Any, source: LayerSummary):
        self.calls = calls
        # The last layers before each array that depends on the input, and its receptive field.
        self.producers: dict[Any, list[str]] = {start: [source.name]}
        self.fields: dict[Any, FieldMap | None] = {
            start: {axis: (axis + 1, field) for axis, field in enumerate(source.fields)}
        }
        self.current: LayerSummary | None = None
        self.input_fields: list[FieldMap] = []  # of the arrays that entered `current`

    def visit(self, eqn: JaxprEqn) -> None:
        """Follow the arrays through one equation."""
        operands = [None if isinstance(v, Literal) else v for v in eqn.invars]
        dependent = [v for v in operands if v in self.producers]
        producers = _unique(name for v in dependent for name in self.producers[v])
        fields = propagate(eqn, [self.fields.get(v) for v in operands])
        if eqn.primitive is mark_p:
            layer = self.calls[eqn.params["index"]]
            if layer.calls_layers:
                pass
            elif eqn.params["entering"]:
                self._enter(layer, producers, fields)
            else:
                fields = self._leave(layer, shape_of(eqn.outvars[0]), fields)
                producers = [layer.name]
        elif self.current is not None:
            self.current.multiply_adds += of_equation(eqn)
        if dependent:
            self.producers |= dict.fromkeys(eqn.outvars, producers)
            self.fields |= dict(zip(eqn.outvars, fields, strict=True))

    def _enter(
        self, layer: LayerSummary, producers: list[str], fields: list[FieldMap | None]
    ) -> None:
        if layer is not self.current:
            self.current, self.input_fields = layer, []
        layer.connected_to = _unique([*layer.connected_to, *producers])
        self.input_fields += [field_map for field_map in fields if field_map is not None]

    def _leave(
        self, layer: LayerSummary, shape: tuple[int, ...], fields: list[FieldMap | None]
    ) -> list[FieldMap | None]:
        if layer.window is not None and self.input_fields:
            fields = [apply_window(union(self.input_fields), layer.window)]
        layer.output_shape = shape[1:]
        # The spatial axes lie between the batch and the channels.
        spatial = match_axes(fields[0] or {}, shape, range(1, len(shape) - 1))
        layer.fields = tuple(axis_field for _, (_, axis_field) in sorted(spatial.items()))
        self.current, self.input_fields = None, []
        return fields


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
