"""Images of kernels, small enough to embed hundreds of them in one page.

Each weight is one byte of a palette: blue below zero, white at zero, red above zero, yellow where
it is not finite, and grey between tiles. Which kernels of a large layer are drawn depends only on
its shape, so every step of a run shows the same ones.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

TILES = 36  # most kernels drawn of one layer, or most rows and columns of a matrix

_SHADES = 126  # on either side of zero
_GAP, _NOT_FINITE = 2 * _SHADES + 1, 2 * _SHADES + 2
_GAP_WIDTH = 0.4  # weights
_BLUES = [(12, 58, 122), (40, 112, 184), (112, 170, 219), (192, 219, 240)]
_REDS = [(250, 208, 190), (238, 139, 113), (204, 62, 60), (134, 14, 36)]


def _palette() -> UInt8[np.ndarray, "colours 3"]:
    anchors = [*_BLUES, (255, 255, 255), *_REDS]
    at = np.linspace(0, 2 * _SHADES, len(anchors))
    shades = np.stack([np.interp(np.arange(_GAP), at, c) for c in zip(*anchors, strict=True)], -1)
    return np.vstack([shades, (128, 128, 126), (240, 196, 25)]).round().astype(np.uint8)


PALETTE = _palette()


def colour_scale() -> list[str]:
    """Return CSS colours from the most negative weight over zero to the most positive."""
    return [f"rgb({r} {g} {b})" for r, g, b in PALETTE[:_GAP:21].tolist()]


def kernel_image(
    kernel: Num[np.ndarray, "..."],
    *,
    limit: float | None = None,
    scale: int = 8,
    tiles: int = TILES,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Draw the kernels of one layer as tiles: blue negative, white zero, red positive.

    There is one row of tiles for each input channel and one column for each output channel. With a
    single input or output channel the tiles fill a square. Dense and 1x1 kernels are drawn as one
    matrix, inputs down and outputs across.

    Args:
      kernel: weights of shape `(*spatial, in, out)`. Weights that are not finite are yellow.
      limit: magnitude drawn in full colour; by default the largest in `kernel`.
      scale: pixels along the side of one weight.
      tiles: most kernels to draw, or most rows and columns of a matrix; see `num_omitted`.

    Raises:
      ValueError: if `scale` or `tiles` is below 1, or `limit` is not above zero.

    >>> kernel_image(np.array([[-1.0, 0.0, 1.0]]), scale=1).tolist()
    [[[12, 58, 122], [255, 255, 255], [134, 14, 36]]]
    """
    if scale < 1 or tiles < 1:
        raise ValueError(
            f"`scale` and `tiles` must be at least 1. Received: scale={scale}, tiles={tiles}."
        )
    limit = colour_limit(kernel) if limit is None else limit
    if not limit > 0:
        raise ValueError(f"`limit` must be above zero. Received: limit={limit}.")
    return PALETTE[_indices(kernel, limit, tiles, scale)]


def to_pil_image(kernel: Num[np.ndarray, "..."], *, size: int = 200) -> Image.Image:
    """Return the image of `kernel_image` as a palette image of about `size` pixels."""
    scale = scale_to_fit(kernel.shape, size)
    return _paletted(_indices(kernel, colour_limit(kernel), TILES, scale))


def colour_limit(*kernels: Num[np.ndarray, "..."]) -> float:
    """Return the largest finite magnitude in `kernels`, or 1 if all are zero."""
    finite = (np.abs(kernel[np.isfinite(kernel)]) for kernel in kernels)
    return float(max((part.max() for part in finite if part.size), default=0.0)) or 1.0


def num_omitted(shape: Sequence[int], tiles: int = TILES) -> int:
    """Return the number of kernels (of a matrix, weights) that `kernel_image` does not draw."""
    *_, inputs, outputs = _grid_shape(shape)
    return inputs * outputs - math.prod(_num_selected(shape, tiles))


def describe_selection(shape: Sequence[int], tiles: int = TILES) -> str:
    """Describe which part of a layer `kernel_image` draws; empty if it draws everything.

    >>> describe_selection((3, 3, 16, 32))
    '6 of 16 inputs × 6 of 32 outputs, evenly spaced; 476 kernels omitted'
    """
    kh, kw, *sizes = _grid_shape(shape)
    sides = zip(("inputs", "outputs"), sizes, _num_selected(shape, tiles), strict=True)
    parts = [
        f"{count:,} of {size:,} {side}" if count < size else f"all {size:,} {side}"
        for side, size, count in sides
        if size > 1
    ]
    omitted, unit = num_omitted(shape, tiles), "weights" if kh * kw == 1 else "kernels"
    selection = f"{' × '.join(parts)}, evenly spaced"
    return f"{selection}; {omitted:,} {unit} omitted" if omitted else ""


