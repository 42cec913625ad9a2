"""Loading and saving the weights of published networks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Shaped
from safetensors.numpy import save as serialize

from jconv._core.atomic_io import atomically
from jconv.algorithms import Algorithm
from jconv.models.network import Network
from jconv.models.preprocessing import Preprocessing
from jconv.models.registry import PUBLISHED
from jconv.models.weight_formats import JCONV_FORMAT, KERAS, TORCH, weight_entries
from jconv.models.weight_matching import (
    abstract_network,
    check_options,
    check_weights,
    detect_format,
    infer_options,
    published,
)
from jconv.models.weight_sources import normalise_keras_names, read_arrays, read_metadata
from jconv.selection.plan import Plan

# Keys in the metadata of a .safetensors file.
PREPROCESSING, BUILD_OPTIONS = "jconv.preprocessing", "jconv.build_options"


def load(
    name: str,
    weights: Any,
    *,
    origin: str | None = None,
    auxiliary: bool | None = None,
    batch_norm: bool | None = None,
    largest: int | None = None,
    dropout: float | None = None,
    drop_path_rate: float | None = None,
    algorithm: str | Algorithm | Plan | None = None,
) -> Network:
    """Build a published network with given weights, ready for evaluation.

    The names of the tensors determine the format, and with it the `origin` whose padding and
    epsilon the network uses. Which tensors there are determines the number of classes and whether
    there are auxiliary heads. A file written by `save` contains the other options. Options that are
    given here take precedence. Call `model.train()` before training.

    Some networks of a library share their tensor names. timm's `efficientnet_lite0` and
    `tf_efficientnet_lite0` do, and are loaded as the former, with torch's padding; pass
    `origin="tensorflow"` for the latter, and for any network that timm made with
    `pad_type="same"`. `jconv summary` and `model.build_options` show the origin of a network.

    Args:
      name: a key of `jconv.models.PUBLISHED`.
      weights: a `.safetensors` file with jconv's, torchvision's or timm's names; a file of
        `torch.save`, whose tensors are read without running its pickle; a mapping from names to
        arrays or tensors, such as a torch state dict; a `keras.Model`, or a mapping from the paths
        of its variables to arrays.
      origin: framework whose padding and epsilon to use, `"torch"` or `"tensorflow"`.
      auxiliary: whether the network has its auxiliary heads.
      batch_norm: whether GoogLeNet has batch normalisation.
      largest: kernel size of the third branch of GoogLeNet's modules.
      dropout: dropout rate before the classifier, in training.
      drop_path_rate: probability that an image skips the last block in training.
      algorithm: convolution algorithm; see `jconv.ALGORITHMS`.

    Raises:
      ValueError: for an unknown network, an option that it does not have, or other `weights`.
      WeightsError: if weights are missing, unexpected, misshapen or not floating point, such as
        quantised ones. All of them are listed.

    >>> import numpy as np
    >>> load("googlenet", {"conv1.conv.weight": np.zeros((64, 3, 7, 7))})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jconv.models.weight_sources.WeightsError: `weights` must hold every tensor of googlenet(...
    """
    options = dict(
        origin=origin,
        auxiliary=auxiliary,
        batch_norm=batch_norm,
        largest=largest,
        dropout=dropout,
        drop_path_rate=drop_path_rate,
        algorithm=algorithm,
    )
    options = {option: value for option, value in options.items() if value is not None}
    check_options(name, options)
    arrays = read_arrays(weights)
    weight_format = detect_format(name, arrays)
    if weight_format.library == KERAS:
        arrays = normalise_keras_names(arrays)
    metadata = read_metadata(weights, (PREPROCESSING, BUILD_OPTIONS))
    build_options = {
        **weight_format.options,
        **infer_options(name, weight_format, arrays),
        **_stored_options(name, metadata),
        **options,
    }
    model = nnx.clone(abstract_network(name, **build_options))
    entries = weight_entries(model, weight_format)
    check_weights(model, name, weight_format, entries, arrays)
    for entry in entries:
        value = arrays.get(entry.name)
        if value is None:
            value = np.full(entry.shape, entry.fill_value)
        dtype = entry.variable.get_value().dtype
        entry.variable.set_value(jnp.asarray(entry.from_external(value), dtype))
    _initialise_rngs(model)
    model.preprocessing = _stored_preprocessing(metadata) or weight_format.preprocessing
    model.eval()
    return model


def to_torch(
    name: str, model: Network, library: str | None = None
) -> dict[str, Shaped[np.ndarray, "*shape"]]:
    """Return the weights of a network under torch's names and layouts, for `load_state_dict`.

    Args:
      name: a key of `jconv.models.PUBLISHED`.
      model: the network.
      library: `"torchvision"`, `"timm"` or another package with this network; by default the first
        one with the model's origin.

    Raises:
      ValueError: for an unknown network or library, or if the library's network has another padding
        or epsilon than the model. If the library can make one with the model's, a warning gives
        the call.
    """
    formats = [f for f in published(name).formats if f.library == TORCH]
    allowed = [f for f in formats if library in (None, f.name)]
    if not allowed:
        raise ValueError(
            f"`library` must be one of {[f.name for f in formats]} for {name}. "
            f"Received: library={library!r}."
        )
    origin = dict(model.build_options).get("origin")
    matching = [f for f in allowed if f.options.get("origin", origin) == origin]
    candidates = [*matching, *(f for f in allowed if f.other_origin)]
    if not candidates:
        raise ValueError(
            f"`model` must have the padding and epsilon of {allowed[0].name}'s {name}, "
            f"{allowed[0].options}, because the same weights give other logits with different "
            f"ones. Received: origin={origin!r}. Use another `library`, or train a model of that "
            f"origin."
        )
    chosen = candidates[0]
    if not matching:
        warnings.warn(
            f"`model` has the padding and epsilon of origin={origin!r}. In {chosen.name} its "
            f"weights give the same logits only in {chosen.other_origin}.",
            stacklevel=2,
        )
    return {
        entry.name: np.ascontiguousarray(entry.to_external(np.asarray(entry.variable.get_value())))
        for entry in weight_entries(model, chosen)
    }


def save(model: Network, path: Path | str) -> None:
    """Write the weights of a network to a `.safetensors` file, keyed by their paths in the model.

    The file also holds the model's `preprocessing` and the options that its weights do not imply,
    such as `origin`. It is written atomically and replaces an existing file.

    Args:
      model: the network.
      path: the file to write.

    Raises:
      OSError: if the file cannot be written.
    """
    tensors = {
        entry.name: np.asarray(entry.variable.get_value())
        for entry in weight_entries(model, JCONV_FORMAT)
    }
    metadata = {
        PREPROCESSING: asdict(model.preprocessing),
        BUILD_OPTIONS: dict(model.build_options),
    }
    with atomically(Path(path), "wb") as file:
        file.write(serialize(tensors, {key: json.dumps(v) for key, v in metadata.items()}))


def _stored_options(name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a file, without those that the network does not have.

    A file of another network has such options. It fails by its tensors, with a better message.
    """
    known = signature(PUBLISHED[name].make).parameters
    return {option: v for option, v in metadata.get(BUILD_OPTIONS, {}).items() if option in known}


def _stored_preprocessing(metadata: Mapping[str, Any]) -> Preprocessing | None:
    if PREPROCESSING not in metadata:
        return None
    values = metadata[PREPROCESSING]
    return Preprocessing(tuple(values["mean"]), tuple(values["std"]), values["crop"])


def _initialise_rngs(model: Network) -> None:
    """Give values to the random number streams of dropout, which `eval_shape` left abstract."""
    for i, (_, variable) in enumerate(nnx.iter_graph(model)):
        if isinstance(variable, nnx.RngKey):
            variable.set_value(jax.random.key(i))
        elif isinstance(variable, nnx.RngCount):
            variable.set_value(jnp.zeros((), jnp.uint32))
