"""The layers of the benchmark in torch, channels-last in memory, on the device that JAX uses."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jconv.bench.implementations import random_operands
from jconv.bench.layers import BenchLayer
from jconv.profiling.timing import Call


def torch_passes(layer: BenchLayer) -> dict[str, Call]:
    """Return calls of both passes in torch, or an empty dict where torch cannot compute them.

    That is the case if torch is not installed, if JAX uses a GPU and torch has none, and for
    gradients of single examples, which torch does not compute in one call. A layer that `vmap` maps
    over kernels is one call with the kernels side by side.
    """
    if layer.per_example_gradients or importlib.util.find_spec("torch") is None:
        return {}
    torch = importlib.import_module("torch")
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        return {}
    x, kernel, y_bar = _torch_operands(torch, layer, on_gpu)
    convolve = _torch_convolution(torch, layer)
    differentiable = [a.clone().requires_grad_() for a in (x, kernel)]

    def forward():
        with torch.no_grad():
            return convolve(x, kernel)

    def gradients():
        y = convolve(*differentiable)
        return y, *torch.autograd.grad(y, differentiable, y_bar)

    calls: dict[str, Call] = {"forward": forward, "gradients": gradients}
    return {name: _synchronized(torch, call) for name, call in calls.items()} if on_gpu else calls


def _torch_operands(torch, layer: BenchLayer, on_gpu: bool) -> list[Any]:
    """Return `random_operands` as tensors in torch's order of axes, channels-last in memory."""
    x, kernel, y_bar = random_operands(layer)
    if layer.kernels:  # (v, *taps, c, f) -> (*taps, c, v f), and the others likewise
        kernel = np.concatenate(list(kernel), axis=-1)
        y_bar = np.concatenate(list(y_bar), axis=-1)
        x = np.concatenate(list(x), axis=-1) if layer.inputs_per_kernel else x
    if layer.input_dilation > 1:
        # Kernels of torch's transposed convolutions are (in, out, *taps), and their taps are in
        # the opposite order.
        reverse = tuple(slice(None, None, -1) for _ in range(layer.rank))
        kernel = np.moveaxis(kernel[reverse], (-2, -1), (0, 1))
    else:
        kernel = np.moveaxis(kernel, (-1, -2), (0, 1))
    arrays = (np.moveaxis(x, -1, 1), np.ascontiguousarray(kernel), np.moveaxis(y_bar, -1, 1))
    tensors = [torch.from_numpy(array) for array in arrays]
    if on_gpu:
        tensors = [tensor.cuda() for tensor in tensors]
    if layer.rank > 1:
        memory = torch.channels_last if layer.rank == 2 else torch.channels_last_3d
        tensors = [tensor.contiguous(memory_format=memory) for tensor in tensors]
    return tensors


def _torch_convolution(torch, layer: BenchLayer) -> Callable[..., Any]:
    """Return the layer as a function of an input and a kernel."""
    functional, window = torch.nn.functional, layer.window
    groups = layer.kernels if layer.inputs_per_kernel else layer.groups
    if layer.input_dilation > 1:
        # All transposed layers of the benchmark have the same padding on both sides.
        padding = [k - 1 - low for k, (low, _) in zip(window.taps, window.padding, strict=True)]
        transposed = getattr(functional, f"conv_transpose{layer.rank}d")
        return lambda x, kernel: transposed(
            x, kernel, groups=groups, stride=window.input_dilation, padding=padding
        )
    function = getattr(functional, f"conv{layer.rank}d")
    options = dict(groups=groups, stride=window.stride, dilation=window.dilation)
    if all(low == high for low, high in window.padding):
        padding = [low for low, _ in window.padding]
        return lambda x, kernel: function(x, kernel, padding=padding, **options)
    sides = [side for pair in reversed(window.padding) for side in pair]
    return lambda x, kernel: function(functional.pad(x, sides), kernel, **options)


def _synchronized(torch, call: Call) -> Call:
    """Return a call that waits for the GPU."""

    def run():
        result = call()
        torch.cuda.synchronize()
        return result

    return run
