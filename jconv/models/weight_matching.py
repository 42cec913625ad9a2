"""Matching of named tensors to the formats, options and variables of published networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from inspect import signature
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jconv.models.network import Network
from jconv.models.registry import PUBLISHED, PublishedNetwork
from jconv.models.weight_formats import (
    JCONV_FORMAT,
    KERAS,
    WeightEntry,
    WeightFormat,
    weight_entries,
)
from jconv.models.weight_sources import Arrays, WeightsError, normalise_keras_names

# A counter in PyTorch's batch norms, which a network with a fixed momentum does not use.
IGNORED = "num_batches_tracked"


def published(name: str) -> PublishedNetwork:
    """Return the entry of a published network, or raise an error that lists all names."""
    if name not in PUBLISHED:
        raise ValueError(f"`name` must be one of {sorted(PUBLISHED)}. Received: name={name!r}.")
    return PUBLISHED[name]


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise an error for an unknown network, or an option that it does not have."""
    parameters = signature(published(name).make).parameters
    allowed = [option for option in parameters if option not in ("num_classes", "rngs")]
    for option, value in options.items():
        if option not in allowed:
            raise ValueError(
                f"`{option}` is not an option of {name}, which has {allowed}. "
                f"Received: {option}={value!r}."
            )


def detect_format(name: str, arrays: Arrays) -> WeightFormat:
    """Return the format that shares the most tensor names with `arrays`."""
    keras_names = set(normalise_keras_names(arrays))

    def num_shared(weight_format: WeightFormat) -> int:
        given = keras_names if weight_format.library == KERAS else arrays.keys()
        return len(_paths(name, weight_format).keys() & given)

    return max((JCONV_FORMAT, *PUBLISHED[name].formats), key=num_shared)


@cache
def _paths(name: str, weight_format: WeightFormat) -> dict[str, str]:
    """Return the paths of jconv's variables, with auxiliary heads, by their names in a format."""
    heads = {"auxiliary": True} if "auxiliary" in signature(PUBLISHED[name].make).parameters else {}
    entries = weight_entries(abstract_network(name, **heads), weight_format)
    return {entry.name: entry.path for entry in entries}


def abstract_network(name: str, **options) -> Network:
    """Return a network whose variables have shapes and no values."""
    parameters = signature(PUBLISHED[name].make).parameters
    defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    return _cached_abstract_network(name, **defaults | options)


@cache
def _cached_abstract_network(name: str, **options) -> Network:
    return nnx.eval_shape(lambda: PUBLISHED[name].make(**options, rngs=nnx.Rngs(0)))


def infer_options(name: str, weight_format: WeightFormat, arrays: Arrays) -> dict[str, Any]:
    """Return the number of classes, and whether there are auxiliary heads, from the tensors."""
    paths, options = _paths(name, weight_format), dict[str, Any]()
    bias = next(tensor for tensor, path in paths.items() if path == "dense.bias")
    if bias in arrays and arrays[bias].ndim == 1:
        options["num_classes"] = arrays[bias].shape[0]
    if heads := [tensor for tensor, path in paths.items() if path.startswith("auxiliary")]:
        options["auxiliary"] = any(tensor in arrays for tensor in heads)
    return options


def check_weights(
    model: Network,
    name: str,
    weight_format: WeightFormat,
    entries: list[WeightEntry],
    arrays: Arrays,
) -> None:
    """Raise an error that lists all tensors that do not fit."""
    shapes = {entry.name: entry.shape for entry in entries}
    required = [entry.name for entry in entries if entry.fill_value is None]
    ignored = {re.sub(r"running_mean$", IGNORED, tensor) for tensor in shapes}
    present = {tensor: shape for tensor, shape in shapes.items() if tensor in arrays}
    problems = {
        "missing": [tensor for tensor in required if tensor not in arrays],
        "unexpected": [t for t in arrays if t not in shapes and t not in ignored],
        "misshapen": [
            f"{tensor} {arrays[tensor].shape}, not {shape}"
            for tensor, shape in present.items()
            if arrays[tensor].shape != shape
        ],
        "not floating point; dequantise quantised weights first": [
            f"{tensor} {arrays[tensor].dtype}"
            for tensor in present
            if not jnp.issubdtype(arrays[tensor].dtype, jnp.floating)
        ],
    }
    lists = [
        f"{len(tensors)} {problem}:\n    " + "\n    ".join(tensors)
        for problem, tensors in problems.items()
        if tensors
    ]
    if lists:
        options = ", ".join(f"{option}={value!r}" for option, value in model.build_options)
        raise WeightsError(
            f"`weights` must hold every tensor of {name}({options}) and no other, under the names "
            f"of {weight_format.name}. Nothing was loaded.\n  " + "\n  ".join(lists)
        )
