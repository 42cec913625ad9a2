"""One measurement of the benchmark: several implementations of one pass, timed in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import jax
import jax.numpy as jnp

from jconv.profiling.timing import (
    Call,
    confidence_interval,
    paired_ratio,
    time_call,
    time_interleaved,
)

PASSES = ("forward", "gradients")
TORCH_PAUSE = 0.02  # seconds; the threads of OpenMP spin for milliseconds before they sleep


@dataclass(frozen=True)
class Measurement:
    """The times of one pass of one layer or network.

    Attributes:
      layer: name of the layer or network.
      kind: its kind.
      which: `"forward"`, or `"gradients"`, which is the forward pass and both gradients.
      seconds: median time of one call by implementation.
      speedup: how many times faster jconv is than each other implementation: the median of paired
        ratios.
      interval: 95 % confidence interval of `speedup`.
      compile_seconds: time of compilation by implementation, without torch.
      multiply_adds: multiply-adds of one forward pass.
      convolutions: number of convolutions in the pass for each one of the forward pass: 1 for
        itself, and 1 for each gradient.
    """

    layer: str
    kind: str
    which: str
    seconds: dict[str, float]
    speedup: dict[str, float]
    interval: dict[str, tuple[float, float]]
    compile_seconds: dict[str, float]
    multiply_adds: int = field(repr=False)
    convolutions: int = field(repr=False)

    @property
    def gflops(self) -> float:
        """Operations of the definition per second of jconv; a gradient counts as one pass."""
        return 2e-9 * self.convolutions * self.multiply_adds / self.seconds["jconv"]


def measure(
    name: str,
    kind: str,
    which: str,
    calls: Mapping[str, Call],
    *,
    budget: float,
    multiply_adds: int,
    convolutions: int,
) -> Measurement:
    """Time the implementations of one pass in turn.

    Args:
      name: see `Measurement.layer`.
      kind: see `Measurement`.
      which: see `Measurement`.
      calls: the implementations by name; `"jconv"` must be one of them.
      budget: seconds for all measurements together.
      multiply_adds: see `Measurement`.
      convolutions: see `Measurement`.
    """
    first = {name: time_call(call) for name, call in calls.items()}
    second = {name: time_call(call) for name, call in calls.items()}
    on_cpu = jax.default_backend() == "cpu"
    pause = TORCH_PAUSE if "torch" in calls and on_cpu else 0.0
    times = time_interleaved(calls, budget=budget, pause=pause)
    jconv_times = times["jconv"]
    others = [name for name in times if name != "jconv"]
    return Measurement(
        layer=name,
        kind=kind,
        which=which,
        seconds={name: statistics.median(values) for name, values in times.items()},
        speedup={name: paired_ratio(times[name], jconv_times) for name in others},
        interval={name: confidence_interval(times[name], jconv_times) for name in others},
        compile_seconds={n: max(0.0, first[n] - second[n]) for n in calls if n != "torch"},
        multiply_adds=multiply_adds,
        convolutions=convolutions,
    )


def count_convolutions(which: str, *, per_example: bool = False) -> int:
    """Return the number of convolutions in a pass for each one of the forward pass.

    Args:
      which: one of `PASSES`.
      per_example: True if the gradients are those in the kernel alone, one for each example.
    """
    if which == "forward":
        return 1
    return 2 if per_example else 3


def geometric_mean(values: Iterable[float]) -> float:
    """Return the geometric mean of positive numbers, or NaN if there are none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def peak_gflops(size: int = 1536) -> float:
    """Return the speed of a product of large square matrices: an upper bound for convolutions."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2e-9 * size**3 / statistics.median(times)


def as_json(measurements: Sequence[Measurement]) -> list[dict]:
    """Return the measurements as dicts, with their derived figures."""
    return [asdict(one) | {"gflops": one.gflops} for one in measurements]
