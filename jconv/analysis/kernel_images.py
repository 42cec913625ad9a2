"""Pictures of kernels, small enough to embed by the hundred.

A weight becomes one byte: blue below zero, white at zero, red above, yellow where
it is not finite; grey lies between the tiles. Which kernels of a large layer are
drawn depends on its shape only, so that every step of a run shows the same ones.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

TILES = 36  # kernels drawn of one layer; of a matrix, its rows and its columns

_SHADES = 126  # on either side of zero
_GAP, _MISSING = 2 * _SHADES + 1, 2 * _SHADES + 2
_GAP_WIDTH = 0.4  # weights
_BLUES = [(12, 58, 122), (40, 112, 184), (112, 170, 219), (192, 219, 240)]
_REDS = [(250, 208, 190), (238, 139, 113), (204, 62, 60), (134, 14, 36)]


def _palette() -> UInt8[np.ndarray, "colours 3"]:
    anchors = [*_BLUES, (255, 255, 255), *_REDS]
    at = np.linspace(0, 2 * _SHADES, len(anchors))
    shades = np.stack([np.interp(np.arange(_GAP), at, c) for c in zip(*anchors, strict=True)], -1)
    return np.vstack([shades, (128, 128, 126), (240, 196, 25)]).round().astype(np.uint8)


PALETTE = _palette()


def gradient() -> list[str]:
    """The colours from negative over zero to positive, as CSS has them."""
    return [f"rgb({r} {g} {b})" for r, g, b in PALETTE[:_GAP:21].tolist()]


def kernel_image(
    kernel: Num[np.ndarray, "..."],
    *,
    limit: float | None = None,
    scale: int = 8,
    tiles: int = TILES,
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Draws the kernels of one layer as tiles: blue negative, white zero, red positive.

    Kernels are `(*spatial, in, out)`: one row of tiles for each input, one column for
    each output. Where there is one input or one output only, the tiles fill a square.
    Dense and 1x1 kernels are drawn as one matrix, inputs down and outputs across.

    Args:
      kernel: the weights; those that are not finite come out yellow.
      limit: the magnitude drawn in full colour; by default the largest in `kernel`.
      scale: pixels along the side of one weight.
      tiles: kernels drawn at most, or rows and columns of a matrix; see `left_out`.

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


def image_to_save(kernel: Num[np.ndarray, "..."], *, size: int = 200) -> Image.Image:
    """The picture that `kernel_image` draws, of about `size` pixels, with a palette."""
    scale = scale_to_fit(kernel.shape, size)
    return _paletted(_indices(kernel, colour_limit(kernel), TILES, scale))


def colour_limit(*kernels: Num[np.ndarray, "..."]) -> float:
    """The largest finite magnitude in any of `kernels`; 1 where all is zero."""
    finite = (np.abs(kernel[np.isfinite(kernel)]) for kernel in kernels)
    return float(max((part.max() for part in finite if part.size), default=0.0)) or 1.0


def left_out(shape: Sequence[int], tiles: int = TILES) -> int:
    """How many kernels of a layer `kernel_image` does not draw; of a matrix, weights."""
    *_, inputs, outputs = _grid_shape(shape)
    return inputs * outputs - math.prod(_shown(shape, tiles))


def what_is_shown(shape: Sequence[int], tiles: int = TILES) -> str:
    """Says which part of a layer `kernel_image` draws; empty where it draws all.

    >>> what_is_shown((3, 3, 16, 32))
    '6 of 16 inputs × 6 of 32 outputs, evenly chosen; 476 kernels left out'
    """
    kh, kw, *sizes = _grid_shape(shape)
    sides = zip(("inputs", "outputs"), sizes, _shown(shape, tiles), strict=True)
    parts = [
        f"{shown:,} of {size:,} {side}" if shown < size else f"all {size:,} {side}"
        for side, size, shown in sides
        if size > 1
    ]
    omitted, things = left_out(shape, tiles), "weights" if kh * kw == 1 else "kernels"
    chosen = f"{' × '.join(parts)}, evenly chosen"
    return f"{chosen}; {omitted:,} {things} left out" if omitted else ""


def drawn_part(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    """The part of `kernel` that is drawn: all that need be kept of it for a picture."""
    return _drawn(kernel, TILES).copy()


@dataclass(frozen=True)
class Picture:
    """A PNG to embed.

    Attributes:
      url: the picture itself, as a `data:` address.
      width: of one frame, in pixels.
      height: of one frame, in pixels; the frames are stacked from top to bottom.
    """

    url: str
    width: int
    height: int


def scale_to_fit(shape: Sequence[int], size: int) -> int:
    """The `scale` at which a picture is as large as fits into about `size` pixels."""
    kh, kw, *_ = _grid_shape(shape)
    gap = _GAP_WIDTH if kh * kw > 1 else 0
    rows, columns = _tiling(shape, TILES)
    return max(int(size / max(rows * (kh + gap) - gap, columns * (kw + gap) - gap, 1)), 1)


def kernel_picture(
    kernels: Sequence[Num[np.ndarray, "..."]], *, limit: float, scale: int
) -> Picture:
    """Stacks pictures of one layer's kernels into one PNG.

    The gaps between tiles are transparent. A frame smaller than the largest, as a
    kernel of learned size may give, is filled up with gap.
    """
    frames = [_indices(kernel, limit, TILES, scale) for kernel in kernels]
    height, width = np.max([frame.shape for frame in frames], axis=0).tolist()
    sheet = np.full((len(frames), height, width), _GAP, np.uint8)
    for room, frame in zip(sheet, frames, strict=True):
        room[: frame.shape[0], : frame.shape[1]] = frame
    png = base64.b64encode(_png(sheet.reshape(-1, width))).decode()
    return Picture(f"data:image/png;base64,{png}", width, height)


def _png(indices: UInt8[np.ndarray, "rows columns"]) -> bytes:
    file = io.BytesIO()
    _paletted(indices).save(file, "PNG", transparency=_GAP, optimize=True)
    return file.getvalue()


def _paletted(indices: UInt8[np.ndarray, "rows columns"]) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    return image


def _grid_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Reads any kernel as (kh, kw, in, out); slices of a deep one lie side by side."""
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - len(shape)), *shape)
    return kh, math.prod(depth) * kw, inputs, outputs


