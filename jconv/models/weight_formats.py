"""Names and layouts of a network's weights in other libraries.

Other names are derived from jconv's: the last word of a variable's path becomes the library's, then
the network's renames, each a pattern and its replacement, apply in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Shaped

from jconv.models.network import Network
from jconv.models.preprocessing import HALF, Preprocessing

Renames = Sequence[tuple[str, str]]

TORCH, KERAS, JCONV = "torch", "keras", "jconv"

# The library's name of a layer's variables, by the type of the layer.
VARIABLE_NAMES = {
    TORCH: {
        nnx.Conv: {"kernel": "weight"},
        nnx.Linear: {"kernel": "weight"},
        nnx.BatchNorm: {"scale": "weight", "mean": "running_mean", "var": "running_var"},
        nnx.LayerNorm: {"scale": "weight"},
    },
    KERAS: {
        nnx.BatchNorm: {
            "scale": "gamma",
            "bias": "beta",
            "mean": "moving_mean",
            "var": "moving_variance",
        },
        nnx.LayerNorm: {"scale": "gamma", "bias": "beta"},
    },
}

# Some networks of Keras have batch norms without a scale, which is 1 in jconv.
NO_SCALE = {r"\.gamma$": 1.0}
SYMMETRIC = Preprocessing(*HALF)
SYMMETRIC_333 = Preprocessing(*HALF, crop=299 / 333)  # a crop of 299 pixels from 333, as in timm
TORCH_ORIGIN, TENSORFLOW_ORIGIN = {"origin": "torch"}, {"origin": "tensorflow"}

KERAS_LAYERS = {"conv": "conv2d", "norm": "batch_normalization"}
# The first variable of each layer, at which layers are counted.
FIRST_VARIABLES = ("kernel", "mean")


@dataclass(frozen=True, eq=False)
class WeightFormat:
    """Names and layouts of the weights of one library's version of a network.

    Attributes:
      name: name of the library or package.
      library: whose layout the tensors have, `"torch"`, `"keras"` or `"jconv"`.
      renames: patterns and replacements from jconv's names to the library's.
      options: options of jconv's network that make it equal to the library's.
      trailing_ones: number of trailing axes of size one, by a pattern of the tensor's name.
      preprocessing: preprocessing of the images that the library's weights were trained on.
      fill_values: values of tensors that the library does not have, by a pattern of their name.
      flattened_inputs: rows, columns and channels of the input of a dense layer after flattening,
        by a pattern of its weight. The channels come last in jconv and first in torch.
      other_origin: call by which the library makes the network of the other origin under the same
        names, if it has one.
      numbered_layers: pattern of jconv's variables whose layers Keras names only by a number.
      depthwise_layers: whether Keras uses depthwise layers, and not grouped convolutions.
    """

    name: str
    library: str
    renames: Renames = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trailing_ones: Mapping[str, int] = field(default_factory=dict)
    preprocessing: Preprocessing = Preprocessing()
    fill_values: Mapping[str, float] = field(default_factory=dict)
    flattened_inputs: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    other_origin: str | None = None
    numbered_layers: str | None = None
    depthwise_layers: bool = True


JCONV_FORMAT = WeightFormat("jconv", JCONV)


@dataclass(frozen=True)
class WeightEntry:
    """One variable of a network, and the tensor of a format that corresponds to it.

    Attributes:
      path: path of the variable, its words joined by dots.
      name: name of the tensor.
      shape: shape of the tensor.
      variable: the variable.
      split_shape: shape of the variable after axes that the library orders differently are split.
      order: order of the split axes in the tensor.
      fill_value: value of the variable if the library has no such tensor; None if it has.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    variable: nnx.Variable
    split_shape: tuple[int, ...]
    order: tuple[int, ...]
    fill_value: float | None

    def to_external(self, value: Shaped[np.ndarray, "*variable"]) -> Shaped[np.ndarray, "*tensor"]:
        """Convert a value of the variable to the library's layout."""
        return value.reshape(self.split_shape).transpose(self.order).reshape(self.shape)

    def from_external(
        self, tensor: Shaped[np.ndarray, "*tensor"]
    ) -> Shaped[np.ndarray, "*variable"]:
        """Convert the library's tensor to the layout of the variable."""
        ordered = tensor.reshape([self.split_shape[axis] for axis in self.order])
        return ordered.transpose(np.argsort(self.order)).reshape(self.variable.shape)


