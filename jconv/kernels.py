"""Named kernels, and the factorisation of kernels into smaller ones.

A named kernel has a known purpose, such as the detection of edges. Named kernels serve as
references for learned kernels, and as first layers where there is too little data to learn one.
Learned kernels are better wherever there is enough data.

Every function of a named kernel returns a float32 array of shape `(rows, columns)` for
cross-correlation, as `jconv.conv` computes it: the kernel is not rotated by 180 degrees.
Entries are computed in float64 and rounded once.

Angles are in degrees and give the direction in which brightness increases: 0 is to the right,
along the columns, and 90 is downwards, along the rows. Rows are numbered downwards, so a larger
angle is further clockwise on the screen.

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
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact


def prewitt(size: int = 3, *, angle: float = 0.0) -> Float[Array, "rows columns"]:
    """Return a Prewitt kernel, which detects edges.

    The response is the rate at which brightness increases along `angle`. `angle=0` is
    `[[-1, 0, 1]] * 3`: its response is positive at a vertical edge that is dark on the left and
    bright on the right, negative at the reverse, and zero at a horizontal edge. The response of
    `angle=90` is positive at a horizontal edge that is dark above and bright below. Other angles
    are steered: `cos(angle) * prewitt(angle=0) + sin(angle) * prewitt(angle=90)`.

    Larger sizes weight each column by its distance from the centre, which fits a plane to the
    pixels by least squares. They are less sensitive to noise and blur edges more. The sum of the
    entries is 0. The kernel is not normalised: for brightness that increases by 1 per pixel along
    `angle` the response is `size**2 * (size**2 - 1) / 12`, which is 6 at size 3 and 50 at size 5.

    Args:
      size: rows and columns, in pixels; odd and at least 3.
      angle: direction in which brightness increases, in degrees, clockwise from right.

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
    """Return a Sobel kernel, which detects edges and weights pixels near the centre more.

    `angle=0` is `[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]`. Its response is positive at a vertical edge
    that is bright on the right, and that of `angle=90` at a horizontal edge that is bright below.
    Other angles are steered, as for `prewitt`.

    Larger sizes smooth by a binomial, (1 4 6 4 1) at size 5, and differentiate by the binomial of
    two sizes less convolved with (-1 0 1), which is (-1 -2 0 2 1) at size 5. The sum of the entries
    is 0. The kernel is not normalised, and its entries grow about as `4**size`: for brightness that
    increases by 1 per pixel along `angle` the response is `2 * 4**(size - 2)`, which is 8 at size 3
    and 128 at size 5.

    Args:
      size: rows and columns, in pixels; odd, from 3 to 31.
      angle: direction in which brightness increases, in degrees, clockwise from right.

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
    """Return a Scharr kernel, which detects edges and estimates their direction accurately.

    `angle=0` is `[[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]`. Its response is positive at a vertical
    edge that is bright on the right. The weights 3, 10, 3 minimise the error of the direction
    computed from the responses of `angle=0` and `angle=90`, over all directions of the edge.

    The size is 3x3. The sum of the entries is 0. The kernel is not normalised: for brightness that
    increases by 1 per pixel along `angle` the response is 32.

    Args:
      angle: direction in which brightness increases, in degrees, clockwise from right.

    Raises:
      ValueError: if `angle` is not finite.

    Reference: Scharr, "Optimale Operatoren in der Digitalen Bildverarbeitung" (2000).
    """
    return _steer(np.array([-1.0, 0.0, 1.0]), np.array([3.0, 10.0, 3.0]), angle)


def laplacian(
    size: int = 3, *, diagonals: bool = False, sigma: float | None = None
) -> Float[Array, "rows columns"]:
    """Return a Laplacian kernel, which detects spots and fine detail.

    The response is positive at a pixel that is darker than its surroundings, negative at one that
    is brighter, and zero where brightness increases at a constant rate. It changes sign at an edge.

    Without `sigma` the kernel is 3x3 and subtracts the centre from its four neighbours,
    `[[0, 1, 0], [1, -4, 1], [0, 1, 0]]`, or with `diagonals` from all eight, with -8 in the
    centre. It also amplifies noise. With `sigma` it is the Laplacian of a Gaussian, of any odd
    size, which blurs the image first. It is sampled at the pixels, and its mean is subtracted, so
    that the response to a constant image is 0.

    The sum of the entries is 0. For `(column**2 + row**2) / 2`, whose Laplacian is 2, the response
    is 2 with four neighbours, 6 with eight, and nearly 2 with a `sigma` of at least 1 and a `size`
    of about eight `sigma`.

    Args:
      size: rows and columns, in pixels; 3, or with `sigma` odd and at least 3.
      diagonals: include the diagonal neighbours; only without `sigma`.
      sigma: standard deviation of the Gaussian, in pixels.

    Raises:
      ValueError: if `size` is larger than 3 without `sigma`, even or too small, if
        `sigma` is not positive, or if both `diagonals` and `sigma` are given.

    Reference: Rosenfeld & Kak, "Digital Picture Processing" (1976). With `sigma`, Marr &
    Hildreth, "Theory of Edge Detection" (1980), scaled as MATLAB's `fspecial('log')`.
    """
    size = _odd_size(size, smallest=3)
    if sigma is None:
        if size != 3:
            raise ValueError(
                "`size` must be 3 without `sigma`: the difference between a pixel and its "
                f"neighbours has no larger standard form. Received: size={size!r}. For a "
                f"larger kernel, pass `sigma` too, as in laplacian({size}, sigma={size / 8:g})."
            )
        return _to_jax(_neighbours_less_centre(corner=1.0 if diagonals else 0.0))
    if diagonals:
        raise ValueError(
            "`diagonals` must be False with `sigma`: a Laplacian of Gaussian already weights "
            f"all directions equally. Received: diagonals={diagonals!r}, sigma={sigma!r}. Omit one "
            "of them."
        )
    sigma = _positive("sigma", sigma)
    squares = _offsets(size) ** 2
    kernel = _blur(size, sigma) * (squares + squares[:, None] - 2 * sigma**2) / sigma**4
    return _to_jax(kernel - kernel.mean())


def gaussian(size: int = 5, *, sigma: float | None = None) -> Float[Array, "rows columns"]:
    """Return a Gaussian kernel, which blurs an image equally in all directions.

    It is separable and symmetric, and all its entries are positive. The sum of the entries is 1, so
    a constant image is unchanged. The Gaussian is sampled at the pixels and truncated at the
    border; a `size` of six `sigma` keeps 99% of it along each axis.

    Args:
      size: rows and columns, in pixels; odd.
      sigma: standard deviation, in pixels. None selects the value of OpenCV for the size,
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
    """Return a box kernel, which averages a square of pixels.

    Every entry is `1 / size**2`, so the sum is 1. The frequency response is less smooth than that
    of `gaussian`: some fine stripes remain, some of them with dark and bright exchanged.

    Args:
      size: rows and columns, in pixels; the centre of even sizes lies between pixels.

    Raises:
      ValueError: if `size` is not a positive integer.

    Reference: McDonnell, "Box-Filtering Techniques" (1981).
    """
    size = _whole_size(size, "a positive integer")
    return _to_jax(np.full((size, size), 1 / size**2))


