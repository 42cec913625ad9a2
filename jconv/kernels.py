"""Named kernels: what each one detects.

A kernel written by hand states what it looks for, which a learned one does not:
these are the yardsticks for reading learned kernels, and good first layers where
there is too little data to learn one. They lose to learned kernels wherever
there is enough.

Every function returns a float32 array of shape (rows, columns), meant for
cross-correlation, as `jconv.conv` computes it: the kernel is laid on the image as
printed and is not turned by 180 degrees. Entries are computed in float64 and
rounded once.

Angles are in degrees and name the direction in which brightness grows: 0 is to the
right, along the columns, and 90 is downwards, along the rows. Rows are numbered
downwards, so on the screen angles turn clockwise.

    >>> from jconv import kernels
    >>> print(kernels.prewitt())
    [[-1.  0.  1.]
     [-1.  0.  1.]
     [-1.  0.  1.]]
    >>> print(kernels.prewitt(angle=90.0))
    [[-1. -1. -1.]
     [ 0.  0.  0.]
     [ 1.  1.  1.]]
"""

import math
from collections.abc import Callable
from numbers import Integral, Real

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def prewitt(size: int = 3, *, angle: float = 0.0) -> Float[Array, "rows columns"]:
    """Detects edges: how fast brightness grows along `angle`.

    `angle=0` is `[[-1, 0, 1]] * 3`. It answers positively to a vertical edge that is
    dark on the left and bright on the right, negatively to the reverse, and not at all
    to a horizontal edge; `angle=90` answers positively to a horizontal edge that is
    dark above and bright below. Between the two the kernel is steered,
    `cos(angle) * prewitt(angle=0) + sin(angle) * prewitt(angle=90)`.

    Larger sizes weigh each column by its distance from the centre, which fits a plane to
    the pixels by least squares: less noise, blurrier edges. The sum is 0. The kernel is
    not scaled: brightness that grows by 1 a pixel along `angle` gives
    `size**2 * (size**2 - 1) / 12`, so 6 at size 3 and 50 at size 5.

    Args:
      size: rows and columns, in pixels; odd and at least 3.
      angle: the direction in which brightness grows, in degrees, clockwise from right.

    Raises:
      ValueError: if `size` is not an odd integer from 3, or `angle` is not finite.

    Reference: Prewitt, "Object Enhancement and Extraction" (1970). For the fitted plane,
    Haralick, "Digital Step Edges from Zero Crossing of Second Directional Derivatives"
    (1984). For steering, Freeman & Adelson, "The Design and Use of Steerable Filters"
    (1991).
    """
    size = _odd_size(size, smallest=3)
    return _steer(_offsets(size), np.ones(size), angle)


def sobel(size: int = 3, *, angle: float = 0.0) -> Float[Array, "rows columns"]:
    """Detects edges like `prewitt`, but trusts the pixels near the centre more.

    `angle=0` is `[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]` and answers positively to a
    vertical edge, bright on the right; `angle=90` answers positively to a horizontal
    edge, bright below. Between the two the kernel is steered, as `prewitt` is.

    Larger sizes smooth by a binomial, (1 4 6 4 1) at size 5, and differentiate by the
    binomial of two sizes less convolved with (-1 0 1), (-1 -2 0 2 1) at size 5. The sum
    is 0. The kernel is not scaled, and its entries grow about as `4**size`: brightness
    that grows by 1 a pixel along `angle` gives `2 * 4**(size - 2)`, 8 at size 3 and 128
    at size 5.

    Args:
      size: rows and columns, in pixels; odd, from 3 to 31.
      angle: the direction in which brightness grows, in degrees, clockwise from right.

    Raises:
      ValueError: if `size` is not an odd integer from 3 to 31, or `angle` is not finite.

    Reference: Sobel & Feldman, "A 3x3 Isotropic Gradient Operator for Image Processing"
    (1968). For larger sizes, Danielsson & Seger, "Generalized and Separable Sobel
    Operators" (1990), and OpenCV's `getDerivKernels`, whose limit of 31 is kept.
    """
    size = _odd_size(size, smallest=3, largest=31)
    slope = np.convolve(_binomial(size - 2), [-1.0, 0.0, 1.0])
    return _steer(slope, _binomial(size), angle)


