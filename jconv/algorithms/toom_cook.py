"""Toom-Cook matrices: `m` outputs of an `r`-tap filter from `m + r - 1` products.

A product of polynomials is determined by its values at as many points as it has coefficients. With
the points `p_i` and infinity, the values are `G k` and `A y`, and interpolation is `B`. Transposing
the linear map `y -> k y` turns the product into a correlation:

    A^T [(G k) * (B^T x)],    x of m + r - 1 pixels, k of r taps.

The matrices are computed exactly, in fractions. In floating point, the choice of the points
determines how much rounding errors grow. Small points, together with their opposites and
reciprocals, keep the errors small.

References: Winograd, "Arithmetic Complexity of Computations" (1980); Lavin & Gray, "Fast
Algorithms for Convolutional Neural Networks" (2016); for the points, Barabasz, Anderson,
Soodhalter & Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep
Neural Networks" (2020).
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

# Each point is the one of 20 simple fractions that, added to the points before it, raises
# `amplification` least.
POINTS = tuple(map(Fraction, ("0", "1", "-1", "1/2", "-2", "2", "-1/2", "3/4", "-4/3", "-3/4",
                              "4/3")))  # fmt: skip

Matrix = list[list[Fraction]]


@functools.cache
def matrices(outputs: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `A^T (m, m+r-1)`, `G (m+r-1, r)` and `B^T (m+r-1, m+r-1)`, rounded to float64.

    Raises:
      ValueError: if the matrices need more points than `POINTS` has.
    """
    a, g, b = (np.array(m, dtype=np.float64) for m in exact_matrices(outputs, taps))
    return a, g, b


def exact_matrices(outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the matrices of `matrices` in fractions.

    Raises:
      ValueError: if the matrices need more points than `POINTS` has.
    """
    count = outputs + taps - 2  # The last point is infinity.
    if count > len(POINTS):
        raise ValueError(
            f"`outputs + taps` must be at most {len(POINTS) + 2}. Received: {outputs} + {taps}."
        )
    points = POINTS[:count]
    a = [_powers(p, outputs) for p in points] + [_value_at_infinity(outputs)]
    g, b = [], []
    for i, p in enumerate(points):
        others = points[:i] + points[i + 1 :]
        scale = math.prod((p - q for q in others), start=Fraction(1))
        g.append([value / scale for value in _powers(p, taps)])
        b.append([*_polynomial_with_roots(others), Fraction(0)])
    g.append(_value_at_infinity(taps))
    b.append(_polynomial_with_roots(points))
    return [list(column) for column in zip(*a, strict=True)], g, b


def _powers(p: Fraction, count: int) -> list[Fraction]:
    return [p**i for i in range(count)]


def _value_at_infinity(count: int) -> list[Fraction]:
    """Return the row that takes a polynomial to its value at infinity, its last coefficient."""
    return [Fraction(0)] * (count - 1) + [Fraction(1)]


def _polynomial_with_roots(roots) -> list[Fraction]:
    """Return the coefficients of the product of all `z - root`, the constant first."""
    poly = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *poly]
        poly = [high - root * low for high, low in zip(shifted, [*poly, Fraction(0)], strict=True)]
    return poly


@functools.cache
def amplification(outputs: int, taps: int) -> float:
    """Return the growth of independent relative errors of the transformed pixels in an output.

    It is the largest 2-norm, over outputs `j` and taps `t`, of all `A_ji G_it B_ik`, where `i`
    goes through the points and `k` through the pixels. Single taps suffice, since every kernel is
    a linear combination of them. A direct sum has an amplification of 1.
    """
    a, g, b = matrices(outputs, taps)
    pixels = (b**2).sum(1)
    return max(math.sqrt(((a[j] * g[:, t]) ** 2) @ pixels)
               for j in range(outputs) for t in range(taps))  # fmt: skip
