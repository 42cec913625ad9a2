"""One run of the benchmark: each layer, each pass, everyone in turn in one process."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import jax
import jax.numpy as jnp
from jax import lax

from jconv.bench.implementations import by_jconv, by_lax, operands, passes, torch_passes, window_of
from jconv.bench.layers import Layer
from jconv.bench.networks import (
    NETWORKS,
    Network,
    inception_batch,
    of_module,
    plain_inception,
    small_network,
)
from jconv.profiling.timing import Call, interleaved, interval, paired_ratio, seconds
from jconv.structure import merge
from jconv.transforms.accelerate import accelerate
from jconv.transforms.inspect import inspect

PASSES = ("forward", "gradients")
MERGED = "Inception v3, merged"
LOOPS = tuple(f"training steps in lax.{f}" for f in ("scan", "while_loop", "fori_loop", "map"))


@dataclass(frozen=True)
class Row:
    """One pass of one layer, as it was measured.

    Attributes:
      layer: its name, or that of a network.
      kind: its kind.
      which: `"forward"`, or `"gradients"`, which is forward and both gradients.
      seconds: of one call, the median, by contender.
      speedup: over `"lax"` and, where it ran, `"torch"`: the median of paired ratios; above 1 is
        faster than they.
      interval: where that median lies with 95 % confidence, by contender.
      compile_seconds: of the first call, by contender; torch has none.
      multiply_adds: of one forward pass.
      convolutions: how many a pass has for each of the forward pass: one for itself, and one for
        each gradient, of input and kernel.
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
        """Arithmetic that the definition asks for, each gradient as much as the forward pass."""
        return 2e-9 * self.convolutions * self.multiply_adds / self.seconds["jconv"]