def scharr(*, angle: float = 0.0) -> Float[Array, "rows columns"]:
    """Detects edges like `sobel`, and tells their direction more truly.

    `angle=0` is `[[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]` and answers positively to a
    vertical edge, bright on the right; `angle=90` answers positively to a horizontal
    edge, bright below. The weights 3, 10, 3 were chosen so that the direction computed
    from the two answers depends as little as possible on how the edge lies on the pixels.

    Always 3x3. The sum is 0. The kernel is not scaled: brightness that grows by 1 a
    pixel along `angle` gives 32.

    Args:
      angle: the direction in which brightness grows, in degrees, clockwise from right.

    Raises:
      ValueError: if `angle` is not finite.

    Reference: Scharr, "Optimale Operatoren in der Digitalen Bildverarbeitung" (2000).
    """
    return _steer(np.array([-1.0, 0.0, 1.0]), np.array([3.0, 10.0, 3.0]), angle)


def laplacian(
    size: int = 3, *, diagonals: bool = False, sigma: float | None = None
) -> Float[Array, "rows columns"]:
    """Detects spots and fine detail: how far a pixel differs from all around it.

    A pixel darker than its surroundings gives a positive answer, a brighter one a
    negative answer, and a plain slope none. At an edge the answer changes sign.

    Without `sigma` the kernel is 3x3 and compares the centre with its four neighbours,
    `[[0, 1, 0], [1, -4, 1], [0, 1, 0]]`, or with `diagonals` all eight, with -8 in the
    middle. It doubles as a detector of noise; with `sigma` the image is blurred first,
    in the same kernel: the Laplacian of a Gaussian, of any odd size. That is sampled at
    the pixels, and its mean is taken away, so that a flat image gives 0.

    The sum is 0. On `(column**2 + row**2) / 2`, whose Laplacian is 2, four neighbours
    answer 2, eight neighbours 6, and a Laplacian of Gaussian nearly 2 where `sigma` is at
    least 1 and `size` some eight `sigma`.

    Args:
      size: rows and columns, in pixels; 3, or with `sigma` odd and at least 3.
      diagonals: compares with the diagonal neighbours too; only without `sigma`.
      sigma: the standard deviation of the blur, in pixels.

    Raises:
      ValueError: if `size` is larger than 3 without `sigma`, even or too small, if
        `sigma` is not positive, or if `diagonals` and `sigma` come together.

    Reference: Rosenfeld & Kak, "Digital Picture Processing" (1976). With `sigma`, Marr &
    Hildreth, "Theory of Edge Detection" (1980), scaled as MATLAB's `fspecial('log')`.
    """
    size = _odd_size(size, smallest=3)
    if sigma is None:
        if size != 3:
            raise ValueError(
                "`size` must be 3 without `sigma`: the difference between a pixel and its "
                f"neighbours has no larger standard form. Received: size={size!r}. For a "
                f"larger Laplacian blur first, as in laplacian({size}, sigma={size / 8:g})."
            )
        return _to_jax(_neighbours_less_centre(corner=1.0 if diagonals else 0.0))
    if diagonals:
        raise ValueError(
            "`diagonals` must be False with `sigma`: a blurred Laplacian weighs all directions "
            f"alike already. Received: diagonals={diagonals!r}, sigma={sigma!r}. Leave out one."
        )
    sigma = _positive("sigma", sigma)
    squares = _offsets(size) ** 2
    kernel = _blur(size, sigma) * (squares + squares[:, None] - 2 * sigma**2) / sigma**4
    return _to_jax(kernel - kernel.mean())


def gaussian(size: int = 5, *, sigma: float | None = None) -> Float[Array, "rows columns"]:
    """Blurs smoothly: a mean that counts near pixels more, alike in all directions.

    Separable, symmetric, all entries positive, largest in the middle. The sum is 1, so a
    flat image stays as it is. The Gaussian is sampled at the pixels and cut off at the
    border; a `size` of six `sigma` keeps 99% of it in each direction.

    Args:
      size: rows and columns, in pixels; odd.
      sigma: the standard deviation, in pixels. None takes OpenCV's choice for the size,
        `0.3 * ((size - 1) / 2 - 1) + 0.8`, which is 1.1 at size 5.

    Raises:
      ValueError: if `size` is not a positive odd integer, or `sigma` is not positive.

    Reference: Marr & Hildreth, "Theory of Edge Detection" (1980); OpenCV's
    `getGaussianKernel`.
    """
    size = _odd_size(size)
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8 if sigma is None else _positive("sigma", sigma)
    return _to_jax(_blur(size, sigma))