def select_kernels(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    """Return a copy of the kernels that `kernel_image` draws."""
    return _select(kernel, TILES).copy()


@dataclass(frozen=True)
class EmbeddedImage:
    """PNG image for an HTML page, of one or more frames stacked from top to bottom.

    Attributes:
      url: the image as a `data:` URL.
      width: width of one frame, in pixels.
      height: height of one frame, in pixels.
    """

    url: str
    width: int
    height: int


def scale_to_fit(shape: Sequence[int], size: int) -> int:
    """Return the largest `scale` at which an image has at most about `size` pixels a side."""
    kh, kw, *_ = _grid_shape(shape)
    gap = _GAP_WIDTH if kh * kw > 1 else 0
    rows, columns = _tiling(shape, TILES)
    return max(int(size / max(rows * (kh + gap) - gap, columns * (kw + gap) - gap, 1)), 1)


def embed_kernels(
    kernels: Sequence[Num[np.ndarray, "..."]], *, limit: float, scale: int
) -> EmbeddedImage:
    """Stack images of one layer's kernels into one PNG.

    The gaps between tiles are transparent. A frame smaller than the largest, such as that of a
    kernel of learnable size, is padded with transparent pixels.

    Args:
      kernels: one kernel for each frame.
      limit: magnitude drawn in full colour.
      scale: pixels along the side of one weight.
    """
    frames = [_indices(kernel, limit, TILES, scale) for kernel in kernels]
    height, width = np.max([frame.shape for frame in frames], axis=0).tolist()
    sheet = np.full((len(frames), height, width), _GAP, np.uint8)
    for target, frame in zip(sheet, frames, strict=True):
        target[: frame.shape[0], : frame.shape[1]] = frame
    png = base64.b64encode(_png(sheet.reshape(-1, width))).decode()
    return EmbeddedImage(f"data:image/png;base64,{png}", width, height)


def _png(indices: UInt8[np.ndarray, "rows columns"]) -> bytes:
    file = io.BytesIO()
    _paletted(indices).save(file, "PNG", transparency=_GAP, optimize=True)
    return file.getvalue()


def _paletted(indices: UInt8[np.ndarray, "rows columns"]) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    return image


def _grid_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Return a kernel's shape as (kh, kw, in, out), with depth slices side by side."""
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - len(shape)), *shape)
    return kh, math.prod(depth) * kw, inputs, outputs


def _grid(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - kernel.ndim), *kernel.shape)
    slices = kernel.reshape(math.prod(depth), kh, kw, inputs, outputs)
    return np.moveaxis(slices, 0, 1).reshape(_grid_shape(kernel.shape))


def _select(kernel: Num[np.ndarray, "..."], tiles: int) -> Num[np.ndarray, "kh kw inputs outputs"]:
    # Evenly spaced, because neighbouring kernels often belong to one branch and look alike.
    grid, (inputs, outputs) = _grid(kernel), _num_selected(kernel.shape, tiles)
    return grid[:, :, _evenly_spaced(grid.shape[2], inputs)][
        ..., _evenly_spaced(grid.shape[3], outputs)
    ]


def _evenly_spaced(size: int, count: int) -> np.ndarray:
    return np.linspace(0, size - 1, count).round().astype(int)


def _num_selected(shape: Sequence[int], tiles: int) -> tuple[int, int]:
    """Return how many inputs and outputs are drawn."""
    kh, kw, inputs, outputs = _grid_shape(shape)
    single_line = kh * kw == 1 or min(inputs, outputs) == 1
    side = tiles if single_line else math.isqrt(tiles)
    return min(inputs, side), min(outputs, side)


def _tiling(shape: Sequence[int], tiles: int) -> tuple[int, int]:
    """Return the rows and columns of tiles; each weight of a matrix is a tile."""
    kh, kw, *_ = _grid_shape(shape)
    rows, columns = _num_selected(shape, tiles)
    if kh * kw > 1 and min(rows, columns) == 1:
        square = math.ceil(math.sqrt(rows * columns))
        return math.ceil(rows * columns / square), square
    return rows, columns


def _indices(
    kernel: Num[np.ndarray, "..."], limit: float, tiles: int, scale: int
) -> UInt8[np.ndarray, "rows columns"]:
    """Return the image of `kernel` as indices into `PALETTE`."""
    if not kernel.size:
        return np.full((1, 1), _GAP, np.uint8)
    grid = _quantised(_select(kernel, tiles), limit)
    kh, kw, inputs, outputs = grid.shape
    rows, columns = _tiling(kernel.shape, tiles)
    line = grid.reshape(kh, kw, -1).repeat(scale, axis=0).repeat(scale, axis=1)
    gap = max(round(_GAP_WIDTH * scale), 1) if kh * kw > 1 else 0
    height, width = kh * scale + gap, kw * scale + gap
    framed = np.full((rows * columns, height, width), _GAP, np.uint8)
    framed[: inputs * outputs, : kh * scale, : kw * scale] = line.transpose(2, 0, 1)
    sheet = framed.reshape(rows, columns, height, width).swapaxes(1, 2)
    return sheet.reshape(rows * height, columns * width)[
        : rows * height - gap, : columns * width - gap
    ]


def _quantised(values: Num[np.ndarray, "..."], limit: float) -> UInt8[np.ndarray, "..."]:
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        shade = np.clip(np.where(finite, values, 0) / limit, -1, 1) * _SHADES
    return np.where(finite, _SHADES + np.rint(shade), _NOT_FINITE).astype(np.uint8)
