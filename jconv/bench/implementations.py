"""The implementations of a layer in JAX: `lax` as JAX users write it, and jconv."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jconv._core.problem import Problem
from jconv.bench.layers import BenchLayer
from jconv.functional.conv import conv
from jconv.profiling.timing import Call
from jconv.transforms.inspect import inspect

SPATIAL_AXES = {1: "W", 2: "HW", 3: "DHW"}
Convolve = Callable[[Any, Any], Any]  # of one input and one kernel


def random_operands(layer: BenchLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return input, kernel and a cotangent of the output, standard normal in float32."""
    rng = np.random.default_rng(0)
    kernels = (layer.kernels,) if layer.kernels else ()
    inputs = kernels if layer.inputs_per_kernel else ()
    y = (layer.x[0], *layer.window.output, layer.kernel[-1])
    shapes = ((*inputs, *layer.x), (*kernels, *layer.kernel), (*kernels, *y))
    x, kernel, y_bar = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return x, kernel, y_bar


def lax_convolution(layer: BenchLayer) -> Convolve:
    """Return the layer by `lax.conv_general_dilated`, channels last."""
    window, space = layer.window, SPATIAL_AXES[layer.rank]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lambda x, kernel: lax.conv_general_dilated(
        x, kernel, window.stride, window.padding, window.input_dilation, window.dilation,
        dimension_numbers=numbers, feature_group_count=layer.groups,
    )  # fmt: skip


def jconv_convolution(layer: BenchLayer, algorithm: str = "auto") -> Convolve:
    """Return the layer by `jconv.conv`."""
    return lambda x, kernel: conv(
        x,
        kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        input_dilation=layer.input_dilation,
        groups=layer.groups,
        algorithm=algorithm,
    )


def pass_functions(layer: BenchLayer, convolve: Convolve) -> tuple[Convolve, Callable[..., Any]]:
    """Return both passes of a layer as functions.

    Returns:
      The forward pass, a function of input and kernel; and the forward pass with its gradients in
      input and kernel, a function of input, kernel and cotangent. With `per_example_gradients`,
      the gradients are those in the kernel alone, one for each example.
    """
    axis = 0 if layer.inputs_per_kernel else None
    mapped = jax.vmap(convolve, (axis, 0)) if layer.kernels else convolve

    def example_gradient(x, kernel, y_bar):
        y, pull = jax.vjp(lambda kernel: convolve(x[None], kernel)[0], kernel)
        return y, *pull(y_bar)

    def with_gradients(x, kernel, y_bar):
        if layer.per_example_gradients:
            return jax.vmap(example_gradient, (0, None, 0))(x, kernel, y_bar)
        y, pull = jax.vjp(mapped, x, kernel)
        return y, *pull(y_bar)

    return mapped, with_gradients


def passes(layer: BenchLayer, convolve: Convolve, operands=None) -> dict[str, Call]:
    """Return jitted calls of both passes, which wait for their results; see `pass_functions`.

    Args:
      layer: the layer.
      convolve: its convolution of one input and one kernel.
      operands: input, kernel and cotangent on the device. Implementations that are compared share
        them, because times depend on their addresses. New ones are made if None.
    """
    x, kernel, y_bar = map(jnp.asarray, operands or random_operands(layer))
    forward, with_gradients = map(jax.jit, pass_functions(layer, convolve))
    return {
        "forward": lambda: jax.block_until_ready(forward(x, kernel)),
        "gradients": lambda: jax.block_until_ready(with_gradients(x, kernel, y_bar)),
    }


def problems_of(layer: BenchLayer) -> list[Problem]:
    """Return the convolutions of a layer's forward pass with gradients, in the order they run."""
    _, with_gradients = pass_functions(layer, jconv_convolution(layer))
    inspection = inspect(with_gradients)(*random_operands(layer))
    return [convolution.problem for convolution in inspection.convolutions]
