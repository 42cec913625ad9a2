"""Random layers, of the kinds and sizes that people use: what a cost model is fitted to, and
tried on."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from jconv._core.problem import Problem
from jconv.bench.layers import Layer
from jconv.bench.suite import multiply_adds
from jconv.profiling.race import problems_of

FEWEST, MOST = 2e5, 6e8  # multiply-adds of one forward pass
MOST_NUMBERS = 3e7  # in the input, and in the output of all kernels


def random_layers(seed: int) -> Iterator[Layer]:
    """Draws layers without end, of every kind in turn; the same for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        for kind, draw in KINDS.items():
            yield _within_reason(kind, draw, rng)


def random_problems(minutes: float, seed: int) -> Iterator[Problem]:
    """Problems of random layers and of their gradients, for so long as `minutes` lasts."""
    end = time.monotonic() + 60 * minutes
    for layer in random_layers(seed):
        for problem in problems_of(layer):
            if time.monotonic() > end:
                return
            yield problem
        jax.clear_caches()


def draw_problems(count: int) -> Iterator[Problem]:
    """A convolution, forward or of a gradient, of so many random layers; others each time."""
    rng = np.random.default_rng()
    layers = random_layers(int(rng.integers(2**32)))
    for layer in itertools.islice(layers, count):
        problems = problems_of(layer)
        yield problems[rng.integers(len(problems))]


def _within_reason(kind: str, draw: Callable[..., Layer], rng: np.random.Generator) -> Layer:
    """A layer that is neither too small to time nor too large to wait for."""
    while True:
        layer = draw(kind, rng)
        if FEWEST <= multiply_adds(layer) <= MOST and math.prod(layer.x) <= MOST_NUMBERS:
            return layer


def _between(rng: np.random.Generator, low: int, high: int) -> int:
    """A whole number whose logarithm is uniform."""
    return round(math.exp(rng.uniform(math.log(low), math.log(high))))


def _layer(kind: str, x, kernel, **options) -> Layer:
    words = [f"{name} {value}" for name, value in options.items() if name != "padding"]
    name = ", ".join([f"{kind} {x} * {kernel}".replace(" (", " ("), *words])
    return Layer(name, kind, tuple(map(int, x)), tuple(map(int, kernel)), **options)


def _channels(rng: np.random.Generator, low: int = 4, high: int = 512) -> int:
    """Mostly multiples of 8, as in published networks."""
    n = _between(rng, low, high)
    return n if n < 8 or rng.random() < 0.2 else 8 * max(1, round(n / 8))


def _dense(kind: str, rng: np.random.Generator) -> Layer:
    taps = (1, 1) if kind == "1x1" else [(3, 3), (3, 3), (2, 2), (5, 5), (1, 7), (7, 7)][
        rng.integers(6)]  # fmt: skip
    size, options = _between(rng, 4, 112), {}
    if kind == "strided":
        options = dict(stride=int(rng.choice([2, 2, 3])))
    if kind == "dilated":
        options = dict(dilation=_between(rng, 2, 6))
    into, out = _channels(rng), _channels(rng)
    return _layer(kind, (_between(rng, 1, 16), size, size, into), (*taps, into, out), **options)


def _small(kind: str, rng: np.random.Generator) -> Layer:
    """A batch to learn from, of one network or of several, its images as after some poolings."""
    taps, size = [1, 3, 5, 5, 7][rng.integers(5)], _between(rng, 2, 16)
    into, out = _channels(rng, 1, 192), _channels(rng, 4, 192)
    networks = dict(kernels=_between(rng, 2, 8), own_inputs=True) if rng.random() < 0.3 else {}
    x = (_between(rng, 16, 256), size, size, into)
    return _layer(kind, x, (taps, taps, into, out), **networks)


def _stem(kind: str, rng: np.random.Generator) -> Layer:
    taps, into, size = int(rng.integers(2, 9)), int(rng.integers(1, 5)), _between(rng, 16, 256)
    stride = int(rng.choice([1, 2, min(4, taps)]))
    x, kernel = (_between(rng, 1, 8), size, size, into), (taps, taps, into, _channels(rng, 4, 128))
    return _layer(kind, x, kernel, stride=stride)


def _depthwise(kind: str, rng: np.random.Generator) -> Layer:
    large = kind == "large"
    taps = _between(rng, 9, 41) if large else int(rng.choice([2, 3, 3, 4, 5, 7, 9]))
    size, channels = _between(rng, max(4, taps // 2), 128), _channels(rng, 4, 768)
    options = {} if large or rng.random() < 0.7 else dict(stride=2)
    if not large and rng.random() < 0.15:
        options = dict(dilation=2)
    many = 1 if rng.random() < 0.85 else int(rng.integers(2, 5))
    x, kernel = (_between(rng, 1, 16), size, size, channels), (taps, taps, 1, many * channels)
    return _layer(kind, x, kernel, groups=channels, **options)


def _grouped(kind: str, rng: np.random.Generator) -> Layer:
    groups, size = int(rng.choice([2, 3, 4, 8, 16, 32])), _between(rng, 4, 64)
    into, out = groups * _between(rng, 2, 64), groups * _between(rng, 2, 64)
    taps = int(rng.choice([1, 3, 3, 5]))
    x, kernel = (_between(rng, 1, 8), size, size, into), (taps, taps, into // groups, out)
    return _layer(kind, x, kernel, groups=groups)


def _image(kind: str, rng: np.random.Generator) -> Layer:
    taps, size = _between(rng, 2, 41), _between(rng, 48, 1024)
    return _layer(kind, (_between(rng, 1, 4), size, size, 1), (taps, taps, 1, 1))


def _signal(kind: str, rng: np.random.Generator) -> Layer:
    length, into = _between(rng, 128, 32768), _channels(rng, 1, 256)
    options: dict = dict(padding="CAUSAL")
    if kind == "1-D":
        taps = _between(rng, 2, length)
        kernel, options["groups"] = (taps, 1, into), into
    else:
        kernel = (_between(rng, 2, 15), into, _channels(rng, 1, 256))
        options["dilation"] = _between(rng, 1, 32)
    return _layer(kind, (_between(rng, 1, 8), length, into), kernel, **options)


def _volume(kind: str, rng: np.random.Generator) -> Layer:
    size, taps = _between(rng, 6, 64), int(rng.choice([2, 3, 3, 5]))
    into = 1 if rng.random() < 0.2 else _channels(rng, 2, 64)
    x = (_between(rng, 1, 4), size, size, size, into)
    return _layer(kind, x, (taps, taps, taps, into, _channels(rng, 2, 64)))


def _transposed(kind: str, rng: np.random.Generator) -> Layer:
    taps, size = int(rng.choice([2, 3, 4, 4, 5])), _between(rng, 3, 64)
    into, out = _channels(rng, 8, 256), _channels(rng, 3, 256)
    low = taps // 2
    return _layer(kind, (_between(rng, 1, 8), size, size, into), (taps, taps, into, out),
                  input_dilation=2, padding=((low, taps - low), (low, taps - low)))  # fmt: skip


def _mapped(kind: str, rng: np.random.Generator) -> Layer:
    size, into, out = _between(rng, 6, 40), _channels(rng, 2, 64), _channels(rng, 2, 64)
    options = dict(examples=True) if kind == "per example" else dict(
        kernels=_between(rng, 2, 16), own_inputs=bool(rng.random() < 0.6))  # fmt: skip
    return _layer(kind, (_between(rng, 2, 8), size, size, into), (3, 3, into, out), **options)


KINDS: dict[str, Callable[[str, np.random.Generator], Layer]] = {
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