def box(size: int = 3) -> Float[Array, "rows columns"]:
    """Blurs bluntly: the plain mean of a square of pixels.

    Every entry is `1 / size**2`; the sum is 1. Faster than `gaussian` and rougher: fine
    stripes come through, some with dark and bright exchanged.

    Args:
      size: rows and columns, in pixels; even sizes too, centred between pixels.

    Raises:
      ValueError: if `size` is not a positive integer.

    Reference: McDonnell, "Box-Filtering Techniques" (1981).
    """
    size = _whole_size(size, "a positive integer")
    return _to_jax(np.full((size, size), 1 / size**2))


def sharpen(*, amount: float = 1.0) -> Float[Array, "rows columns"]:
    """Sharpens: keeps the image and overstates each pixel's difference from its neighbours.

    The image less `amount` times its `laplacian()`. `amount=1` is
    `[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]`; `amount=0` changes nothing. Noise is
    overstated as well as detail. Always 3x3. The sum is 1, so flat parts keep their
    brightness.

    Args:
      amount: how much to overstate; 0 or more.

    Raises:
      ValueError: if `amount` is negative or not finite.

    Reference: Rosenfeld & Kak, "Digital Picture Processing" (1976).
    """
    amount = _finite("amount", amount)
    if amount < 0:
        raise ValueError(
            f"`amount` must be 0 or more. Received: amount={amount!r}. To blur, use "
            "jconv.kernels.gaussian() or jconv.kernels.box()."
        )
    return _to_jax(_identity() - amount * _neighbours_less_centre(corner=0.0))


def emboss(*, angle: float = 45.0) -> Float[Array, "rows columns"]:
    """Embosses: shows brightness as height, lit from one side.

    The image plus its slope along `angle`: what brightens along `angle` comes out
    lighter, what darkens comes out darker, as on a relief under a light that shines in
    that direction. At 45 degrees, where the light comes from the upper left, the kernel is
    `[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]`; other angles steer its slope,
    `sqrt(2) * prewitt(angle=angle)`.

    Always 3x3. The sum is 1, so flat parts keep their brightness.

    Args:
      angle: the direction in which the light shines, in degrees, clockwise from right.

    Raises:
      ValueError: if `angle` is not finite.

    Reference: the GIMP manual, "Convolution Matrix".
    """
    cos, sin = _direction(angle)
    across = np.array([[-1.0, 0.0, 1.0]] * 3)
    return _to_jax(_identity() + math.sqrt(2) * (cos * across + sin * across.T))


def gabor(
    size: int = 15,
    *,
    wavelength: float = 5.0,
    angle: float = 0.0,
    sigma: float | None = None,
    aspect: float = 1.0,
    phase: float = 0.0,
) -> Float[Array, "rows columns"]:
    """Detects stripes of one width and one direction, in one place.

    A wave under a Gaussian, `exp(-(u**2 + aspect**2 * v**2) / (2 * sigma**2)) *
    cos(2 * pi * u / wavelength + phase)`, where
    `u = column * cos(angle) + row * sin(angle)` runs across the stripes,
    `v = row * cos(angle) - column * sin(angle)` along them, and both are 0 in the middle.
    So `angle=0` detects vertical stripes and `angle=90` horizontal ones. `phase=0` looks
    for a bright stripe in the middle, 180 for a dark one, and -90 for an edge that
    brightens along `angle`.

    The wave's own height is 1, and nothing is scaled: at `phase=0` the middle entry is 1.
    The sum is 0 at phases of 90 and -90; at others it is small where
    `sigma` is not less than half a wavelength, but not 0, and a flat image gives an answer.

    Args:
      size: rows and columns, in pixels; odd. Five `sigma` holds nearly all of a round one.
      wavelength: from stripe to stripe, in pixels; at least 2, as shorter waves cannot
        be told from longer ones on pixels.
      angle: across the stripes, in degrees, clockwise from right.
      sigma: the standard deviation across the stripes, in pixels. None takes
        `0.56 * wavelength`, a bandwidth of one octave.
      aspect: how round the Gaussian is: 1 is round, less is longer along the stripes.
      phase: where the wave stands in the middle, in degrees.

    Raises:
      ValueError: if `size` is not a positive odd integer, `wavelength` is below 2, `sigma`
        or `aspect` is not positive, or any is not finite.

    Reference: Daugman, "Uncertainty Relation for Resolution in Space, Spatial Frequency,
    and Orientation" (1985); these parameters and 0.56 are from Petkov & Kruizinga,
    "Computational Models of Visual Neurons Specialised in the Detection of Periodic and
    Aperiodic Oriented Visual Stimuli" (1997).
    """
    size = _odd_size(size)
    wavelength = _finite("wavelength", wavelength)
    if wavelength < 2:
        raise ValueError(
            "`wavelength` must be at least 2 pixels. "
            f"Received: wavelength={wavelength!r}. Enlarge the image for finer stripes."
        )
    sigma = 0.56 * wavelength if sigma is None else _positive("sigma", sigma)
    aspect = _positive("aspect", aspect)
    phase = math.radians(_finite("phase", phase))
    cos, sin = _direction(angle)

    column = _offsets(size)
    row = column[:, None]
    u = column * cos + row * sin
    v = row * cos - column * sin
    envelope = np.exp(-(u**2 + aspect**2 * v**2) / (2 * sigma**2))
    return _to_jax(envelope * np.cos(2 * math.pi * u / wavelength + phase))


