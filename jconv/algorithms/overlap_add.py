"""Overlap-add: FFTs of pieces of the input or of the kernel.

The spectrum of a whole image needs memory, and its cost grows with the logarithm of the image's
size. Pieces that are a few times as long as the kernel avoid both. The implementation is the
overlap-save form, which lets the inputs overlap and writes every output once. Overlap-add, which
adds overlapping outputs, is its adjoint.

Overlap-add wins on long signals, on large images with kernels of medium size, and wherever the
workspace must stay small. It loses to `fft` if the kernel is nearly as large as the input.

References: Stockham, "High-Speed Convolution and Correlation" (1966); for the choice of the
length, Oppenheim & Schafer, "Discrete-Time Signal Processing" (2010), section 8.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jconv._core.problem import Problem
from jconv._core.validation import check_int
from jconv.algorithms.fft import FFT, fast_length
from jconv.algorithms.tiling import Tiling, make_tiling


@dataclass(frozen=True)
class OverlapAdd(FFT):
    """FFT convolution with one transform for each piece.

    Args:
      length: points of one transform along every axis. None selects, for each axis, the length
        with the fewest operations per output.
      block: the largest number of bytes of pieces and spectra that are computed at a time; one
        piece is the minimum.

    Raises:
      ValueError: if `length` or `block` is not a positive int.
    """

    length: int | None = None
    block: int = 16 * 2**20

    def __post_init__(self):
        super().__post_init__()
        if self.length is not None:
            length = check_int("length", self.length, min=1, hint=", or None")
            object.__setattr__(self, "length", length)

    def tilings(self, problem: Problem) -> tuple[Tiling, ...]:
        window = problem.window
        return tuple(map(self._tiling, window.output, window.taps))

    def _tiling(self, output: int, taps: int) -> Tiling:
        shorter, longer = sorted((output, taps))  # Only the longer one is cut.
        points = self._points(shorter, longer)
        piece = points - shorter + 1
        if taps <= output:
            return make_tiling(output, taps, piece, taps, points)
        return make_tiling(output, taps, output, piece, points)

    def _points(self, shorter: int, longer: int) -> int:
        whole = fast_length(shorter + longer - 1)
        if self.length is not None:
            return min(whole, fast_length(max(self.length, shorter)))
        lengths = {fast_length(shorter * 2**i) for i in range(1, 12)}
        return min(
            [whole, *(n for n in lengths if n < whole)],
            key=lambda n: n * math.log2(max(n, 2)) * -(-longer // (n - shorter + 1)),
        )