def _grid(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - kernel.ndim), *kernel.shape)
    slices = kernel.reshape(math.prod(depth), kh, kw, inputs, outputs)
    return np.moveaxis(slices, 0, 1).reshape(_grid_shape(kernel.shape))


def _drawn(kernel: Num[np.ndarray, "..."], tiles: int) -> Num[np.ndarray, "kh kw inputs outputs"]:
    # Evenly chosen: neighbours often come from one branch, and look alike.
    grid, (inputs, outputs) = _grid(kernel), _shown(kernel.shape, tiles)
    return grid[:, :, _evenly(grid.shape[2], inputs)][..., _evenly(grid.shape[3], outputs)]


def _evenly(size: int, count: int) -> np.ndarray:
    return np.linspace(0, size - 1, count).round().astype(int)


def _shown(shape: Sequence[int], tiles: int) -> tuple[int, int]:
    """How many inputs and outputs are drawn."""
    kh, kw, inputs, outputs = _grid_shape(shape)
    one_line = kh * kw == 1 or min(inputs, outputs) == 1
    side = tiles if one_line else math.isqrt(tiles)
    return min(inputs, side), min(outputs, side)


def _tiling(shape: Sequence[int], tiles: int) -> tuple[int, int]:
    """Rows and columns of tiles; of a matrix, each weight is a tile."""
    kh, kw, *_ = _grid_shape(shape)
    rows, columns = _shown(shape, tiles)
    if kh * kw > 1 and min(rows, columns) == 1:
        square = math.ceil(math.sqrt(rows * columns))
        return math.ceil(rows * columns / square), square
    return rows, columns


def _indices(
    kernel: Num[np.ndarray, "..."], limit: float, tiles: int, scale: int
) -> UInt8[np.ndarray, "rows columns"]:
    """The picture of `kernel` as places in `PALETTE`."""
    if not kernel.size:
        return np.full((1, 1), _GAP, np.uint8)
    grid = _quantised(_drawn(kernel, tiles), limit)
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
    return np.where(finite, _SHADES + np.rint(shade), _MISSING).astype(np.uint8)
