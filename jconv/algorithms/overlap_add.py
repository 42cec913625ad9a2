"""Overlap-add: FFTs of pieces, for inputs much larger than the kernel, or the reverse.

A whole image's spectrum needs memory and the logarithm of its size; pieces a few times the kernel
need neither. It runs in the form that saves overlapping inputs rather than adds overlapping
outputs, which is the other's adjoint and writes every output once.

Wins on long signals and on large images with kernels of middling size, and wherever the workspace
must stay small. Loses to `fft` where the kernel is nearly as large as the input.

References: Stockham, "High-Speed Convolution and Correlation" (1966); for the choice of the
length, Oppenheim & Schafer, "Discrete-Time Signal Processing" (2010), section 8.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jconv._core.problem import Problem
from jconv._core.validation import check_int
from jconv.algorithms.fft import FFT, fast_length
from jconv.algorithms.tiling import Tiling, cut


@dataclass(frozen=True)
class OverlapAdd(FFT):
    """One transform for each piece.

    Args:
      length: points of one transform along every axis; None for those that cost least, along each
        axis, in operations for each output.
      block: bytes of pieces and spectra worked on at a time; one piece is the least.

    Raises:
      ValueError: for a length or block that is not a positive int.
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
        return tuple(map(self._cut, window.output, window.taps))

    def _cut(self, output: int, taps: int) -> Tiling:
        kept = min(output, taps)  # the shorter stays whole
        longer = max(output, taps)
        points = self._points(kept, longer)
        each = points - kept + 1
        if taps <= output:
            return cut(output, taps, each, taps, points)
        return cut(output, taps, output, each, points)

    def _points(self, kept: int, longer: int) -> int:
        whole = fast_length(kept + longer - 1)
        if self.length is not None:
            return min(whole, fast_length(max(self.length, kept)))
        lengths = {fast_length(kept * 2**i) for i in range(1, 12)}
        return min(
            [whole, *(n for n in lengths if n < whole)],
            key=lambda n: n * math.log2(max(n, 2)) * -(-longer // (n - kept + 1)),
        )
