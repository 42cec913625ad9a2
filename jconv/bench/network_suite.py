"""The benchmark of whole networks over `lax`: as they are, and accelerated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
from jax import lax

from jconv.bench.measurement import PASSES, Measurement, count_convolutions, measure
from jconv.bench.networks import (
    NETWORKS,
    BenchNetwork,
    from_module,
    inception_batch,
    plain_inception,
    small_network,
)
from jconv.profiling.timing import Call
from jconv.structure import merge
from jconv.transforms.accelerate import accelerate
from jconv.transforms.inspect import inspect

MERGED = "Inception v3, merged"
LOOPS = tuple(f"training steps in lax.{f}" for f in ("scan", "while_loop", "fori_loop", "map"))


def choose_networks(only: str = "") -> list[str]:
    """Return the names of the networks that contain `only`; all of them if their kind does.

    Args:
      only: part of a name, or of the kind, `"network"`.
    """
    names = (*NETWORKS, MERGED, *LOOPS)
    return [name for name in names if only in "network" or only.lower() in name.lower()]


def bench_networks(
    names: Iterable[str],
    *,
    quick: bool = False,
    budget: float = 20.0,
    on_result: Callable[[Measurement], None] = lambda measurement: None,
) -> list[Measurement]:
    """Time whole networks, plain and accelerated.

    Args:
      names: names of networks; see `choose_networks`.
      quick: use smaller inputs.
      budget: seconds for each pass, as far as the minimum number of rounds allows.
      on_result: called with each measurement as soon as it is made.

    Returns:
      For each of `NETWORKS`, one measurement for each of `PASSES`; the second is a training step.
      For `MERGED`, one in evaluation, which also compares with the accelerated network before
      merging. For each of `LOOPS`, one of training steps within the loop, which also compares with
      the same accelerated steps called in turn.
    """
    measurements = []
    for name in names:
        for measurement in _measure_network(name, quick, budget):
            measurements.append(measurement)
            on_result(measurement)
        jax.clear_caches()
    return measurements


def _measure_network(name: str, quick: bool, budget: float) -> Iterator[Measurement]:
    if name == MERGED:
        yield _measure_merged_inception(quick, budget)
    elif name in LOOPS:
        yield _measure_loop(name, 2 if quick else 8, budget)
    else:
        network = NETWORKS[name](quick)
        arguments = (network.parameters, network.x)
        for which, f in zip(PASSES, (network.forward, network.step), strict=True):
            calls = {"jconv": _jitted(accelerate(f), *arguments), "lax": _jitted(f, *arguments)}
            yield measure(
                name, "network", which, calls, budget=budget,
                multiply_adds=_multiply_adds(network), convolutions=count_convolutions(which),
            )  # fmt: skip


def _multiply_adds(network: BenchNetwork) -> int:
    return inspect(network.forward)(network.parameters, network.x).multiply_adds


def _measure_merged_inception(quick: bool, budget: float) -> Measurement:
    """Time Inception v3 in evaluation: merged and accelerated, against plain."""
    merging, x = merge(plain_inception()), inception_batch(quick)
    plain, merged = (from_module(model, x) for model in (merging.original, merging.model))
    calls = {
        "jconv": _jitted(accelerate(merged.forward), merged.parameters, x),
        "lax": _jitted(plain.forward, plain.parameters, x),
        "unmerged": _jitted(accelerate(plain.forward), plain.parameters, x),
    }
    return measure(
        MERGED, "network", "forward", calls, budget=budget,
        multiply_adds=_multiply_adds(merged), convolutions=1,
    )  # fmt: skip


def _measure_loop(name: str, steps: int, budget: float) -> Measurement:
    """Time training steps of a small network within a loop, each on a copy of one batch."""
    network, loop = small_network(), name.rpartition(".")[2]
    parameters, batches = network.parameters, jnp.stack([network.x] * steps)

    def looped(parameters, batches):
        if loop == "map":  # its steps are independent: all start from the same parameters
            return lax.map(lambda x: network.step(parameters, x), batches)
        if loop == "scan":
            return lax.scan(lambda p, x: (network.step(p, x), None), parameters, batches)[0]
        if loop == "fori_loop":
            return lax.fori_loop(0, steps, lambda i, p: network.step(p, batches[i]), parameters)
        return lax.while_loop(
            lambda state: state[0] < steps,
            lambda state: (state[0] + 1, network.step(state[1], batches[state[0]])),
            (0, parameters),
        )[1]

    step, separate_batches = jax.jit(accelerate(network.step)), list(batches)

    def in_turn():
        stepped = parameters
        for x in separate_batches:
            stepped = step(parameters if loop == "map" else stepped, x)
        return jax.block_until_ready(stepped)

    calls = {
        "jconv": _jitted(accelerate(looped), parameters, batches),
        "lax": _jitted(looped, parameters, batches),
        "in turn": in_turn,
    }
    return measure(
        name, "network", "gradients", calls, budget=budget,
        multiply_adds=steps * _multiply_adds(network),
        convolutions=count_convolutions("gradients"),
    )  # fmt: skip


def _jitted(f: Callable, *arguments) -> Call:
    run = jax.jit(f)
    return lambda: jax.block_until_ready(run(*arguments))
