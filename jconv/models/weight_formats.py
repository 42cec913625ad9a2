"""How other libraries name and lay out the tensors of a network.

Names go from ours to theirs: a variable's path, its last word replaced by the library's own, goes
through the network's rules, each a `re.sub`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import nnx

from jconv.models.network import Network
from jconv.models.preprocessing import HALF, Pixels

Rules = Sequence[tuple[str, str]]

TORCH, KERAS, JCONV = "torch", "keras", "jconv"

# The last word of a variable's path, by library and by the kind of layer that owns it.
WORDS = {
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

# What Keras's networks without a scale in their norms multiply by.
NO_SCALE = {r"\.gamma$": 1.0}
SYMMETRIC = Pixels(*HALF)
SYMMETRIC_333 = Pixels(*HALF, crop=299 / 333)  # of 333 pixels the middle 299, as in timm's tables
AS_TORCH, AS_TENSORFLOW = {"origin": "torch"}, {"origin": "tensorflow"}

KERAS_LAYERS = {"conv": "conv2d", "norm": "batch_normalization"}
# What a layer's variables are counted by stands first.
FIRST = {"kernel": 0, "mean": 0}


@dataclass(frozen=True, eq=False)
class Format:
    """The names of one library's version of a network.

    Attributes:
      name: of the library or package.
      library: whose layout the tensors have, `"torch"`, `"keras"` or `"jconv"`.
      rules: from our names to theirs.
      options: how our network is made to be theirs.
      trailing: axes of one pixel that tensors of some names end in, by pattern.
      pixels: how the images were made that published weights were learned from.
      absent: tensors that the library does not have, by pattern: what ours are filled with.
      flattened: rows, columns and channels of what a dense layer takes flattened, by pattern of its
        weight: we lay channels out last, torch first.
      otherwise: how the library makes its network of the other origin, under the same names; None
        where it has none.
      numbered: pattern of our variables whose layers Keras names by their number alone.
      depthwise: whether Keras has depthwise layers, and not convolutions in groups of one channel.
    """

    name: str
    library: str
    rules: Rules = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trailing: Mapping[str, int] = field(default_factory=dict)
    pixels: Pixels = Pixels()
    absent: Mapping[str, float] = field(default_factory=dict)
    flattened: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    otherwise: str | None = None
    numbered: str | None = None
    depthwise: bool = True


@dataclass(frozen=True)
class Entry:
    """One variable of a network and the tensor that it is in a format.

    Attributes:
      path: of the variable, its words joined by dots.
      name: of the tensor.
      shape: of the tensor.
      variable: ours.
      split: our shape, with what the library orders differently along axes of its own.
      order: of these axes in the tensor.
      filling: what it is where the library does not have it; None where it does.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    variable: nnx.Variable
    split: tuple[int, ...]
    order: tuple[int, ...]
    filling: float | None

    def outward(self, ours: np.ndarray) -> np.ndarray:
        """Our array as the library has it."""
        return ours.reshape(self.split).transpose(self.order).reshape(self.shape)

    def inward(self, theirs: np.ndarray) -> np.ndarray:
        """The library's array as we have it."""
        ordered = theirs.reshape([self.split[axis] for axis in self.order])
        return ordered.transpose(np.argsort(self.order)).reshape(self.variable.shape)


def entries(model: Network, form: Format) -> list[Entry]:
    """The variables of a network that have weights in them, as `form` has them."""
    found, numbers = [], {"conv": 0, "norm": 0}
    rules = [(re.compile(pattern), replacement) for pattern, replacement in form.rules]
    for path, owner, word, variable in _variables(model):
        ours = ".".join([*path, word])
        words = WORDS.get(form.library, {})
        own = next((w for kind, w in words.items() if isinstance(owner, kind)), {})
        name = ".".join([*path, own.get(word, word)])
        if form.numbered and re.search(form.numbered, ours):
            numbers[path[-1]] += word in ("kernel", "mean")  # once a layer
            name = f"{KERAS_LAYERS[path[-1]]}_{numbers[path[-1]]}.{own.get(word, word)}"
        for pattern, replacement in rules:
            name = pattern.sub(replacement, name)
        ones = _first_match(form.trailing, name) or 0
        split = variable.shape
        order, core = _layout(owner, word, split, form)
        shape = (*core, *(1,) * ones)
        if flat := _first_match(form.flattened, name):
            split, order = (*flat, split[-1]), (3, 2, 0, 1)
        filling = _first_match(form.absent, name)
        found.append(Entry(ours, name, shape, variable, split, order, filling))
    return found


def _variables(
    model: Network,
) -> Iterator[tuple[list[str], nnx.Module, str, nnx.Variable]]:
    """Path, owner, name and variable, in the order in which the layers were made."""

    def place(item):
        path = item[0]
        rank = model.layer_names.index(path[0]) if path and path[0] in model.layer_names else 999
        return rank, [(not isinstance(w, int), w if isinstance(w, int) else 0) for w in path]

    modules = [(path, module) for path, module in nnx.iter_modules(model)]
    for path, module in sorted(modules, key=place):
        own = [
            (word, value)
            for word, value in vars(module).items()
            if isinstance(value, nnx.Param | nnx.BatchStat) and value.get_value() is not None
        ]
        for word, value in sorted(own, key=lambda item: FIRST.get(item[0], 9)):
            yield list(map(str, path)), module, word, value


def _first_match(by_pattern: Mapping[str, Any], name: str) -> Any:
    """What the first pattern that a name has in it stands for; None where there is none."""
    return next((v for pattern, v in by_pattern.items() if re.search(pattern, name)), None)


def _layout(
    owner: nnx.Module, word: str, shape: tuple[int, ...], form: Format
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The order in which a library has the axes of our array, and the shape that this gives it."""
    order = tuple(range(len(shape)))
    if word != "kernel" or form.library == JCONV:
        return order, shape
    if form.library == TORCH:
        order = (order[-1], order[-2], *order[:-2]) if isinstance(owner, nnx.Conv) else (1, 0)
        return order, tuple(shape[axis] for axis in order)
    groups = getattr(owner, "feature_group_count", 1)
    if groups > 1 and form.depthwise:  # (rows, columns, channels, multiplier)
        return order, (*shape[:-2], groups, shape[-1] // groups)
    return order, shape


OURS = Format("jconv", JCONV)
