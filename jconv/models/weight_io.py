"""Weights in and out: every tensor finds its place and its shape, or nothing is loaded."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as serialize

from jconv._core.atomic_io import atomically
from jconv.models.network import Network
from jconv.models.preprocessing import Pixels
from jconv.models.registry import PUBLISHED, Published
from jconv.models.torch_checkpoint import TorchFileError, read_torch_file
from jconv.models.weight_formats import KERAS, OURS, TORCH, Entry, Format, entries

IGNORED = "num_batches_tracked"  # of PyTorch's batch norms: of no use with a fixed momentum
PIXELS, MADE_WITH = "jconv.pixels", "jconv.made_with"  # in the head of a .safetensors file
PICKLED = (".pth", ".pt", ".bin")


class WeightsError(ValueError):
    """What is missing, left over, of another shape or no floats, all of it."""


def load(name: str, weights: Any, **options) -> Network:
    """Makes a published network with given weights, ready for evaluation.

    The format is told by the tensors' names, and with it whose borders and epsilons the network
    follows; the number of classes, and whether there are auxiliary heads, by which tensors there
    are. A file of `save` has the options in it that the network was made with. Train it after
    `model.train()`.

    Names cannot tell apart what a library calls alike. timm's `efficientnet_lite0` and
    `tf_efficientnet_lite0` have the same, and are taken for the first, of torch's borders; for the
    second give `origin="tensorflow"`. So it is with any network that timm made with
    `pad_type="same"`. `jconv summary` and `model.made_with` tell the origin of a network.

    Args:
      name: one of `jconv.models.PUBLISHED`.
      weights: a `.safetensors` file, in jconv's, torchvision's or timm's names; a file of
        `torch.save`, whose tensors are read without running its pickle; a mapping from names to
        arrays (or tensors), such as a torch state dict; a `keras.Model`, or a mapping from its
        variables' paths to arrays.
      **options: of the network, such as `origin`, in place of what the format or the file says.

    Raises:
      ValueError: for an unknown network, or weights that are none of these.
      WeightsError: listing every tensor that is missing, left over, of another shape or not of
        floats, such as a quantised one; then nothing is loaded.

    >>> import numpy as np
    >>> load("googlenet", {"conv1.conv.weight": np.zeros((64, 3, 7, 7))})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    jconv.models.weight_io.WeightsError: `weights` must hold every tensor of googlenet(...
    """
    _published(name)
    given = _tensors(weights)
    form = _format_of(name, given)
    if form.library == KERAS:
        given = _renumbered(given)
    head = _head(weights)
    made_with = {**form.options, **_seen(name, form, given), **_made_with(name, head), **options}
    model = nnx.clone(_outline(name, **made_with))
    wanted = entries(model, form)
    _check(model, name, form, wanted, given)
    for entry in wanted:
        value = given.get(entry.name)
        if value is None:
            value = np.full(entry.shape, entry.filling)
        dtype = entry.variable.get_value().dtype
        entry.variable.set_value(jnp.asarray(entry.inward(value), dtype))
    _start_random_streams(model)
    model.pixels = _pixels(head) or form.pixels
    model.eval()
    return model


def to_torch(name: str, model: Network, library: str | None = None) -> dict[str, np.ndarray]:
    """The weights of a network under torch's names and in its layout, for `load_state_dict`.

    Args:
      name: one of `jconv.models.PUBLISHED`.
      model: the network.
      library: `"torchvision"` or `"timm"`, or what else takes weights of this network; the first
        that has it with the model's origin if None.

    Raises:
      ValueError: for an unknown network or library, or a model whose borders and epsilons are not
        those of the library's network. Where it can be made with the model's, a warning says how.
    """
    forms = [form for form in _published(name).formats if form.library == TORCH]
    allowed = [form for form in forms if library in (None, form.name)]
    if not allowed:
        raise ValueError(
            f"`library` must be one of {[form.name for form in forms]} for {name}. "
            f"Received: library={library!r}."
        )
    origin = dict(model.made_with).get("origin")
    alike = [form for form in allowed if form.options.get("origin", origin) == origin]
    chosen = [*alike, *(form for form in allowed if form.otherwise)]
    if not chosen:
        raise ValueError(
            f"`model` must have the borders and epsilons of {allowed[0].name}'s {name}, "
            f"{allowed[0].options}: with other ones the same weights give other logits. "
            f"Received: origin={origin!r}. Use another `library`, or train it with that origin."
        )
    if not alike:
        warnings.warn(
            f"`model` has the borders and epsilons of origin={origin!r}. In {chosen[0].name} its "
            f"weights give the same logits in {chosen[0].otherwise} alone.",
            stacklevel=2,
        )
    found = entries(model, chosen[0])
    return {
        e.name: np.ascontiguousarray(e.outward(np.asarray(e.variable.get_value()))) for e in found
    }


def save(model: Network, path: Path | str) -> None:
    """Writes the weights of a network to a `.safetensors` file, under their paths in the model.

    With them go the options that the tensors do not tell, such as `origin`, and `model.pixels`. The
    file is there whole or not at all; one of that name is replaced.

    Raises:
      OSError: where it cannot be written, such as in a folder that does not exist.
    """
    tensors = {e.name: np.asarray(e.variable.get_value()) for e in entries(model, OURS)}
    with atomically(Path(path), "wb") as file:
        head = {PIXELS: asdict(model.pixels), MADE_WITH: dict(model.made_with)}
        file.write(serialize(tensors, {key: json.dumps(value) for key, value in head.items()}))


def _head(weights: Any) -> dict[str, Any]:
    """What `save` wrote beside the tensors."""
    if not isinstance(weights, str | Path) or Path(weights).suffix in PICKLED:
        return {}
    with safe_open(weights, "numpy") as file:
        texts = file.metadata() or {}
    return {key: json.loads(texts[key]) for key in (PIXELS, MADE_WITH) if key in texts}


def _made_with(name: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a file. One of another network fails by its tensors, which tells more."""
    known = signature(PUBLISHED[name].make).parameters
    return {option: v for option, v in head.get(MADE_WITH, {}).items() if option in known}


def _pixels(head: Mapping[str, Any]) -> Pixels | None:
    if PIXELS not in head:
        return None
    content = head[PIXELS]
    return Pixels(tuple(content["mean"]), tuple(content["std"]), content["crop"])


def _published(name: str) -> Published:
    if name not in PUBLISHED:
        raise ValueError(f"`name` must be one of {sorted(PUBLISHED)}. Received: name={name!r}.")
    return PUBLISHED[name]


def _tensors(weights: Any) -> dict[str, np.ndarray]:
    """What holds weights as a mapping of arrays."""
    if isinstance(weights, str | Path):
        return _read(Path(weights))
    if hasattr(weights, "layers") and hasattr(weights, "weights"):  # a keras.Model
        weights = {variable.path: variable for variable in weights.weights}
    if not isinstance(weights, Mapping) or not weights:
        empty = " that is empty" if isinstance(weights, Mapping) else ""
        raise ValueError(
            f"`weights` must be a file, a mapping from names to arrays, or a keras.Model. "
            f"Received: {type(weights).__name__}{empty}."
        )
    return {str(name): _array(value) for name, value in weights.items()}


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor, which may be on a GPU
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return (value.int_repr() if getattr(value, "is_quantized", False) else value).numpy()
    return np.asarray(value)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"`weights` must be a file. Received: {path}, where there is none.")
    if path.suffix in PICKLED:
        try:
            return read_torch_file(path)
        except TorchFileError as error:
            raise ValueError(f"`weights` cannot be read. {error}") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"`weights` must be a .safetensors file, or one of torch.save called "
            f"{' or '.join(PICKLED)}. Received: {path}: {error}."
        ) from error


