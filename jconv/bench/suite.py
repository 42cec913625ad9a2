"""The benchmark of layers: jconv against `lax` and, where it is installed, torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jconv.bench.implementations import (
    jconv_convolution,
    lax_convolution,
    passes,
    random_operands,
)
from jconv.bench.layers import BenchLayer
from jconv.bench.measurement import PASSES, Measurement, count_convolutions, measure
from jconv.bench.torch_layers import torch_passes


def bench_layers(
    layers: Sequence[BenchLayer],
    *,
    algorithm: str = "auto",
    budget: float = 2.0,
    on_result: Callable[[Measurement], None] = lambda measurement: None,
) -> list[Measurement]:
    """Time both passes of each layer by jconv, `lax` and torch, in turn and in one process.

    Args:
      layers: the layers.
      algorithm: jconv's algorithm for every layer; each layer must support it.
      budget: seconds for each pass of a layer, as far as the minimum number of rounds allows.
      on_result: called with each measurement as soon as it is made.

    Returns:
      Two measurements for each layer, one for each of `PASSES`.

    Raises:
      ValueError: if a layer does not support `algorithm`.
    """
    measurements = []
    for layer in layers:
        operands = tuple(map(jnp.asarray, random_operands(layer)))
        implementations = {
            "jconv": passes(layer, jconv_convolution(layer, algorithm), operands),
            "lax": passes(layer, lax_convolution(layer), operands),
            "torch": torch_passes(layer),
        }
        for which in PASSES:
            measurements.append(
                measure(
                    layer.name,
                    layer.kind,
                    which,
                    {name: calls[which] for name, calls in implementations.items() if calls},
                    budget=budget,
                    multiply_adds=layer.multiply_adds,
                    convolutions=count_convolutions(which, per_example=layer.per_example_gradients),
                )
            )
            on_result(measurements[-1])
        jax.clear_caches()
    return measurements