def sharpen(*, amount: float = 1.0) -> Float[Array, "rows columns"]:
    """Return a kernel that sharpens by amplifying differences between neighbouring pixels.

    It subtracts `amount` times `laplacian()` from the image. `amount=1` is
    `[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]`, and `amount=0` leaves the image unchanged. Noise is
    amplified too. The size is 3x3. The sum of the entries is 1, so a constant image is unchanged.

    Args:
      amount: factor of the Laplacian; 0 or more.

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
    """Return a kernel that embosses: the image looks like a relief lit from one side.

    It adds the derivative along `angle` to the image, so that pixels become brighter where
    brightness increases along `angle` and darker where it decreases. At 45 degrees, which is light
    from the upper left, the kernel is `[[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]`. Other angles steer
    the derivative, `sqrt(2) * prewitt(angle=angle)`.

    The size is 3x3. The sum of the entries is 1, so a constant image is unchanged.

    Args:
      angle: direction of the light, in degrees, clockwise from right.

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
    """Return a Gabor kernel, which detects stripes of one width and direction at one position.

    It is a wave under a Gaussian, `exp(-(u**2 + aspect**2 * v**2) / (2 * sigma**2)) *
    cos(2 * pi * u / wavelength + phase)`. Here `u = column * cos(angle) + row * sin(angle)` is the
    distance from the centre across the stripes, and `v = row * cos(angle) - column * sin(angle)`
    the distance along them. So `angle=0` detects vertical stripes and `angle=90` horizontal ones.
    `phase=0` detects a bright stripe at the centre, 180 a dark one, and -90 an edge at which
    brightness increases along `angle`.

    The amplitude of the wave is 1, and the kernel is not normalised: at `phase=0` the centre is 1.
    The sum of the entries is 0 at phases of 90 and -90. At other phases it is not 0, but small if
    `sigma` is at least half a wavelength, so the response to a constant image is small too.

    Args:
      size: rows and columns, in pixels; odd. Five `sigma` include nearly all of the Gaussian.
      wavelength: distance between stripes, in pixels; at least 2, because shorter waves are
        aliased.
      angle: direction across the stripes, in degrees, clockwise from right.
      sigma: standard deviation across the stripes, in pixels. None selects
        `0.56 * wavelength`, a bandwidth of one octave.
      aspect: 1 for a circular Gaussian; smaller values elongate it along the stripes.
      phase: phase of the wave at the centre, in degrees.

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


def factorise(
    kernel,
    *,
    into: Literal["depthwise", "axes"] = "depthwise",
    rank: int | None = None,
    tolerance: float | None = None,
) -> tuple[Inexact[Array, "..."], Inexact[Array, "..."]]:
    """Factorise a kernel into two smaller kernels whose convolutions are applied in sequence.

    `into="depthwise"` gives a depthwise and a pointwise kernel: for each input channel, the matrix
    of taps and output channels is approximated by one of rank `rank`. The result takes
    `ci * rank * (h * w + co)` multiply-adds per pixel instead of `h * w * ci * co`:
    `jconv.separable_conv(x, depthwise, pointwise)`.

    `into="axes"` gives a kernel of one column and a kernel of one row with `rank` channels between
    them: the matrix of rows and input channels, and columns and output channels, is approximated.
    The result takes `rank * (h * ci + w * co)` multiply-adds per pixel:
    `jconv.conv(jconv.conv(x, column), row)`, where a stride, padding or dilation of an axis applies
    to the kernel along this axis.

    The approximation is the best one of its rank in the Frobenius norm, computed in float64 by a
    singular value decomposition. Both kernels have the same scale.

    Args:
      kernel: array of known values, of shape `(*taps, ci, co)`, as `jconv.conv` takes it. `"axes"`
        needs two axes of taps. `(rows, columns)`, as the functions of this module return, stands
        for one input and one output channel.
      into: `"depthwise"` or `"axes"`.
      rank: the channel multiplier of the depthwise kernel, or the channels between the two axes.
        None selects the smallest rank whose error is at most `tolerance`.
      tolerance: the largest relative error of the product of both kernels, in the Frobenius norm,
        from 0 to 1. None selects four times the machine epsilon of the dtype, which only a kernel
        of this rank satisfies; 1 allows every rank.

    Returns:
      `depthwise`, of shape `(*taps, ci, rank)`, and `pointwise`, of shape `(ci * rank, co)`; or
      `column`, of shape `(h, 1, ci, rank)`, and `row`, of shape `(1, w, rank, co)`. The dtype is
      that of `kernel`, float32 for integers.

    Raises:
      ValueError: if the error of `rank` exceeds `tolerance`, with the error and the rank needed; if
        no kernel of this shape has as large a rank; if `kernel` is traced, empty, not finite or of
        another shape; or if `into` or `tolerance` is not an allowed value.

    References: Jaderberg, Vedaldi & Zisserman, "Speeding up Convolutional Neural Networks with Low
    Rank Expansions" (2014), for `"axes"`, their scheme 2; Sifre, "Rigid-Motion Scattering for Image
    Classification" (2014), and Guo et al., "Network Decoupling: From Regular to Depthwise Separable
    Convolutions" (2018), for `"depthwise"`.

        >>> column, row = factorise(sobel(5), into="axes")
        >>> column.shape, row.shape
        ((5, 1, 1, 1), (1, 5, 1, 1))
        >>> bool(jnp.allclose(column[:, :, 0, 0] @ row[:, :, 0, 0], sobel(5), atol=1e-5))
        True
        >>> depthwise, pointwise = factorise(jnp.ones((3, 3, 4, 8)))
        >>> depthwise.shape, pointwise.shape
        ((3, 3, 4, 1), (4, 8))
    """
    if into not in ("depthwise", "axes"):
        raise ValueError(f"`into` must be 'depthwise' or 'axes'. Received: into={into!r}.")
    array = _known_kernel(kernel, into)
    dtype = array.dtype if jnp.issubdtype(array.dtype, jnp.inexact) else np.dtype("float32")
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    *taps, ci, co = array.shape
    if into == "depthwise":
        matrices = array.reshape(-1, ci, co).swapaxes(0, 1)
    else:
        matrices = array.swapaxes(1, 2).reshape(1, taps[0] * ci, taps[1] * co)
    if tolerance is None:
        tolerance = 4 * float(jnp.finfo(dtype).eps)
    left, right = _low_rank_factors(matrices, rank, _fraction("tolerance", tolerance))
    inner = left.shape[-1]
    if into == "depthwise":
        left, right = left.swapaxes(0, 1).reshape(*taps, ci, inner), right.reshape(ci * inner, co)
    else:
        left = left.reshape(taps[0], 1, ci, inner)
        right = right.reshape(inner, 1, taps[1], co).transpose(1, 2, 0, 3)
    return jnp.asarray(left, dtype), jnp.asarray(right, dtype)


def _steer(slope, smooth, angle):
    """Return the outer product that differentiates along `angle` and smooths across it."""
    cos, sin = _direction(angle)
    return _to_jax(cos * np.outer(smooth, slope) + sin * np.outer(slope, smooth))


def _direction(angle):
    """Return the cosine and sine of an angle in degrees."""
    angle = math.radians(_finite("angle", angle))
    # Rounding to 12 digits gives exactly 0 for the cosine of 90 degrees, instead of 6e-17.
    return round(math.cos(angle), 12), round(math.sin(angle), 12)


def _binomial(size):
    return np.array([math.comb(size - 1, i) for i in range(size)], dtype="float64")


def _blur(size, sigma):
    profile = np.exp(-(_offsets(size) ** 2) / (2 * sigma**2))
    profile /= profile.sum()
    return np.outer(profile, profile)


def _offsets(size):
    """Return distances from the centre, in pixels: -1, 0, 1 at size 3."""
    return np.arange(size, dtype="float64") - (size - 1) / 2


def _neighbours_less_centre(*, corner):
    """Return the 3x3 kernel that subtracts the centre from its weighted neighbours."""
    ring = np.array([[corner, 1.0, corner], [1.0, 0.0, 1.0], [corner, 1.0, corner]])
    return ring - ring.sum() * _identity()


def _identity():
    return np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def _to_jax(kernel):
    # Adding 0 replaces -0, which would print with its sign.
    return jnp.asarray(kernel + 0.0, dtype="float32")


def _odd_size(size, *, smallest=1, largest=None):
    """Return `size` as an int, and check that it is odd and within the limits."""
    allowed = f"an odd integer from {smallest}" + (f" to {largest}" if largest else "")
    size = _whole_size(size, allowed)
    if size % 2 == 0 or size < smallest or (largest is not None and size > largest):
        nearest = min(max(size + 1 - size % 2, smallest), largest or math.inf)
        raise ValueError(
            f"`size` must be {allowed}, so that one pixel is the centre. "
            f"Received: size={size!r}. The nearest allowed is {nearest}."
        )
    return size


def _whole_size(size, allowed, name="size"):
    """Return a positive size as an int."""
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        example = "a number of rows and columns" if name == "size" else "a number of channels"
        raise ValueError(
            f"`{name}` must be {allowed}. Received: {name}={size!r}. Pass {example} such as 3."
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


def _fraction(name, number):
    number = _finite(name, number)
    if not 0 <= number <= 1:
        raise ValueError(
            f"`{name}` must be a relative error from 0 to 1. Received: {name}={number!r}."
        )
    return number


def _known_kernel(kernel, into):
    """Return the kernel as a NumPy array of shape `(*taps, ci, co)`, and check it."""
    if isinstance(kernel, Tracer):
        raise ValueError(
            "`kernel` must be an array of known values, because its rank determines the shapes of "
            f"the result. Received: {kernel}. Call `factorise` outside of `jax.jit` and `jax.grad`."
        )
    array = np.asarray(kernel)
    if array.ndim == 2:
        array = array[:, :, None, None]
    allowed = "(rows, columns, ci, co)" if into == "axes" else "(*taps, ci, co)"
    if array.ndim < 3 or array.size == 0 or (into == "axes" and array.ndim != 4):
        raise ValueError(
            f"`kernel` must have the shape {allowed} or (rows, columns), without zeros. "
            f"Received: kernel.shape={np.shape(kernel)}."
        )
    if not np.isfinite(array).all():
        raise ValueError("`kernel` must be finite. Received: a kernel with NaN or infinity.")
    return array


def _low_rank_factors(matrices, rank, tolerance):
    """Return `(m, rows, rank)` and `(m, rank, columns)`, whose products approximate `m` matrices.

    Raises:
      ValueError: if the error of `rank` exceeds `tolerance`.
    """
    is_complex = np.issubdtype(matrices.dtype, np.complexfloating)
    u, s, vh = np.linalg.svd(
        matrices.astype(np.complex128 if is_complex else np.float64), full_matrices=False
    )
    # The squared error of a rank is the sum of the squared singular values beyond it.
    squares = np.append((s**2).sum(0)[::-1].cumsum()[::-1], 0)
    errors = np.sqrt(squares / (squares[0] or 1))
    needed = max(1, int(np.argmax(errors <= tolerance)))
    rank = needed if rank is None else _whole_size(rank, "a positive integer", name="rank")
    largest = s.shape[-1]
    if rank > largest:
        raise ValueError(
            f"`rank` must be at most {largest}, the largest that a kernel of this shape can have. "
            f"Received: rank={rank!r}."
        )
    if errors[rank] > tolerance:
        raise ValueError(
            f"`rank` must be at least {needed} for a relative error of at most {tolerance:.2g}. "
            f"Received: rank={rank!r}, whose error is {errors[rank]:.2g}. Pass a larger rank, or a "
            f"larger tolerance for an approximation."
        )
    scale = np.sqrt(s[:, :rank])
    return u[..., :rank] * scale[:, None, :], scale[..., None] * vh[:, :rank, :]
