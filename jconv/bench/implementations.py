"""Who is timed on a layer: `lax` as JAX users write it, jconv, and torch where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

import jconv
from jconv._core.geometry import Window, make_window
from jconv.bench.layers import Layer
from jconv.profiling.timing import Call

SPACE = {1: "W", 2: "HW", 3: "DHW"}
Convolve = Callable[[Any, Any], Any]


def window_of(layer: Layer) -> Window:
    """The geometry of the layer, its padding in numbers."""
    return make_window(
        layer.x[1:-1],
        layer.kernel[: layer.rank],
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        input_dilation=layer.input_dilation,
    )


def operands(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, kernel and a cotangent of the output, normal numbers in float32."""
    rng = np.random.default_rng(0)
    many = (layer.kernels,) if layer.kernels else ()
    y = (layer.x[0], *window_of(layer).output, layer.kernel[-1])
    shapes = ((*(many if layer.own_inputs else ()), *layer.x), (*many, *layer.kernel), (*many, *y))
    x, kernel, y_bar = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return x, kernel, y_bar


def by_lax(layer: Layer) -> Convolve:
    """`lax.conv_general_dilated`, channels last."""
    window, space = window_of(layer), SPACE[layer.rank]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lambda x, kernel: lax.conv_general_dilated(
        x, kernel, window.stride, window.padding, window.input_dilation, window.dilation,
        dimension_numbers=numbers, feature_group_count=layer.groups,
    )  # fmt: skip


def by_jconv(layer: Layer, algorithm: str = "auto") -> Convolve:
    """`jconv.conv`."""
    return lambda x, kernel: jconv.conv(
        x,
        kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        input_dilation=layer.input_dilation,
        groups=layer.groups,
        algorithm=algorithm,
    )


def passes_of(layer: Layer, convolve: Convolve) -> tuple[Convolve, Callable[..., Any]]:
    """Both passes as functions: forward, and forward with the gradients in input and kernel.

    Those of `examples` are the gradients in the kernel alone, one for each example.

    Args:
      layer: what to convolve.
      convolve: of one input and one kernel.
    """
    axis = 0 if layer.own_inputs else None
    mapped = jax.vmap(convolve, (axis, 0)) if layer.kernels else convolve

    def of_one_example(x, kernel, y_bar):
        y, pull = jax.vjp(lambda kernel: convolve(x[None], kernel)[0], kernel)
        return y, *pull(y_bar)

    def with_gradients(x, kernel, y_bar):
        if layer.examples:
            return jax.vmap(of_one_example, (0, None, 0))(x, kernel, y_bar)
        y, pull = jax.vjp(mapped, x, kernel)
        return y, *pull(y_bar)

    return mapped, with_gradients


def passes(layer: Layer, convolve: Convolve, arrays=None) -> dict[str, Call]:
    """Jitted calls of both passes, which wait for their results; see `passes_of`.

    Args:
      layer: what to convolve.
      convolve: of one input and one kernel.
      arrays: its `operands`, for several to share: where they lie in memory matters.
    """
    x, kernel, y_bar = map(jax.numpy.asarray, arrays or operands(layer))
    forward, with_gradients = map(jax.jit, passes_of(layer, convolve))
    return {
        "forward": lambda: jax.block_until_ready(forward(x, kernel)),
        "gradients": lambda: jax.block_until_ready(with_gradients(x, kernel, y_bar)),
    }


def torch_passes(layer: Layer) -> dict[str, Call]:
    """The same by torch, channels-last in memory; empty where it is missing or has no such call.

    It computes where JAX does: on the GPU if that is JAX's default device. Torch maps over kernels
    by one call with all of them, and has no gradients of single examples that one call would give.
    """
    if importlib.util.find_spec("torch") is None or layer.examples:
        return {}
    torch = importlib.import_module("torch")
    rank = layer.rank
    x, kernel, y_bar = operands(layer)
    if layer.kernels:  # (v, *taps, c, f) -> (*taps, c, v f), and the others likewise
        kernel = np.concatenate(list(kernel), axis=-1)
        y_bar = np.concatenate(list(y_bar), axis=-1)
        x = np.concatenate(list(x), axis=-1) if layer.own_inputs else x
    window, last = window_of(layer), range(1, rank + 1)
    x, y_bar = (torch.from_numpy(np.moveaxis(a, -1, 1)) for a in (x, y_bar))
    transposes = layer.input_dilation > 1
    if transposes:  # torch's transposed kernels are (in, out, *taps), not turned round
        kernel = np.moveaxis(kernel[tuple(slice(None, None, -1) for _ in last)], (-2, -1), (0, 1))
    else:
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    kernel = torch.from_numpy(np.ascontiguousarray(kernel))
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu:
        if not torch.cuda.is_available():
            return {}
        x, y_bar, kernel = (a.cuda() for a in (x, y_bar, kernel))
    if rank > 1:
        layout = torch.channels_last if rank == 2 else torch.channels_last_3d
        x, y_bar, kernel = (a.contiguous(memory_format=layout) for a in (x, y_bar, kernel))
    even = all(low == high for low, high in window.padding)
    name = f"conv_transpose{rank}d" if transposes else f"conv{rank}d"
    function = getattr(torch.nn.functional, name)
    groups = layer.kernels if layer.own_inputs else layer.groups
    if transposes:  # every published layer here pads evenly
        pads = [k - 1 - low for k, (low, _) in zip(window.taps, window.padding, strict=True)]
        options = dict(stride=window.input_dilation, padding=pads)
    else:
        pads = [low for low, _ in window.padding] if even else 0
        options = dict(stride=window.stride, padding=pads, dilation=window.dilation)

    def convolve(x, kernel):
        if not even:
            sides = [side for pair in reversed(window.padding) for side in pair]
            x = torch.nn.functional.pad(x, sides)
        return function(x, kernel, groups=groups, **options)

    def forward():
        with torch.no_grad():
            return convolve(x, kernel)

    learned = [a.clone().requires_grad_() for a in (x, kernel)]

    def gradients():
        y = convolve(*learned)
        return y, *torch.autograd.grad(y, learned, y_bar)

    if not on_gpu:
        return {"forward": forward, "gradients": gradients}

    def waiting(call: Call) -> Call:
        def run():
            result = call()
            torch.cuda.synchronize()
            return result

        return run

    return {"forward": waiting(forward), "gradients": waiting(gradients)}