def _format_of(name: str, given: Mapping[str, np.ndarray]) -> Format:
    """The format whose names are met most."""
    keras = set(_renumbered(given))

    def met(form: Format) -> int:
        names = keras if form.library == KERAS else given.keys()
        return len(_names(name, form).keys() & names)

    return max((OURS, *PUBLISHED[name].formats), key=met)


@cache
def _names(name: str, form: Format) -> dict[str, str]:
    """Paths of our variables by their names in a format, those of auxiliary heads too."""
    heads = {"auxiliary": True} if "auxiliary" in signature(PUBLISHED[name].make).parameters else {}
    return {entry.name: entry.path for entry in entries(_outline(name, **heads), form)}


def _outline(name: str, **options) -> Network:
    """A network without numbers, only shapes, made once for the same options."""
    parameters = signature(PUBLISHED[name].make).parameters
    try:
        filled = {n: p.default for n, p in parameters.items() if p.default is not p.empty} | options
        return _outlined(name, **filled)
    except TypeError:
        allowed = [n for n in parameters if n not in ("num_classes", "rngs")]
        raise ValueError(
            f"`options` must be some of {allowed} for {name}. Received: {options}."
        ) from None


@cache
def _outlined(name: str, **options) -> Network:
    return nnx.eval_shape(lambda: PUBLISHED[name].make(**options, rngs=nnx.Rngs(0)))