def weight_entries(model: Network, weight_format: WeightFormat) -> list[WeightEntry]:
    """Return the variables of a network with their tensors in a format.

    Args:
      model: the network.
      weight_format: the format of a library that has this network.
    """
    entries, counts = [], {"conv": 0, "norm": 0}
    renames = [(re.compile(pattern), replacement) for pattern, replacement in weight_format.renames]
    by_type = VARIABLE_NAMES.get(weight_format.library, {})
    for path, module, word, variable in _variables(model):
        jconv_path = ".".join([*path, word])
        words = next((names for kind, names in by_type.items() if isinstance(module, kind)), {})
        external_word = words.get(word, word)
        name = ".".join([*path, external_word])
        if weight_format.numbered_layers and re.search(weight_format.numbered_layers, jconv_path):
            kind = path[-1]
            counts[kind] += word in FIRST_VARIABLES
            name = f"{KERAS_LAYERS[kind]}_{counts[kind]}.{external_word}"
        for pattern, replacement in renames:
            name = pattern.sub(replacement, name)
        split_shape = variable.shape
        order, shape = _layout(module, word, split_shape, weight_format)
        shape = (*shape, *(1,) * (_first_match(weight_format.trailing_ones, name) or 0))
        if image_shape := _first_match(weight_format.flattened_inputs, name):
            split_shape, order = (*image_shape, split_shape[-1]), (3, 2, 0, 1)
        fill_value = _first_match(weight_format.fill_values, name)
        entries.append(
            WeightEntry(jconv_path, name, shape, variable, split_shape, order, fill_value)
        )
    return entries


def _variables(
    model: Network,
) -> Iterator[tuple[list[str], nnx.Module, str, nnx.Variable]]:
    """Yield the path, module, name and variable of all weights, in the order of the layers."""

    def rank(item):
        path = item[0]
        layer = model.layer_names.index(path[0]) if path and path[0] in model.layer_names else 999
        return layer, [(not isinstance(w, int), w if isinstance(w, int) else 0) for w in path]

    modules = [(path, module) for path, module in nnx.iter_modules(model)]
    for path, module in sorted(modules, key=rank):
        variables = [
            (word, value)
            for word, value in vars(module).items()
            if isinstance(value, nnx.Param | nnx.BatchStat) and value.get_value() is not None
        ]
        for word, value in sorted(variables, key=lambda item: item[0] not in FIRST_VARIABLES):
            yield list(map(str, path)), module, word, value


def _first_match(by_pattern: Mapping[str, Any], name: str) -> Any:
    """Return the value of the first pattern that matches in `name`, or None."""
    return next((v for pattern, v in by_pattern.items() if re.search(pattern, name)), None)


def _layout(
    module: nnx.Module, word: str, shape: tuple[int, ...], weight_format: WeightFormat
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return a library's order of the axes of a variable, and the shape of its tensor."""
    order = tuple(range(len(shape)))
    if word != "kernel" or weight_format.library == JCONV:
        return order, shape
    if weight_format.library == TORCH:
        order = (order[-1], order[-2], *order[:-2]) if isinstance(module, nnx.Conv) else (1, 0)
        return order, tuple(shape[axis] for axis in order)
    groups = getattr(module, "feature_group_count", 1)
    if groups > 1 and weight_format.depthwise_layers:  # (rows, columns, channels, multiplier)
        return order, (*shape[:-2], groups, shape[-1] // groups)
    return order, shape
