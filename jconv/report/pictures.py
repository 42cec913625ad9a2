"""Pictures of kernels and of curves, small enough to embed by the hundred.

A kernel becomes one byte a weight: blue below zero, white at zero, red above,
grey between tiles, yellow where a weight is not finite. A curve becomes
positions in percent of its plotting area, so a page can stretch it to any width
while its text keeps its size.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image

TILES = 36  # kernels drawn of one layer; of a matrix, its rows and its columns
POINTS = 300  # points drawn of one curve
DOTTED = 40  # a curve of at most this many points also shows each of them

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
    'first 6 of 16 inputs × first 6 of 32 outputs; 476 kernels left out'
    """
    kh, kw, *sizes = _grid_shape(shape)
    sides = zip(("inputs", "outputs"), sizes, _shown(shape, tiles), strict=True)
    parts = [
        f"first {shown:,} of {size:,} {side}" if shown < size else f"all {size:,} {side}"
        for side, size, shown in sides
        if size > 1
    ]
    omitted, things = left_out(shape, tiles), "weights" if kh * kw == 1 else "kernels"
    return f"{' × '.join(parts)}; {omitted:,} {things} left out" if omitted else ""


def drawn_part(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    """The part of `kernel` that is drawn: all that need be kept of it for a picture."""
    inputs, outputs = _shown(kernel.shape, TILES)
    return _grid(kernel)[:, :, :inputs, :outputs].copy()


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


def scale_to_fit(shape: Sequence[int], size: int, tiles: int = TILES) -> int:
    """The `scale` at which a picture is as large as fits into about `size` pixels."""
    kh, kw, *_ = _grid_shape(shape)
    gap = _GAP_WIDTH if kh * kw > 1 else 0
    rows, columns = _tiling(shape, tiles)
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
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", transparency=_GAP, optimize=True)
    return file.getvalue()


def _grid_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """Reads any kernel as (kh, kw, in, out); slices of a deep one lie side by side."""
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - len(shape)), *shape)
    return kh, math.prod(depth) * kw, inputs, outputs


def _grid(kernel: Num[np.ndarray, "..."]) -> Num[np.ndarray, "kh kw inputs outputs"]:
    *depth, kh, kw, inputs, outputs = (*(1,) * (4 - kernel.ndim), *kernel.shape)
    slices = kernel.reshape(math.prod(depth), kh, kw, inputs, outputs)
    return np.moveaxis(slices, 0, 1).reshape(_grid_shape(kernel.shape))


def _shown(shape: Sequence[int], tiles: int) -> tuple[int, int]:
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
    inputs, outputs = _shown(kernel.shape, tiles)
    grid = _quantised(_grid(kernel)[:, :, :inputs, :outputs], limit)
    kh, kw, *_ = grid.shape
    rows, columns = _tiling(kernel.shape, tiles)
    empty = ((0, 0), (0, 0), (0, rows * columns - inputs * outputs))
    line = np.pad(grid.reshape(kh, kw, -1), empty, constant_values=_GAP)
    line = line.repeat(scale, axis=0).repeat(scale, axis=1)
    gap = max(round(_GAP_WIDTH * scale), 1) if kh * kw > 1 else 0
    framed = np.pad(line, ((0, gap), (0, gap), (0, 0)), constant_values=_GAP)
    height, width, _ = framed.shape
    sheet = framed.reshape(height, width, rows, columns).transpose(2, 0, 3, 1)
    return sheet.reshape(rows * height, columns * width)[
        : rows * height - gap, : columns * width - gap
    ]


def _quantised(values: Num[np.ndarray, "..."], limit: float) -> UInt8[np.ndarray, "..."]:
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        shade = np.clip(np.where(finite, values, 0) / limit, -1, 1) * _SHADES
    return np.where(finite, _SHADES + np.rint(shade), _MISSING).astype(np.uint8)