def _renumbered(given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keras's variables as `layer.variable`; layers that are only numbered are counted from 1.

    Their numbers go on from network to network in a process, so only their order counts.

    Raises:
      WeightsError: for two variables that would have one name.
    """
    split, name_of = {}, dict[tuple[str, str], str]()
    for name, value in given.items():
        words = re.sub(r":\d+$", "", name).split("/")
        layer, word = words[-2:] if len(words) > 1 else (name, "")
        word = re.sub(r"^variable(_\d+)?$", "gamma", word)  # of a layer's scale, which has no name
        if word == "depthwise_kernel" and "sep" not in layer:
            word = "kernel"
        if (layer, word) in split:
            raise WeightsError(
                f"`weights` must have one array for each variable of each layer. Received: "
                f"{name_of[layer, word]!r} and {name!r}, both of which are {layer}/{word}. Give "
                f"the variables of one network."
            )
        split[layer, word], name_of[layer, word] = value, name
    counted = {}
    for kind in ("conv2d", "batch_normalization"):
        found = {
            layer: int(match[1] or 0)
            for layer, _ in split
            if (match := re.fullmatch(rf"{kind}(?:_(\d+))?", layer))
        }
        ranked = sorted(found, key=lambda layer: found[layer])
        counted |= {layer: f"{kind}_{i}" for i, layer in enumerate(ranked, start=1)}
    return {f"{counted.get(layer, layer)}.{word}": value for (layer, word), value in split.items()}


def _seen(name: str, form: Format, given: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What tensors there are tells how many classes and which heads the network has."""
    names, seen = _names(name, form), dict[str, Any]()
    dense = next(tensor for tensor, path in names.items() if path == "dense.bias")
    if dense in given and given[dense].ndim == 1:
        seen["num_classes"] = given[dense].shape[0]
    if heads := [tensor for tensor, path in names.items() if path.startswith("auxiliary")]:
        seen["auxiliary"] = any(tensor in given for tensor in heads)
    return seen


def _check(
    model: Network,
    name: str,
    form: Format,
    wanted: list[Entry],
    given: Mapping[str, np.ndarray],
) -> None:
    shapes = {entry.name: entry.shape for entry in wanted}
    needed = [entry.name for entry in wanted if entry.filling is None]
    missing = [tensor for tensor in needed if tensor not in given]
    ignored = {re.sub(r"running_mean$", IGNORED, tensor) for tensor in shapes}
    over = [tensor for tensor in given if tensor not in shapes and tensor not in ignored]
    misshapen = [
        f"{tensor} {given[tensor].shape}, not {shape}"
        for tensor, shape in shapes.items()
        if tensor in given and given[tensor].shape != shape
    ]
    numbers = [
        f"{tensor} {given[tensor].dtype}"
        for tensor in shapes
        if tensor in given and not jnp.issubdtype(given[tensor].dtype, jnp.floating)
    ]
    problems = {
        "missing": missing,
        "left over": over,
        "of another shape": misshapen,
        "not of floats; quantised weights must be dequantised first": numbers,
    }
    told = [
        f"{len(found)} {what}:\n    " + "\n    ".join(found)
        for what, found in problems.items()
        if found
    ]
    if told:
        made = ", ".join(f"{option}={value!r}" for option, value in model.made_with)
        raise WeightsError(
            f"`weights` must hold every tensor of {name}({made}) and no other, by the names of "
            f"{form.name}. Nothing was loaded.\n  " + "\n  ".join(told)
        )


def _start_random_streams(model: Network) -> None:
    """What a network drops is drawn from streams that `eval_shape` only outlined."""
    for i, (_, variable) in enumerate(nnx.iter_graph(model)):
        if isinstance(variable, nnx.RngKey):
            variable.set_value(jax.random.key(i))
        elif isinstance(variable, nnx.RngCount):
            variable.set_value(jnp.zeros((), jnp.uint32))
