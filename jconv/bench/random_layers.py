"""Random layers of the kinds and sizes that occur in practice, to fit and test a cost model."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from jconv._core.problem import Problem
from jconv.bench.implementations import problems_of
from jconv.bench.layers import BenchLayer

MIN_MULTIPLY_ADDS, MAX_MULTIPLY_ADDS = 2e5, 6e8  # of one forward pass
MAX_INPUT_SIZE = 3e7  # numbers in the input


def random_layers(seed: int) -> Iterator[BenchLayer]:
    """Yield random layers of every kind in turn, without end; reproducible by seed."""
    rng = np.random.default_rng(seed)
    while True:
        for kind, draw in KINDS.items():
            yield _draw_measurable(kind, draw, rng)


def random_problems(minutes: float, seed: int) -> Iterator[Problem]:
    """Yield the convolutions of random layers and their gradients for some minutes.

    Args:
      minutes: the time after which no more are yielded.
      seed: seed of the random layers.
    """
    end = time.monotonic() + 60 * minutes
    for layer in random_layers(seed):
        for problem in problems_of(layer):
            if time.monotonic() > end:
                return
            yield problem
        jax.clear_caches()


def draw_problems(count: int) -> Iterator[Problem]:
    """Yield one convolution, forward or gradient, of each of `count` layers with a random seed."""
    rng = np.random.default_rng()
    layers = random_layers(int(rng.integers(2**32)))
    for layer in itertools.islice(layers, count):
        problems = problems_of(layer)
        yield problems[rng.integers(len(problems))]


def _draw_measurable(
    kind: str, draw: Callable[..., BenchLayer], rng: np.random.Generator
) -> BenchLayer:
    """Return a layer of a size that takes neither too little nor too much time."""
    while True:
        layer = draw(kind, rng)
        in_range = MIN_MULTIPLY_ADDS <= layer.multiply_adds <= MAX_MULTIPLY_ADDS
        if in_range and math.prod(layer.x) <= MAX_INPUT_SIZE:
            return layer


def _log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """Return a random integer whose logarithm is uniformly distributed."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _layer(kind: str, x, kernel, **options) -> BenchLayer:
    words = [f"{name} {value}" for name, value in options.items() if name != "padding"]
    name = ", ".join([f"{kind} {x} * {kernel}", *words])
    return BenchLayer(name, kind, tuple(map(int, x)), tuple(map(int, kernel)), **options)


def _channels(rng: np.random.Generator, low: int = 4, high: int = 512) -> int:
    """Return a number of channels: usually a multiple of 8, as in published networks."""
    n = _log_uniform(rng, low, high)
    return n if n < 8 or rng.random() < 0.2 else 8 * max(1, round(n / 8))


def _dense(kind: str, rng: np.random.Generator) -> BenchLayer:
    taps = (1, 1) if kind == "1x1" else [(3, 3), (3, 3), (2, 2), (5, 5), (1, 7), (7, 7)][
        rng.integers(6)]  # fmt: skip
    size, options = _log_uniform(rng, 4, 112), {}
    if kind == "strided":
        options = dict(stride=int(rng.choice([2, 2, 3])))
    if kind == "dilated":
        options = dict(dilation=_log_uniform(rng, 2, 6))
    into, out = _channels(rng), _channels(rng)
    return _layer(kind, (_log_uniform(rng, 1, 16), size, size, into), (*taps, into, out), **options)


def _small(kind: str, rng: np.random.Generator) -> BenchLayer:
    """Return a layer on a training batch of small images, sometimes of several networks."""
    taps, size = [1, 3, 5, 5, 7][rng.integers(5)], _log_uniform(rng, 2, 16)
    into, out = _channels(rng, 1, 192), _channels(rng, 4, 192)
    networks = (
        dict(kernels=_log_uniform(rng, 2, 8), inputs_per_kernel=True) if rng.random() < 0.3 else {}
    )
    x = (_log_uniform(rng, 16, 256), size, size, into)
    return _layer(kind, x, (taps, taps, into, out), **networks)


def _stem(kind: str, rng: np.random.Generator) -> BenchLayer:
    taps, into, size = int(rng.integers(2, 9)), int(rng.integers(1, 5)), _log_uniform(rng, 16, 256)
    stride = int(rng.choice([1, 2, min(4, taps)]))
    x, kernel = (
        (_log_uniform(rng, 1, 8), size, size, into),
        (taps, taps, into, _channels(rng, 4, 128)),
    )
    return _layer(kind, x, kernel, stride=stride)