def number(value: float, digits: int = 4) -> str:
    """Writes a number as a person would.

    >>> number(1200), number(0.05), number(0.0000321), number(-2.0)
    ('1,200', '0.05', '3.21·10⁻⁵', '−2')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0 or 1e-3 <= abs(value) < 1e7 or isinstance(value, int):
        whole = isinstance(value, int) or abs(value) >= 10 ** (digits - 1)
        text = f"{value:,.0f}" if whole else f"{value:,.{digits}g}"
        return text.replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    power = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}·10{power}"


def percent(share: float, decimals: int = 1) -> str:
    """Writes a share of one in percent, with a narrow space.

    >>> percent(0.98889), percent(1.0)
    ('98.9\\u202f%', '100\\u202f%')
    """
    if not math.isfinite(share):
        return number(share)
    return f"{100 * share:.{decimals}f}".rstrip("0").rstrip(".") + "\u202f%"


Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Axis:
    """One axis: its ends and where its ticks stand, all in percent from the low end."""

    low: float
    high: float
    log: bool
    ticks: tuple[tuple[float, str], ...] = ()

    def place(self, value: float) -> float:
        """Where `value` stands, in percent; not a number where it cannot stand."""
        if not math.isfinite(value) or (self.log and value <= 1e-300):
            return math.nan
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return round(100 * (value - low) / (high - low), 2)


def _axis(low: float, high: float, log: bool, ticks: Iterable[float], write) -> Axis:
    bare = Axis(low, high, log)
    return Axis(low, high, log, tuple((bare.place(tick), write(tick)) for tick in ticks))


def step_axis(last_step: int) -> Axis:
    """Steps from 0 to the last one, shared by all curves of a run."""
    high = max(last_step, 1)
    ticks = np.arange(0, high + 1, max(_round_step(high / 4), 1))
    return _axis(0, high, False, ticks.tolist(), lambda tick: number(int(tick)))


def value_axis(values: Sequence[float], *, log: bool, share: bool = False) -> Axis:
    """An axis that holds `values` and ends on ticks."""
    usable = [v for v in values if math.isfinite(v) and (v > 1e-300 or not log)]
    low, high = (min(usable), max(usable)) if usable else (1.0, 1.0) if log else (0.0, 1.0)
    ticks = _log_ticks(low, high) if log else _linear_ticks(low, high)
    write = partial(percent, decimals=2) if share else partial(number, digits=6)
    return _axis(ticks[0], ticks[-1], log, ticks, write)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * m for m in (1, 2, 2.5, 3, 4, 5, 10) if power * m >= step * (1 - 1e-9))


def _linear_ticks(low: float, high: float) -> list[float]:
    flat = high - low <= 1e-6 * abs(high)
    if low > 0 and (flat or low <= high / 2):
        low = 0.0
    elif flat:
        high = 0.0 if low < 0 else 1.0
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, max(last, first + 1) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first > 3:
        stride = math.ceil((last - first) / 6)
        return [10.0**k for k in range(first // stride * stride, last + stride, stride)]
    ticks = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
    start = max((k for k, tick in enumerate(ticks) if tick <= low * (1 + 1e-9)), default=0)
    stop = min(k for k, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    return ticks[start : max(stop, start + 1) + 1]


@dataclass(frozen=True)
class Curve:
    """One line of a chart, in percent from the left and from the top.

    Attributes:
      name: what it shows, such as "training".
      path: an SVG path in a box of 100 by 100.
      dots: where each point stands, for a curve of few points.
      points: `(from the left, step, value)` of each point, the last two as text.
    """

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]
    points: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over the steps of a run.

    Attributes:
      title: what is drawn.
      x, y: the axes.
      curves: at least one.
      together: logged steps averaged into one point; 1 where none are.
    """

    title: str
    x: Axis
    y: Axis
    curves: tuple[Curve, ...]
    together: int = 1


def chart(
    title: str,
    series: Mapping[str, Points],
    *,
    last_step: int,
    log: bool | None = None,
    share: bool = False,
) -> Chart | None:
    """Draws each series of `(step, value)`; none where no series has a point.

    Args:
      title: what is drawn.
      series: the points of each curve, in order of steps.
      last_step: where the horizontal axis ends.
      log: a logarithmic axis; by default, where the values span over two decades.
      share: values are shares of one, to be written in percent.
    """
    series = {name: points for name, points in series.items() if points}
    if not series:
        return None
    together = math.ceil(max(map(len, series.values())) / POINTS)
    thinned = {name: _thinned(points) for name, points in series.items()}
    values = [value for points in thinned.values() for _, value in points]
    log = _spans_decades(values) if log is None else log
    x, y = step_axis(last_step), value_axis(values, log=log, share=share)
    write = percent if share else partial(number, digits=3)
    curves = tuple(_curve(name, points, x, y, write) for name, points in thinned.items())
    return Chart(title, x, y, curves, together)


def _spans_decades(values: Sequence[float]) -> bool:
    finite = [v for v in values if math.isfinite(v)]
    return bool(finite) and min(finite) > 0 and max(finite) > 100 * min(finite)


def _thinned(points: Points) -> Points:
    """Averages neighbours until at most `POINTS` are left."""
    size = math.ceil(len(points) / POINTS)
    bins = [points[k : k + size] for k in range(0, len(points), size)]
    return [(b[-1][0], sum(value for _, value in b) / len(b)) for b in bins]


def _curve(name: str, points: Points, x: Axis, y: Axis, write) -> Curve:
    places = [(x.place(step), round(100 - y.place(value), 2)) for step, value in points]
    seen = [(left, top) for left, top in places if math.isfinite(top)]
    texts = [
        (left, number(step), write(value))
        for (left, _), (step, value) in zip(places, points, strict=True)
    ]
    return Curve(name, _path(places), tuple(seen) if len(points) <= DOTTED else (), tuple(texts))


def _path(places: Sequence[tuple[float, float]]) -> str:
    """An SVG path; a point that cannot stand breaks the line."""
    path, pen = [], "M"
    for left, top in places:
        if math.isfinite(top):
            path.append(f"{pen}{left:g} {top:g}")
        pen = "L" if math.isfinite(top) else "M"
    return "".join(path)