def bench(
    layers: Sequence[Layer],
    *,
    algorithm: str = "auto",
    budget: float = 2.0,
    each: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Times jconv against `lax` and, where it is installed, torch.

    Args:
      layers: what to time.
      algorithm: jconv's, for every layer that it supports.
      budget: seconds of measuring for each pass of a layer, as far as few rounds allow.
      each: is shown every row as it comes.

    Returns:
      Two rows for each layer, one a pass.
    """
    rows = []
    for layer in layers:
        arrays = tuple(map(jnp.asarray, operands(layer)))
        contenders = {
            "jconv": passes(layer, by_jconv(layer, algorithm), arrays),
            "lax": passes(layer, by_lax(layer), arrays),
            "torch": torch_passes(layer),
        }
        for which in PASSES:
            calls = {name: calls[which] for name, calls in contenders.items() if calls}
            count = convolutions(which, of_examples=layer.examples)
            macs = multiply_adds(layer)
            rows.append(_row(layer.name, layer.kind, which, calls, budget, macs, count))
            each(rows[-1])
        jax.clear_caches()
    return rows


def choose_networks(only: str = "") -> list[str]:
    """The cases of whole networks whose name, or kind, "network", has `only` in it."""
    names = (*NETWORKS, MERGED, *LOOPS)
    return [name for name in names if only in "network" or only.lower() in name.lower()]


def bench_networks(
    names: Iterable[str],
    *,
    quick: bool = False,
    budget: float = 20.0,
    each: Callable[[Row], None] = lambda row: None,
) -> list[Row]:
    """Times whole networks written over `lax`, plain against accelerated, and one merged.

    Args:
      names: see `choose_networks`.
      quick: smaller ones.
      budget: seconds of measuring for each pass, as far as few rounds allow.
      each: is shown every row as it comes.

    Returns:
      Two rows for each network, `PASSES`, of which the second is a training step; one for
      Inception v3 merged, in evaluation, which also says how fast it is against the same by jconv
      as it was; and one for training steps inside of each of `LOOPS`, which also says how fast
      they are against the same steps by jconv called in turn.
    """
    rows = []
    for name in names:
        for row in _network_rows(name, quick, budget):
            rows.append(row)
            each(row)
        jax.clear_caches()
    return rows


def _network_rows(name: str, quick: bool, budget: float) -> Iterator[Row]:
    if name == MERGED:
        yield _merged_inception(quick, budget)
    elif name in LOOPS:
        yield _steps_in_a_loop(name, 2 if quick else 8, budget)
    else:
        network = NETWORKS[name](quick)
        arguments = (network.parameters, network.x)
        for which, f in zip(PASSES, (network.forward, network.step), strict=True):
            calls = {"jconv": _jitted(accelerate(f), *arguments), "lax": _jitted(f, *arguments)}
            macs = _multiply_adds_of(network)
            yield _row(name, "network", which, calls, budget, macs, convolutions(which))


def _multiply_adds_of(network: Network) -> int:
    return inspect(network.forward)(network.parameters, network.x).multiply_adds


def _merged_inception(quick: bool, budget: float) -> Row:
    """Inception v3 in evaluation: merged and accelerated, against plain."""
    merging, x = merge(plain_inception()), inception_batch(quick)
    plain, merged = (of_module(model, x) for model in (merging.original, merging.model))
    calls = {
        "jconv": _jitted(accelerate(merged.forward), merged.parameters, x),
        "lax": _jitted(plain.forward, plain.parameters, x),
        "unmerged": _jitted(accelerate(plain.forward), plain.parameters, x),
    }
    return _row(MERGED, "network", "forward", calls, budget, _multiply_adds_of(merged), 1)


def _steps_in_a_loop(name: str, count: int, budget: float) -> Row:
    """So many training steps of a small network, each on a copy of one batch."""
    network, loop = small_network(), name.rpartition(".")[2]
    parameters, batches = network.parameters, jnp.stack([network.x] * count)

    def looped(parameters, batches):
        if loop == "map":  # in which no step sees another: all are from the same parameters
            return lax.map(lambda x: network.step(parameters, x), batches)
        if loop == "scan":
            return lax.scan(lambda p, x: (network.step(p, x), None), parameters, batches)[0]
        if loop == "fori_loop":
            return lax.fori_loop(0, count, lambda i, p: network.step(p, batches[i]), parameters)
        return lax.while_loop(
            lambda state: state[0] < count,
            lambda state: (state[0] + 1, network.step(state[1], batches[state[0]])),
            (0, parameters),
        )[1]

    one, apart = jax.jit(accelerate(network.step)), list(batches)

    def in_turn():
        stepped = parameters
        for x in apart:
            stepped = one(parameters if loop == "map" else stepped, x)
        return jax.block_until_ready(stepped)

    calls = {
        "jconv": _jitted(accelerate(looped), parameters, batches),
        "lax": _jitted(looped, parameters, batches),
        "in turn": in_turn,
    }
    macs = count * _multiply_adds_of(network)
    return _row(name, "network", "gradients", calls, budget, macs, convolutions("gradients"))


def _jitted(f: Callable, *arguments) -> Call:
    run = jax.jit(f)
    return lambda: jax.block_until_ready(run(*arguments))


def _row(
    name: str,
    kind: str,
    which: str,
    calls: dict[str, Call],
    budget: float,
    multiply_adds: int,
    convolutions: int,
) -> Row:
    first = {name: seconds(call) for name, call in calls.items()}
    second = {name: seconds(call) for name, call in calls.items()}
    # The threads of OpenMP, and so of torch, spin for milliseconds before they sleep.
    spins = "torch" in calls and jax.default_backend() == "cpu"
    times = interleaved(calls, budget=budget, rest=0.02 if spins else 0.0)
    ours = times["jconv"]
    return Row(
        layer=name,
        kind=kind,
        which=which,
        seconds={who: statistics.median(values) for who, values in times.items()},
        speedup={who: paired_ratio(times[who], ours) for who in times if who != "jconv"},
        interval={who: interval(times[who], ours) for who in times if who != "jconv"},
        compile_seconds={n: max(0.0, first[n] - second[n]) for n in calls if n != "torch"},
        multiply_adds=multiply_adds,
        convolutions=convolutions,
    )


def convolutions(which: str, *, of_examples: bool = False) -> int:
    """Of a pass, for each of the forward pass: `Row.convolutions`.

    Args:
      which: one of `PASSES`.
      of_examples: whether the gradients are those in the kernel alone, one for each example.
    """
    if which == "forward":
        return 1
    return 2 if of_examples else 3


def multiply_adds(layer: Layer) -> int:
    """Products summed in one forward pass, padding counted as pixels and gaps not."""
    each = math.prod(layer.kernel[-2:]) * layer.x[0] * max(1, layer.kernels)
    return each * window_of(layer).meetings


def geometric_mean(values: Iterable[float]) -> float:
    """Of positive numbers; NaN of none."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def peak_gflops(size: int = 1536) -> float:
    """What a product of large square matrices reaches here: the most a convolution could."""
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    times = []
    for _ in range(7):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        times.append(time.perf_counter() - start)
    return 2e-9 * size**3 / statistics.median(times)


def as_json(rows: Sequence[Row]) -> list[dict]:
    """The rows, with what follows from them."""
    return [asdict(row) | {"gflops": row.gflops} for row in rows]
