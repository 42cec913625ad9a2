"""The worked 4x4 example and the definitions of correlation and convolution."""

import numpy as np
import pytest

import jconv

X = np.arange(1.0, 17.0).reshape(4, 4)
EDGE = np.array([[-1.0, 0.0, 1.0]] * 3)


def correlate(image, kernel, **options):
    """Correlate one grey image with one kernel, without padding."""
    y = jconv.conv(image[None, :, :, None], kernel[:, :, None, None], padding="VALID", **options)
    return np.asarray(y[0, :, :, 0])


def test_prewitt_kernel_on_the_4x4_ramp():
    np.testing.assert_array_equal(correlate(X, EDGE), [[6, 6], [6, 6]])


def test_walkthrough_shows_the_sum_of_the_first_output():
    walk = jconv.walkthrough(X, EDGE)
    np.testing.assert_array_equal(walk.output, correlate(X, EDGE))
    assert "-1 + 3 - 5 + 7 - 9 + 11 = 6" in str(walk)


def test_flip_gives_true_convolution():
    np.testing.assert_array_equal(correlate(X, EDGE, flip=True), [[-6, -6], [-6, -6]])
    np.testing.assert_array_equal(jconv.walkthrough(X, EDGE, flip=True).output, [[-6, -6]] * 2)


@pytest.mark.parametrize("flip", [False, True])
def test_correlation_and_convolution_match_their_sums(flip, rng):
    """Correlation sums f[i+m, j+n] k[m, n]; convolution sums f[i-m, j-n] k[m, n]."""
    f, k = rng.normal(size=(6, 6)), rng.normal(size=(3, 3))
    y = correlate(f, k, flip=flip)
    for i, j in np.ndindex(4, 4):
        if flip:
            # Convolution indices count down from the window's last pixel.
            value = sum(f[i + 2 - m, j + 2 - n] * k[m, n] for m in range(3) for n in range(3))
        else:
            value = sum(f[i + m, j + n] * k[m, n] for m in range(3) for n in range(3))
        assert y[i, j] == pytest.approx(value, rel=1e-4, abs=1e-5)


def test_prewitt_responds_to_vertical_edges_only():
    image = np.zeros((9, 9))
    image[:, 5:] = 1.0  # dark on the left, bright on the right
    response = correlate(image, np.asarray(jconv.kernels.prewitt()))
    assert (response[:, 3:5] == 3).all()  # the two windows that span the edge
    assert (np.delete(response, [3, 4], axis=1) == 0).all()
    assert (correlate(image.T, np.asarray(jconv.kernels.prewitt())) == 0).all()