def _depthwise(kind: str, rng: np.random.Generator) -> BenchLayer:
    large = kind == "large"
    taps = _log_uniform(rng, 9, 41) if large else int(rng.choice([2, 3, 3, 4, 5, 7, 9]))
    size, channels = _log_uniform(rng, max(4, taps // 2), 128), _channels(rng, 4, 768)
    options = {} if large or rng.random() < 0.7 else dict(stride=2)
    if not large and rng.random() < 0.15:
        options = dict(dilation=2)
    many = 1 if rng.random() < 0.85 else int(rng.integers(2, 5))
    x, kernel = (_log_uniform(rng, 1, 16), size, size, channels), (taps, taps, 1, many * channels)
    return _layer(kind, x, kernel, groups=channels, **options)


def _grouped(kind: str, rng: np.random.Generator) -> BenchLayer:
    groups, size = int(rng.choice([2, 3, 4, 8, 16, 32])), _log_uniform(rng, 4, 64)
    into, out = groups * _log_uniform(rng, 2, 64), groups * _log_uniform(rng, 2, 64)
    taps = int(rng.choice([1, 3, 3, 5]))
    x, kernel = (_log_uniform(rng, 1, 8), size, size, into), (taps, taps, into // groups, out)
    return _layer(kind, x, kernel, groups=groups)


def _image(kind: str, rng: np.random.Generator) -> BenchLayer:
    taps, size = _log_uniform(rng, 2, 41), _log_uniform(rng, 48, 1024)
    return _layer(kind, (_log_uniform(rng, 1, 4), size, size, 1), (taps, taps, 1, 1))


def _signal(kind: str, rng: np.random.Generator) -> BenchLayer:
    length, into = _log_uniform(rng, 128, 32768), _channels(rng, 1, 256)
    options: dict = dict(padding="CAUSAL")
    if kind == "1-D":
        taps = _log_uniform(rng, 2, length)
        kernel, options["groups"] = (taps, 1, into), into
    else:
        kernel = (_log_uniform(rng, 2, 15), into, _channels(rng, 1, 256))
        options["dilation"] = _log_uniform(rng, 1, 32)
    return _layer(kind, (_log_uniform(rng, 1, 8), length, into), kernel, **options)


def _volume(kind: str, rng: np.random.Generator) -> BenchLayer:
    size, taps = _log_uniform(rng, 6, 64), int(rng.choice([2, 3, 3, 5]))
    into = 1 if rng.random() < 0.2 else _channels(rng, 2, 64)
    x = (_log_uniform(rng, 1, 4), size, size, size, into)
    return _layer(kind, x, (taps, taps, taps, into, _channels(rng, 2, 64)))


def _transposed(kind: str, rng: np.random.Generator) -> BenchLayer:
    taps, size = int(rng.choice([2, 3, 4, 4, 5])), _log_uniform(rng, 3, 64)
    into, out = _channels(rng, 8, 256), _channels(rng, 3, 256)
    low = taps // 2
    return _layer(kind, (_log_uniform(rng, 1, 8), size, size, into), (taps, taps, into, out),
                  input_dilation=2, padding=((low, taps - low), (low, taps - low)))  # fmt: skip


def _mapped(kind: str, rng: np.random.Generator) -> BenchLayer:
    size, into, out = _log_uniform(rng, 6, 40), _channels(rng, 2, 64), _channels(rng, 2, 64)
    options = dict(per_example_gradients=True) if kind == "per example" else dict(
        kernels=_log_uniform(rng, 2, 16), inputs_per_kernel=bool(rng.random() < 0.6))  # fmt: skip
    return _layer(kind, (_log_uniform(rng, 2, 8), size, size, into), (3, 3, into, out), **options)


KINDS: dict[str, Callable[[str, np.random.Generator], BenchLayer]] = {
    "dense": _dense,
    "small": _small,
    "depthwise": _depthwise,
    "grouped": _grouped,
    "1x1": _dense,
    "stem": _stem,
    "strided": _dense,
    "large": _depthwise,
    "transposed": _transposed,
    "1-D": _signal,
    "1-D dense": _signal,
    "image": _image,
    "vmap": _mapped,
    "3-D": _volume,
    "dilated": _dense,
    "per example": _mapped,
}
