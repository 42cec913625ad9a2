"""Reading weights from files, mappings and Keras models as named arrays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from jconv.models.torch_checkpoint import TorchCheckpointError, read_torch_checkpoint

TORCH_SUFFIXES = (".pth", ".pt", ".bin")

Arrays = dict[str, Shaped[np.ndarray, "*shape"]]


class WeightsError(ValueError):
    """Weights that do not fit a network."""


def read_arrays(weights: Any) -> Arrays:
    """Return weights as named arrays.

    Args:
      weights: a `.safetensors` file, a file of `torch.save`, a mapping from names to arrays or
        torch tensors, a `keras.Model`, or a mapping from the paths of its variables to arrays.

    Raises:
      ValueError: for anything else, an empty mapping, or a file that cannot be read.
    """
    if isinstance(weights, str | Path):
        return _read_file(Path(weights))
    if hasattr(weights, "layers") and hasattr(weights, "weights"):  # a keras.Model
        weights = {variable.path: variable for variable in weights.weights}
    if not isinstance(weights, Mapping) or not weights:
        empty = " that is empty" if isinstance(weights, Mapping) else ""
        raise ValueError(
            f"`weights` must be a file, a mapping from names to arrays, or a keras.Model. "
            f"Received: {type(weights).__name__}{empty}."
        )
    return {str(name): _to_numpy(value) for name, value in weights.items()}


def read_metadata(weights: Any, keys: Iterable[str]) -> dict[str, Any]:
    """Return the JSON values of `keys` in a `.safetensors` file; empty for other weights."""
    if not isinstance(weights, str | Path) or Path(weights).suffix in TORCH_SUFFIXES:
        return {}
    with safe_open(weights, "numpy") as file:
        metadata = file.metadata() or {}
    return {key: json.loads(metadata[key]) for key in keys if key in metadata}


def normalise_keras_names(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return Keras variables under names `layer.variable`, with numbered layers counted from 1.

    Keras continues its numbers from one network of a process to the next, so only the order of the
    numbers is used.

    Raises:
      WeightsError: for two variables that would have the same name.
    """
    by_layer, original_names = {}, dict[tuple[str, str], str]()
    for name, value in arrays.items():
        words = re.sub(r":\d+$", "", name).split("/")
        layer, word = words[-2:] if len(words) > 1 else (name, "")
        word = re.sub(r"^variable(_\d+)?$", "gamma", word)  # the unnamed variable of a layer scale
        if word == "depthwise_kernel" and "sep" not in layer:
            word = "kernel"
        if (layer, word) in by_layer:
            raise WeightsError(
                f"`weights` must have one array for each variable of each layer. Received: "
                f"{original_names[layer, word]!r} and {name!r}, both of which are {layer}/{word}. "
                f"Give the variables of one network."
            )
        by_layer[layer, word], original_names[layer, word] = value, name
    new_names: dict[str, str] = {}
    for kind in ("conv2d", "batch_normalization"):
        numbers = {
            layer: int(match[1] or 0)
            for layer, _ in by_layer
            if (match := re.fullmatch(rf"{kind}(?:_(\d+))?", layer))
        }
        ranked = sorted(numbers, key=lambda layer: numbers[layer])
        new_names |= {layer: f"{kind}_{i}" for i, layer in enumerate(ranked, start=1)}
    return {
        f"{new_names.get(layer, layer)}.{word}": value for (layer, word), value in by_layer.items()
    }


def _read_file(path: Path) -> Arrays:
    if not path.is_file():
        raise ValueError(f"`weights` must be an existing file. Received: {path}.")
    if path.suffix in TORCH_SUFFIXES:
        try:
            return read_torch_checkpoint(path)
        except TorchCheckpointError as error:
            raise ValueError(f"`weights` cannot be read. {error}") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"`weights` must be a .safetensors file, or a file of torch.save with the suffix "
            f"{' or '.join(TORCH_SUFFIXES)}. Received: {path}: {error}."
        ) from error


def _to_numpy(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor, possibly on a GPU
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return (value.int_repr() if getattr(value, "is_quantized", False) else value).numpy()
    return np.asarray(value)