KERNELS: dict[str, Callable[..., Float[Array, "rows columns"]]] = {
    "prewitt": prewitt,
    "sobel": sobel,
    "scharr": scharr,
    "laplacian": laplacian,
    "gaussian": gaussian,
    "box": box,
    "sharpen": sharpen,
    "emboss": emboss,
    "gabor": gabor,
}


def _steer(slope, smooth, angle):
    """Differentiates by `slope` along `angle` and smooths by `smooth` across it."""
    cos, sin = _direction(angle)
    return _to_jax(cos * np.outer(smooth, slope) + sin * np.outer(slope, smooth))


def _direction(angle):
    """The cosine and sine of an angle in degrees."""
    angle = math.radians(_finite("angle", angle))
    # Rounding, far below float32, makes the cosine of 90 degrees 0 and not 6e-17.
    return round(math.cos(angle), 12), round(math.sin(angle), 12)


def _binomial(size):
    return np.array([math.comb(size - 1, i) for i in range(size)], dtype="float64")


def _blur(size, sigma):
    profile = np.exp(-(_offsets(size) ** 2) / (2 * sigma**2))
    profile /= profile.sum()
    return np.outer(profile, profile)


def _offsets(size):
    """Distances from the centre, in pixels: -1, 0, 1 at size 3."""
    return np.arange(size, dtype="float64") - (size - 1) / 2


def _neighbours_less_centre(*, corner):
    ring = np.array([[corner, 1.0, corner], [1.0, 0.0, 1.0], [corner, 1.0, corner]])
    return ring - ring.sum() * _identity()


def _identity():
    return np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def _to_jax(kernel):
    # Adding 0 turns -0 into 0, which prints as one expects.
    return jnp.asarray(kernel + 0.0, dtype="float32")


def _odd_size(size, *, smallest=1, largest=None):
    allowed = f"an odd integer from {smallest}" + (f" to {largest}" if largest else "")
    size = _whole_size(size, allowed)
    if size % 2 == 0 or size < smallest or (largest is not None and size > largest):
        nearest = min(max(size + 1 - size % 2, smallest), largest or math.inf)
        raise ValueError(
            f"`size` must be {allowed}, so that one pixel is the centre. "
            f"Received: size={size!r}. The nearest allowed is {nearest}."
        )
    return size


def _whole_size(size, allowed):
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(
            f"`size` must be {allowed}, in pixels. Received: size={size!r}. "
            "Pass a number of rows and columns such as 3."
        )
    return int(size)


def _positive(name, number):
    number = _finite(name, number)
    if number <= 0:
        raise ValueError(
            f"`{name}` must be greater than 0. Received: {name}={number!r}. "
            f"Pass a positive number, or leave `{name}` out."
        )
    return number


def _finite(name, number):
    if isinstance(number, bool) or not isinstance(number, Real) or not math.isfinite(number):
        raise ValueError(
            f"`{name}` must be a finite number. Received: {name}={number!r}. "
            f"Pass a number such as 1.0, or leave `{name}` out."
        )
    return float(number)
