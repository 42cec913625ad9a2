"""Whole networks, as a user of JAX writes them: functions over `lax` and layers of Flax's, whose
convolutions know nothing of jconv. Weights are random; in the functions over `lax`, batch
normalisation is folded into scales and offsets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from jconv.models import inception_v3

# EfficientNet-Lite0 (Tan & Le 2019, its "lite" form): expansion, taps, stride, channels, repeats.
STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip

Parameters = list[dict[str, Any]]


@dataclass(frozen=True)
class Network:
    """A network that is timed from end to end.

    Attributes:
      parameters: its weights.
      x: a batch.
      forward: of parameters and a batch.
    """

    parameters: Any
    x: jax.Array
    forward: Callable[[Any, jax.Array], jax.Array]

    def step(self, parameters, x):
        """One training step: the gradient of the mean square of the outputs, and a descent."""
        gradient = jax.grad(lambda p: jnp.square(self.forward(p, x)).mean())(parameters)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, parameters, gradient)


def efficientnet_lite0(quick: bool = False) -> Network:
    """On 8 images of 224 pixels; on one of 64 if `quick`."""
    rng = np.random.default_rng(0)
    x = _normal(rng, (1, 64, 64, 3) if quick else (8, 224, 224, 3))
    plan = _efficientnet_plan()
    parameters = [_layer(rng, taps, into // groups, out) for taps, _, into, out, groups, _ in plan]
    head = _normal(rng, (1280, 1000)) / math.sqrt(1280)

    def forward(parameters, x):
        layers, head = parameters
        return _efficientnet(plan, layers, x).mean((1, 2)) @ head

    return Network((parameters, head), x, forward)


def convnext_block(quick: bool = False) -> Network:
    """On 8 images of 56 pixels and 96 channels; on one of 16 pixels if `quick`."""
    rng, channels = np.random.default_rng(0), 96
    sizes = ((7, 1, channels), (1, channels, 4 * channels), (1, 4 * channels, channels))
    block = [_layer(rng, *size) for size in sizes]
    x = _normal(rng, (1, 16, 16, channels) if quick else (8, 56, 56, channels))
    return Network(block, x, _convnext_block)


def inception_v3_in_training(quick: bool = False) -> Network:
    """On 4 images of 299 pixels; on one of 107 if `quick`."""
    return of_module(plain_inception(), inception_batch(quick))


NETWORKS = {
    "EfficientNet-Lite0": efficientnet_lite0,
    "ConvNeXt block": convnext_block,
    "Inception v3": inception_v3_in_training,
}


def of_module(model: nnx.Module, x: jax.Array) -> Network:
    """The network that a module is, in the mode that it is in."""
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    def forward(parameters, x):
        # A copy: in training a norm writes down what it saw.
        return nnx.merge(graph, parameters, jax.tree.map(jnp.copy, rest))(x)

    return Network(parameters, x, forward)


def inception_batch(quick: bool) -> jax.Array:
    """Images of the size that Inception v3 is made for, or of about the least that it takes."""
    shape = (1, 107, 107, 3) if quick else (4, 299, 299, 3)
    return _normal(np.random.default_rng(0), shape)


def over_lax(model: nnx.Module) -> nnx.Module:
    """The same model, whose convolutions are `lax`'s from now on."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = lax.conv_general_dilated
    return model


def plain_inception() -> nnx.Module:
    """Inception v3, without its auxiliary head, over `lax`, with random weights."""
    rng = np.random.default_rng(0)
    model = nnx.eval_shape(lambda: inception_v3(auxiliary=False, dropout=0.0, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(over_lax(model))

    def drawn(path, variable):
        match jax.tree_util.keystr(path, simple=True, separator="/").split("/"):
            case [*_, "kernel", _]:
                kernel = _normal(rng, variable.shape)
                return kernel * math.sqrt(2 / math.prod(kernel.shape[:-1]))
            case [*_, "scale" | "var", _]:
                return jnp.ones(variable.shape)
        return jnp.zeros(variable.shape)

    return nnx.merge(graph, jax.tree.map_with_path(drawn, state))


def small_network() -> Network:
    """Three 3x3 convolutions and a linear layer: what is trained under `lax.scan`."""
    rng = np.random.default_rng(0)
    layers = [_layer(rng, 3, into, out) for into, out in ((3, 32), (32, 32), (32, 32))]
    head = _normal(rng, (32, 10)) / math.sqrt(32)

    def forward(parameters, x):
        layers, head = parameters
        for layer in layers:
            x = jax.nn.relu(_conv(x, layer))
        return x.mean((1, 2)) @ head

    return Network((layers, head), _normal(rng, (16, 28, 28, 3)), forward)


def _efficientnet_plan() -> list[tuple[int, int, int, int, int, str]]:
    """Taps, stride, channels in and out, groups, and what each layer does, in order."""
    plan, into = [(3, 2, 3, 32, 1, "stem")], 32
    for expansion, taps, stride, out, repeats in STAGES:
        for i in range(repeats):
            wide, step = expansion * into, stride if i == 0 else 1
            if expansion > 1:
                plan.append((1, 1, into, wide, 1, "expand"))
            plan.append((taps, step, wide, wide, wide, "depthwise"))
            plan.append((1, 1, wide, out, 1, "add" if i else "project"))
            into = out
    return [*plan, (1, 1, into, 1280, 1, "head")]


def _efficientnet(plan, layers, x):
    entry = x
    for (_, stride, _, _, groups, role), layer in zip(plan, layers, strict=True):
        entry = x if role == "expand" else entry
        x = _conv(x, layer, stride, groups)
        if role == "add":
            x = x + entry
        elif role != "project":
            x = jnp.clip(x, 0, 6)
    return x


def _convnext_block(layers, x):
    depthwise, wide, narrow = layers
    y = _conv(x, depthwise, groups=x.shape[-1])
    y = (y - y.mean(-1, keepdims=True)) * lax.rsqrt(y.var(-1, keepdims=True) + 1e-6)
    return x + _conv(jax.nn.gelu(_conv(y, wide)), narrow)


def _conv(x, layer, stride: int = 1, groups: int = 1):
    y = lax.conv_general_dilated(
        x,
        layer["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )
    return y * layer["scale"] + layer["offset"]


def _layer(rng, taps: int, inputs: int, outputs: int) -> dict[str, jax.Array]:
    kernel = _normal(rng, (taps, taps, inputs, outputs)) * math.sqrt(2 / (taps * taps * inputs))
    return {"kernel": kernel, "scale": jnp.ones(outputs), "offset": jnp.zeros(outputs)}


def _normal(rng, shape) -> jax.Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)
