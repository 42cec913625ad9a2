"""Whole networks as a JAX user writes them: functions over `lax`, and Flax modules.

Their convolutions do not refer to jconv. Weights are random. In the functions over `lax`, batch
normalization is folded into scales and offsets.
"""

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
class BenchNetwork:
    """A network that is timed as a whole.

    Attributes:
      parameters: its weights.
      x: a batch of images, `(n, h, w, c)`.
      forward: the forward pass, a function of parameters and a batch.
    """

    parameters: Any
    x: jax.Array
    forward: Callable[[Any, jax.Array], jax.Array]

    def step(self, parameters, x):
        """Return the parameters after one step of gradient descent on the mean square output."""
        gradient = jax.grad(lambda p: jnp.square(self.forward(p, x)).mean())(parameters)
        return jax.tree.map(lambda p, g: p - 1e-3 * g, parameters, gradient)


def efficientnet_lite0(quick: bool = False) -> BenchNetwork:
    """Return EfficientNet-Lite0 with 8 images of 224 pixels, or one of 64 pixels if `quick`."""
    rng = np.random.default_rng(0)
    x = _normal(rng, (1, 64, 64, 3) if quick else (8, 224, 224, 3))
    plan = _efficientnet_plan()
    parameters = [_layer(rng, taps, into // groups, out) for taps, _, into, out, groups, _ in plan]
    head = _normal(rng, (1280, 1000)) / math.sqrt(1280)

    def forward(parameters, x):
        layers, head = parameters
        return _efficientnet(plan, layers, x).mean((1, 2)) @ head

    return BenchNetwork((parameters, head), x, forward)


def convnext_block(quick: bool = False) -> BenchNetwork:
    """Return a ConvNeXt block with 8 images of 56 pixels, or one of 16 pixels if `quick`."""
    rng, channels = np.random.default_rng(0), 96
    sizes = ((7, 1, channels), (1, channels, 4 * channels), (1, 4 * channels, channels))
    block = [_layer(rng, *size) for size in sizes]
    x = _normal(rng, (1, 16, 16, channels) if quick else (8, 56, 56, channels))
    return BenchNetwork(block, x, _convnext_block)


def inception_v3_in_training(quick: bool = False) -> BenchNetwork:
    """Return Inception v3 in training with 4 images of 299 pixels, or one of 107 if `quick`."""
    return from_module(plain_inception(), inception_batch(quick))


NETWORKS = {
    "EfficientNet-Lite0": efficientnet_lite0,
    "ConvNeXt block": convnext_block,
    "Inception v3": inception_v3_in_training,
}


def from_module(model: nnx.Module, x: jax.Array) -> BenchNetwork:
    """Return a module as a function of its parameters, in its present mode."""
    graph, parameters, model_state = nnx.split(model, nnx.Param, ...)

    def forward(parameters, x):
        # A copy, because normalization layers update their statistics in training.
        return nnx.merge(graph, parameters, jax.tree.map(jnp.copy, model_state))(x)

    return BenchNetwork(parameters, x, forward)


def inception_batch(quick: bool) -> jax.Array:
    """Return images of the size that Inception v3 was designed for, or small ones if `quick`."""
    shape = (1, 107, 107, 3) if quick else (4, 299, 299, 3)
    return _normal(np.random.default_rng(0), shape)


def over_lax(model: nnx.Module) -> nnx.Module:
    """Change the convolutions of a model to `lax.conv_general_dilated` and return the model."""
    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = lax.conv_general_dilated
    return model


def plain_inception() -> nnx.Module:
    """Return Inception v3 over `lax` with random weights, without its auxiliary head."""
    rng = np.random.default_rng(0)
    model = nnx.eval_shape(lambda: inception_v3(auxiliary=False, dropout=0.0, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(over_lax(model))

    def initial_value(path, variable):
        match jax.tree_util.keystr(path, simple=True, separator="/").split("/"):
            case [*_, "kernel", _]:
                kernel = _normal(rng, variable.shape)
                return kernel * math.sqrt(2 / math.prod(kernel.shape[:-1]))
            case [*_, "scale" | "var", _]:
                return jnp.ones(variable.shape)
        return jnp.zeros(variable.shape)

    return nnx.merge(graph, jax.tree.map_with_path(initial_value, state))


def small_network() -> BenchNetwork:
    """Return three 3x3 convolutions and a linear layer, as trained in `lax.scan`."""
    rng = np.random.default_rng(0)
    layers = [_layer(rng, 3, into, out) for into, out in ((3, 32), (32, 32), (32, 32))]
    head = _normal(rng, (32, 10)) / math.sqrt(32)

    def forward(parameters, x):
        layers, head = parameters
        for layer in layers:
            x = jax.nn.relu(_conv(x, layer))
        return x.mean((1, 2)) @ head

    return BenchNetwork((layers, head), _normal(rng, (16, 28, 28, 3)), forward)


def _efficientnet_plan() -> list[tuple[int, int, int, int, int, str]]:
    """Return taps, stride, input channels, output channels, groups and role of each layer."""
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
