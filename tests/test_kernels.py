"""Named kernels: the published matrices and the responses to test images."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import jconv
from jconv import kernels

GRADIENTS = [
    kernels.prewitt,
    kernels.sobel,
    kernels.scharr,
    lambda *, angle: kernels.prewitt(5, angle=angle),
    lambda *, angle: kernels.sobel(5, angle=angle),
    lambda *, angle: kernels.sobel(7, angle=angle),
]

PUBLISHED = [
    (kernels.prewitt(), [[-1, 0, 1]] * 3),
    (kernels.prewitt(angle=90.0), [[-1, -1, -1], [0, 0, 0], [1, 1, 1]]),
    (kernels.prewitt(angle=180.0), [[1, 0, -1]] * 3),
    (kernels.prewitt(angle=-90.0), [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]),
    (kernels.prewitt(5), [[-2, -1, 0, 1, 2]] * 5),
    (kernels.sobel(), [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    (kernels.sobel(angle=90.0), [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]),
    (
        kernels.sobel(5),
        [
            [-1, -2, 0, 2, 1],
            [-4, -8, 0, 8, 4],
            [-6, -12, 0, 12, 6],
            [-4, -8, 0, 8, 4],
            [-1, -2, 0, 2, 1],
        ],
    ),
    # OpenCV's getDerivKernels(1, 0, 7).
    (kernels.sobel(7), np.outer([1, 6, 15, 20, 15, 6, 1], [-1, -4, -5, 0, 5, 4, 1])),
    (kernels.scharr(), [[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]),
    (kernels.scharr(angle=90.0), [[-3, -10, -3], [0, 0, 0], [3, 10, 3]]),
    (kernels.laplacian(), [[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    (kernels.laplacian(diagonals=True), [[1, 1, 1], [1, -8, 1], [1, 1, 1]]),
    (kernels.sharpen(), [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    (kernels.sharpen(amount=0.0), [[0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    (kernels.emboss(), [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]),
    (kernels.box(2), [[0.25, 0.25], [0.25, 0.25]]),
]


def response(x, kernel):
    """Return the response of a kernel to an image, without padding."""
    y = jconv.conv(
        jnp.asarray(x, "float32")[None, :, :, None], kernel[..., None, None], padding="VALID"
    )
    return np.asarray(y[0, :, :, 0])


def ramp(angle, size=9):
    """Return an image whose brightness increases by 1 per pixel along `angle`."""
    row, column = np.mgrid[:size, :size] - size // 2
    return math.cos(math.radians(angle)) * column + math.sin(math.radians(angle)) * row


@pytest.mark.parametrize("kernel, published", PUBLISHED)
def test_is_the_published_matrix(kernel, published):
    np.testing.assert_array_equal(kernel, np.asarray(published, "float32"))


@pytest.mark.parametrize("name", kernels.KERNELS)
def test_every_kernel_has_a_default_in_float32(name):
    kernel = kernels.KERNELS[name]()

    assert kernels.KERNELS[name].__name__ == name
    assert isinstance(kernel, jnp.ndarray)
    assert kernel.dtype == jnp.float32
    assert kernel.ndim == 2
    assert np.isfinite(kernel).all()


def test_dict_contains_every_named_kernel():
    named = {
        name
        for name, value in vars(kernels).items()
        if getattr(value, "__module__", "") == "jconv.kernels"
        and not name.startswith("_")
        and name != "factorise"
    }
    assert set(kernels.KERNELS) == named


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 217.0])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradient_kernels_sum_to_zero_and_reverse_with_the_direction(gradient, angle):
    kernel = np.asarray(gradient(angle=angle))

    # float32 keeps 24 bits of the largest entry, which is 100 at most.
    atol = 1e-6 * np.abs(kernel).sum()
    np.testing.assert_allclose(kernel.sum(), 0, atol=atol)
    np.testing.assert_allclose(gradient(angle=angle + 180.0), -kernel, atol=atol)
    np.testing.assert_allclose(kernel[::-1, ::-1], -kernel, atol=atol)
    np.testing.assert_allclose(gradient(angle=90.0 - angle), kernel.T, atol=atol)


# Dark half first: where brightness grows, in degrees clockwise from right.
EDGES = {
    0: np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)),
    90: np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)).T,
    180: np.tile([1, 1, 1, 1, 0, 0, 0, 0], (8, 1)),
    270: np.tile([1, 1, 1, 1, 0, 0, 0, 0], (8, 1)).T,
}


@pytest.mark.parametrize("direction", EDGES)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradient_kernels_detect_the_edge_that_brightens_along_the_angle(gradient, direction):
    edge = EDGES[direction]

    assert response(edge, gradient(angle=float(direction))).max() > 0.9
    assert response(edge, gradient(angle=float(direction))).min() >= 0
    assert response(edge, gradient(angle=direction + 180.0)).min() < -0.9
    assert response(edge, gradient(angle=direction + 180.0)).max() <= 0
    # Across the edge nothing changes. The cosine of 90 degrees is exactly 0.
    np.testing.assert_array_equal(response(edge, gradient(angle=direction + 90.0)), 0)


@pytest.mark.parametrize("angle", [0.0, 30.0, 135.0])
@pytest.mark.parametrize(
    "gradient, slope",
    [
        (kernels.prewitt, 6),
        (lambda *, angle: kernels.prewitt(5, angle=angle), 50),
        (lambda *, angle: kernels.prewitt(7, angle=angle), 7**2 * (7**2 - 1) / 12),
        (kernels.sobel, 8),
        (lambda *, angle: kernels.sobel(5, angle=angle), 128),
        (lambda *, angle: kernels.sobel(7, angle=angle), 2 * 4**5),
        (kernels.scharr, 32),
    ],
)
def test_response_of_gradient_kernels_to_a_ramp_is_the_documented_slope(gradient, slope, angle):
    # float32 rounding of some fifty terms.
    np.testing.assert_allclose(response(ramp(angle), gradient(angle=angle)), slope, rtol=1e-5)


@pytest.mark.parametrize(
    "kernel, laplacian",
    [
        (kernels.laplacian(), 2),
        (kernels.laplacian(diagonals=True), 6),
        (kernels.laplacian(9, sigma=1.0), 2),
        (kernels.laplacian(17, sigma=2.0), 2),
    ],
)
def test_response_of_laplacians_is_curvature_and_zero_for_slopes(kernel, laplacian):
    size = kernel.shape[0]
    row, column = np.mgrid[:size, :size] - size // 2

    # The cut-off tail of the Gaussian loses a quarter of a percent.
    bowl = response((row**2 + column**2) / 2, kernel)
    np.testing.assert_allclose(bowl, laplacian, rtol=2.5e-3)
    np.testing.assert_allclose(response(ramp(20, size), kernel), 0, atol=1e-5)
    np.testing.assert_allclose(kernel.sum(), 0, atol=1e-6)
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
    dark_spot = np.ones((size, size))
    dark_spot[size // 2, size // 2] = 0
    assert response(dark_spot, kernel).item() > 0.01


def test_laplacian_of_gaussian_equals_matlabs():
    # The output of fspecial('log', 5, 0.5), as its manual prints it.
    corner = [
        [0.0448, 0.0468, 0.0564],
        [0.0468, 0.3167, 0.7146],
        [0.0564, 0.7146, -4.9048],
    ]
    kernel = kernels.laplacian(5, sigma=0.5)
    np.testing.assert_allclose(kernel[:3, :3], corner, atol=5e-5)


@pytest.mark.parametrize("size, sigma", [(1, None), (5, None), (7, 1.5), (9, 0.4)])
def test_gaussian_equals_the_normalised_formula(size, sigma):
    kernel = np.asarray(kernels.gaussian(size, sigma=sigma))

    sigma = sigma or 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    bell = [
        [
            math.exp(-((i - size // 2) ** 2 + (j - size // 2) ** 2) / (2 * sigma**2))
            for j in range(size)
        ]
        for i in range(size)
    ]
    # One rounding to float32.
    np.testing.assert_allclose(kernel, bell / np.sum(bell), rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-6)
    assert kernel.argmax() == size**2 // 2


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_response_of_box_is_the_mean(size):
    x = np.arange(size**2).reshape(size, size) ** 2
    np.testing.assert_allclose(response(x, kernels.box(size)), [[x.mean()]], rtol=1e-6)


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0, 3.0])
def test_sharpen_subtracts_the_laplacian(amount, rng):
    x = rng.normal(size=(6, 6))

    expected = x[1:-1, 1:-1] - amount * response(x, kernels.laplacian())
    # float32 rounding of five terms.
    np.testing.assert_allclose(response(x, kernels.sharpen(amount=amount)), expected, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 45.0, 90.0, 200.0])
def test_emboss_brightens_where_brightness_increases_along_the_angle(angle):
    kernel = kernels.emboss(angle=angle)

    x = ramp(angle)
    # On a ramp of 1 the slope of Prewitt is 6; float32 rounding of nine terms.
    np.testing.assert_allclose(response(x, kernel), x[1:-1, 1:-1] + 6 * math.sqrt(2), atol=1e-5)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"angle": 90.0, "phase": -90.0},
        {"wavelength": 4.0, "angle": 30.0, "sigma": 2.0, "aspect": 0.5, "phase": 20.0},
    ],
)
def test_gabor_equals_the_formula(options):
    kernel = kernels.gabor(9, **options)

    wavelength = options.get("wavelength", 5.0)
    sigma = options.get("sigma", 0.56 * wavelength)
    aspect = options.get("aspect", 1.0)
    angle = math.radians(options.get("angle", 0.0))
    phase = math.radians(options.get("phase", 0.0))
    for i in range(9):
        for j in range(9):
            x, y = j - 4, i - 4
            u = x * math.cos(angle) + y * math.sin(angle)
            v = -x * math.sin(angle) + y * math.cos(angle)
            bell = math.exp(-(u * u + aspect * aspect * v * v) / (2 * sigma * sigma))
            wave = math.cos(2 * math.pi * u / wavelength + phase)
            assert kernel[i, j] == pytest.approx(bell * wave, abs=1e-6), (i, j)


def test_response_of_gabor_is_largest_for_its_own_wavelength_and_angle():
    column = np.arange(15) - 7
    stripes = np.tile(np.cos(2 * np.pi * column / 5), (15, 1))

    expected = response(stripes, kernels.gabor()).item()
    assert expected > 10
    # The response to other directions and widths is nearly zero; a dark stripe reverses it.
    assert abs(response(stripes.T, kernels.gabor()).item()) < 0.1 * expected
    assert abs(response(stripes, kernels.gabor(wavelength=2.5)).item()) < 0.1 * expected
    assert response(stripes.T, kernels.gabor(angle=90.0)).item() == pytest.approx(
        expected, rel=1e-5
    )
    assert response(stripes, kernels.gabor(phase=180.0)).item() == pytest.approx(
        -expected, rel=1e-5
    )


@pytest.mark.parametrize("direction", [0, 90, 180, 270])
def test_gabor_at_a_phase_of_minus_90_detects_edges(direction):
    edge = EDGES[direction]
    kernel = kernels.gabor(7, angle=float(direction), phase=-90.0)

    assert np.median(response(edge, kernel)) > 0.5
    np.testing.assert_allclose(kernel.sum(), 0, atol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kernels.prewitt(4), "`size` must be an odd integer from 3.*=4.*allowed is 5"),
        (lambda: kernels.prewitt(1), "`size` must be an odd integer from 3.*=1.*allowed is 3"),
        (lambda: kernels.sobel(33), "`size` must be an odd integer from 3 to 31.*=33.*is 31"),
        (lambda: kernels.sobel(32), "`size` must be an odd integer from 3 to 31.*=32.*is 31"),
        (lambda: kernels.gaussian(0), "`size` must be an odd integer from 1.*size=0"),
        (lambda: kernels.gaussian(-3), "`size` must be an odd integer from 1.*size=-3"),
        (lambda: kernels.box(True), "`size` must be a positive integer.*size=True"),
        (lambda: kernels.box(0), "`size` must be a positive integer.*size=0"),
        (lambda: kernels.gabor(6), "`size` must be an odd integer from 1.*size=6"),
        (lambda: kernels.laplacian(5), r"`size` must be 3 without `sigma`.*=5.*laplacian\(5, s"),
        (lambda: kernels.laplacian(4, sigma=1.0), "`size` must be an odd integer from 3.*size=4"),
        (lambda: kernels.laplacian(sigma=1.0, diagonals=True), "`diagonals` must be False with"),
        (lambda: kernels.laplacian(5, sigma=-1.0), "`sigma` must be greater than 0.*=-1.0"),
        (lambda: kernels.gaussian(sigma=0.0), "`sigma` must be greater than 0.*sigma=0.0.*leave"),
        (lambda: kernels.gaussian(sigma=math.inf), "`sigma` must be a finite number.*sigma=inf"),
        (lambda: kernels.gabor(sigma=0.0), "`sigma` must be greater than 0.*sigma=0.0"),
        (lambda: kernels.gabor(aspect=0.0), "`aspect` must be greater than 0.*aspect=0.0"),
        (lambda: kernels.gabor(phase=math.nan), "`phase` must be a finite number.*phase=nan"),
        (lambda: kernels.gabor(wavelength=1.5), "`wavelength` must be at least 2.*=1.5.*Enlarge"),
        (lambda: kernels.sharpen(amount=-1.0), r"`amount` must be 0 or more.*=-1.0.*gaussian\(\)"),
        (lambda: kernels.scharr(angle=math.nan), "`angle` must be a finite number.*angle=nan"),
        (lambda: kernels.emboss(angle=math.inf), "`angle` must be a finite number.*angle=inf"),
    ],
)
def test_error_says_what_is_allowed(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: kernels.box(3.0), "size"),
        (lambda: kernels.sobel(angle=True), "angle"),
        (lambda: kernels.gaussian(sigma="1"), "sigma"),
    ],
)
def test_argument_of_the_wrong_type_raises(make, name):
    # A type checker raises first where it checks every call.
    with pytest.raises((ValueError, TypeCheckError), match=name):
        make()
