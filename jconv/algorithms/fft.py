"""FFT convolution: multiply spectra instead of sliding a window.

The cost hardly depends on the size of the kernel. FFT convolution wins on large kernels (40 times
as fast as `lax` at 31x31) and loses on small ones such as 3x3. Rounding errors are relative to the
largest output, so small outputs are the least accurate.

References: Cooley & Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series"
(1965); Mathieu, Henaff & LeCun, "Fast Training of Convolutional Networks through FFTs" (2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from scipy.fft import next_fast_len

from jconv._core.problem import Problem, issubdtype
from jconv._core.validation import check_int
from jconv.algorithms.base import relative_error_bound, summation_error
from jconv.algorithms.polyphase import dense_problem
from jconv.algorithms.tiling import TiledAlgorithm, Tiling, make_tiling


@dataclass(frozen=True)
class FFT(TiledAlgorithm):
    """FFT convolution with one transform of the whole image.

    Args:
      block: the largest number of bytes of images and spectra that are computed at a time; one
        image is the minimum.

    Raises:
      ValueError: if `block` is not a positive int.
    """

    block: int = 256 * 2**20

    def __post_init__(self):
        object.__setattr__(self, "block", check_int("block", self.block, min=1))

    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        window = problem.window
        return tuple(
            make_tiling(output, taps, output, taps, points=fast_length(output + taps - 1))
            for output, taps in zip(window.output, window.taps, strict=True)
        )

    def supports_dense(self, problem: Problem) -> str | None:
        if not issubdtype(problem.dtype, jnp.inexact):
            return f"its roots of unity are not exact in {problem.dtype}"
        return None

    def transform_input(self, x, tilings):
        # (b, *pixels, g, tiles, k) -> (b, g, tiles, k, *frequencies)
        return _spectrum(_pixels_last(x, len(tilings)), tilings)

    def transform_kernel(self, kernel, tilings):
        # The conjugate reverses the kernel: correlation, not convolution.
        kernel = _pixels_last(kernel, len(tilings))
        return _spectrum(kernel.conj(), tilings).conj()

    def multiply(self, x_hat, kernel_hat, precision):
        if kernel_hat.shape[2] == 1 or kernel_hat.shape[3] == 1:
            # An elementwise product; matrices would have a single row or column.
            products = x_hat[:, :, :, :, None] * kernel_hat[:, :, None]
            return products.sum(3)
        return jnp.einsum("bgnk...,bgkf...->bgnf...", x_hat, kernel_hat, precision=precision)

    def inverse_transform(self, y_hat, tilings, dtype):
        rank = len(tilings)
        y = _inverse_spectrum(y_hat, tilings, real=jnp.issubdtype(dtype, jnp.floating))
        for axis, tiling in enumerate(tilings, start=4):
            y = y[(slice(None),) * axis + (slice(tiling.outputs),)]
        return jnp.moveaxis(y, range(4, 4 + rank), range(1, 1 + rank))

    def transform_flops(self, problem: Problem, tilings, positions: int) -> int:
        # n real numbers take 2.5 n log2(n): half of what is usually counted for complex ones.
        points = math.prod(t.points for t in tilings)
        parts = math.prod(t.parts for t in tilings)
        x, y = positions * parts * problem.inputs, positions * problem.outputs
        kernel = problem.pairs * parts * problem.inputs * problem.outputs
        return int(2.5 * points * math.log2(max(2, points)) * (x + y + kernel) * problem.groups)

    def flops_per_product(self) -> int:
        return 4  # A complex multiply-add is 8 operations on two real numbers each.

    def transform_size(self, tilings) -> int:
        *others, last = (t.points for t in tilings)
        return math.prod(others) * 2 * (last // 2 + 1)

    def error_bound(self, problem: Problem) -> float:
        """Return the bound of `Algorithm.error_bound`.

        A transform of `n` points has an error of `0.6 sqrt(log2 n)` roundings, relative to the root
        mean square of its result. There are three transforms.

        Reference: Schatzman, "Accuracy of the Discrete Fourier Transform and the Fast Fourier
        Transform" (1996); the worst case, `7 log2 n`, is Higham's theorem 24.2 (2002).
        """
        dense = dense_problem(problem)
        tilings = self.tilings(dense)
        points = math.prod(t.points for t in tilings)
        transforms = 4 * 0.6 * math.sqrt(3 * math.log2(max(2, points)))
        terms = dense.inputs * math.prod(t.parts for t in tilings)
        return relative_error_bound(problem, transforms + summation_error(terms, dense.outputs))


def fast_length(min_length: int) -> int:
    """Return the smallest length of at least `min_length` for which the FFT is fast."""
    return int(next_fast_len(min_length, real=True) or min_length)


def _pixels_last(x, rank: int):
    return jnp.moveaxis(x, range(1, 1 + rank), range(-rank, 0))


def _spectrum(x, tilings):
    """Return the transform over the last axes, zero-padded to the points of the tilings.

    A real `x` gives half a spectrum, as with `rfftn`.
    """
    points, last = [t.points for t in tilings], _jointly_transformed_axes(len(tilings))
    transform = jnp.fft.fftn if jnp.iscomplexobj(x) else jnp.fft.rfftn
    x_hat = transform(x, points[-len(last) :], last)
    for axis, n in zip(range(-len(tilings), last[0]), points, strict=False):
        x_hat = jnp.fft.fft(x_hat, n, axis)
    return x_hat


def _inverse_spectrum(y_hat, tilings, real: bool):
    points, last = [t.points for t in tilings], _jointly_transformed_axes(len(tilings))
    for axis, n in zip(range(-len(tilings), last[0]), points, strict=False):
        y_hat = jnp.fft.ifft(y_hat, n, axis)
    return (jnp.fft.irfftn if real else jnp.fft.ifftn)(y_hat, points[-len(last) :], last)


def _jointly_transformed_axes(rank: int) -> range:
    """Return the last axes that XLA transforms in one operation, three at most."""
    return range(-min(rank, 3), 0)
