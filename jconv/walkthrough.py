"""One convolution computed by hand, one window at a time.

Every product that `jconv.conv` sums is kept and printed. This explains a convolution of a few
pixels. It is unreadable for a thousand: time, memory and output grow with outputs times taps.

    >>> walk = walkthrough()
    >>> print(walk.output)
    [[6 6]
     [6 6]]
    >>> print(walk)  # doctest: +ELLIPSIS
    Cross-correlation, as in deep learning.
    ...
    Step 1 of 4, output (0, 0): the window covers rows 0 to 2, columns 0 to 2.
      Input               Kernel      Products
      [ 1][ 2][ 3]  4     -1  0  1    -1  0  3
      [ 5][ 6][ 7]  8     -1  0  1    -5  0  7
      [ 9][10][11] 12     -1  0  1    -9  0 11
       13  14  15  16
      (1)(-1) + (2)(0) + (3)(1) +
      (5)(-1) + (6)(0) + (7)(1) +
      (9)(-1) + (10)(0) + (11)(1)
      -1 + 3 - 5 + 7 - 9 + 11 = 6
    ...
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Real
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from jconv._core.geometry import Window, make_window
from jconv._core.rich_repr import RichRepr
from jconv.kernels import prewitt

CONTEXT = 3  # pixels printed around the window in each step; the rest of a large input is omitted

SIZE_FORMULA = "Output size, floor((n + pads - dilation*(k-1) - 1)/stride) + 1:"

PROCEDURE = """\
At each position of the window, multiply each pixel by the tap over it and sum the products.
Rows and columns count from 0."""
CORRELATION = f"Cross-correlation, as in deep learning.\n{PROCEDURE}"
CONVOLUTION = f"""\
Convolution, as in mathematics: the kernel is rotated by 180 degrees first.
{PROCEDURE}"""


@dataclass(frozen=True, eq=False)
class Step:
    """One position of the window: the pixels under it, the products, and their sum.

    Args:
      row: row of the output, from 0.
      column: column of the output, from 0.
      top: first row of the window in the padded input.
      left: first column of the window in the padded input.
      patch: the pixels under the taps.
      kernel: the kernel; rotated by 180 degrees if the walk-through flips it.
      products: `patch * kernel`.
      value: the sum of the products, which is the output here.
    """

    row: int
    column: int
    top: int
    left: int
    patch: Real[np.ndarray, "kh kw"]
    kernel: Real[np.ndarray, "kh kw"]
    products: Real[np.ndarray, "kh kw"]
    value: int | float


@dataclass(frozen=True, eq=False, repr=False)
class Walkthrough(RichRepr):
    """A convolution step by step; `print` and `rich.print` write it out.

    Args:
      x: the input.
      kernel: the kernel, as given.
      flip: whether the kernel is rotated by 180 degrees first.
      padding: the padding, as given; `window.padding` has it in pixels.
      window: the geometry of the convolution.
      steps: one for each output, row by row.
      output: what `jconv.conv` computes, in int64 or float64.
    """

    x: Real[np.ndarray, "h w"]
    kernel: Real[np.ndarray, "kh kw"]
    flip: bool
    padding: Any
    window: Window
    steps: tuple[Step, ...]
    output: Real[np.ndarray, "ho wo"]

    def __rich__(self) -> RenderableType:
        return Group(
            Text(CONVOLUTION if self.flip else CORRELATION),
            *(_section(_title(name, array), _grid(array)) for name, array in _matrices(self)),
            _section(SIZE_FORMULA, Text("\n".join(_size_lines(self.window)))),
            *(_step_section(self, step) for step in self.steps),
            _section(_title("Output", self.output), _grid(self.output, style="bold")),
        )


def walkthrough(
    x: Any = None,
    kernel: Any = None,
    *,
    stride: int | Sequence[int] = 1,
    padding: Any = "VALID",
    dilation: int | Sequence[int] = 1,
    flip: bool = False,
) -> Walkthrough:
    """Compute a convolution of one channel of one image by hand, keeping every product.

    The output equals `jconv.conv(x[None, :, :, None], kernel[:, :, None, None], ...)`, as plain
    sums in float64, or in int64 if both arrays have integer dtypes.

    Args:
      x: the input, (rows, columns); None is 1 to 16 in four rows.
      kernel: the kernel, (rows, columns); None is `jconv.kernels.prewitt()`.
      stride: pixels between neighbouring windows; one int, or (rows, columns).
      padding: a name, an int or pairs, as `jconv.conv` takes it; the pixels added are 0.
      dilation: pixels between neighbouring taps; one int, or (rows, columns).
      flip: rotate the kernel by 180 degrees first: convolution as in mathematics, instead of
        cross-correlation.

    Returns:
      All steps and the output.

    Raises:
      ValueError: if an array is not two-dimensional, empty or not of real numbers, or
        if the kernel does not fit into the padded input.
    """
    x = _matrix("x", np.arange(1, 17).reshape(4, 4) if x is None else x)
    kernel = _matrix("kernel", np.asarray(prewitt(), dtype="int64") if kernel is None else kernel)
    window = make_window(x.shape, kernel.shape, stride=stride, padding=padding, dilation=dilation)

    padded = _padded(x, window)
    rotated = kernel[::-1, ::-1] if flip else kernel
    steps = tuple(
        _make_step(padded, rotated, window, row, column)
        for row, column in np.ndindex(*window.output)
    )
    output = np.array([step.value for step in steps]).reshape(window.output)
    return Walkthrough(x, kernel, flip, padding, window, steps, output)


def _make_step(
    padded: np.ndarray, kernel: np.ndarray, window: Window, row: int, column: int
) -> Step:
    top, left = row * window.stride[0], column * window.stride[1]
    rows, columns = _taps(window, top, left)
    patch = padded[np.ix_(rows, columns)]
    products = patch * kernel
    return Step(row, column, top, left, patch, kernel, products, products.sum().item())


def _taps(window: Window, top: int, left: int) -> tuple[range, range]:
    """Return the rows and columns of the padded input that lie under a tap."""
    rows, columns = window.span
    return (
        range(top, top + rows, window.dilation[0]),
        range(left, left + columns, window.dilation[1]),
    )


def _padded(x: np.ndarray, window: Window) -> np.ndarray:
    """Pad the input with zeros; negative padding crops."""
    x = np.pad(x, [(max(0, low), max(0, high)) for low, high in window.padding])
    crop = [
        slice(max(0, -low), size - max(0, -high))
        for size, (low, high) in zip(x.shape, window.padding, strict=True)
    ]
    return x[tuple(crop)]


def _matrix(name: str, array: Any) -> np.ndarray:
    """Check that `array` is a matrix of real numbers, and return a copy in int64 or float64."""
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a matrix whose rows have equal lengths. Received: {array!r}."
        ) from error
    is_integer = jnp.issubdtype(array.dtype, jnp.integer)
    if not is_integer and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` must hold real numbers. Received: dtype={array.dtype}. "
            f"Convert it first: np.asarray({name}).astype(float)."
        )
    if array.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (rows, columns): one channel of one image. "
            f"Received: shape={array.shape}. {_slice_advice(name, array.ndim)}"
        )
    if array.size == 0:
        raise ValueError(
            f"`{name}` must have at least one row and one column. Received: shape={array.shape}. "
            f"Omit `{name}` for an example."
        )
    return array.astype("int64" if is_integer else "float64")


def _slice_advice(name: str, rank: int) -> str:
    """Suggest how to make a matrix of an array of another rank."""
    if rank < 2:
        return f"Write a single row as [[1, 2, 3]], or reshape: np.reshape({name}, (1, -1))."
    if rank == 4:
        part = "0, :, :, 0" if name == "x" else ":, :, 0, 0"
    else:
        part = ", ".join([":", ":"] + ["0"] * (rank - 2))
    return f"Pass a slice such as {name}[{part}]."


def _matrices(walk: Walkthrough) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the input and the kernel, each with its title and in all its forms."""
    yield "Input", walk.x
    if _is_padded(walk):
        (above, below), (left, right) = walk.window.padding
        sides = f"{above} above, {below} below, {left} left, {right} right"
        yield f"Padded input ({sides})", _padded(walk.x, walk.window)
    yield "Kernel", walk.kernel
    if walk.flip:
        yield "Kernel rotated by 180 degrees", walk.kernel[::-1, ::-1]


def _is_padded(walk: Walkthrough) -> bool:
    return walk.window.padding != ((0, 0), (0, 0))


def _title(name: str, array: np.ndarray) -> str:
    return f"{name}, {array.shape[0]} x {array.shape[1]}:"


def _size_lines(window: Window) -> list[str]:
    """Write out the formula of the output size for both axes."""
    return [
        f"{name} floor(({n}{_signed(sum(pads))} - {dilation}*({k}-1) - 1)/{stride}) + 1 = {output}"
        for name, n, pads, dilation, k, stride, output in zip(
            ("rows:   ", "columns:"),
            window.input,
            window.padding,
            window.dilation,
            window.taps,
            window.stride,
            window.output,
            strict=True,
        )
    ]


def _step_title(walk: Walkthrough, step: Step) -> str:
    number = step.row * walk.window.output[1] + step.column + 1
    rows, columns = _taps(walk.window, step.top, step.left)
    padded = " of the padded input" if _is_padded(walk) else ""
    return (
        f"Step {number} of {len(walk.steps)}, output ({step.row}, {step.column}): "
        f"the window covers {_span('row', rows)}, {_span('column', columns)}{padded}."
    )


def _span(name: str, taps: range) -> str:
    if len(taps) == 1:
        return f"{name} {taps[0]}"
    gap = f" in steps of {taps.step}" if taps.step > 1 else ""
    return f"{name}s {taps[0]} to {taps[-1]}{gap}"


def _product_lines(step: Step) -> list[str]:
    """Write every product, one line per row of the kernel; all lines but the last end in a plus."""
    return " +\n".join(
        " + ".join(
            f"({_short(pixel)})({_short(tap)})" for pixel, tap in zip(pixels, taps, strict=True)
        )
        for pixels, taps in zip(step.patch, step.kernel, strict=True)
    ).split("\n")


def _sum_line(step: Step) -> str:
    """Write the nonzero products and their sum."""
    first, *others = [term for term in step.products.flat if term != 0] or [0]
    if not others:
        reason = "the only product that is not 0" if first != 0 else "every product is 0"
        return f"{_short(step.value)} ({reason})"
    return _short(first) + "".join(map(_signed, others)) + f" = {_short(step.value)}"


def _signed(number: float) -> str:
    return f" {'-' if number < 0 else '+'} {_short(abs(number))}"


def _short(number: float) -> str:
    """Write whole numbers in full, and others to four significant digits."""
    whole = abs(number) < 1e15 and number == round(number)
    return str(int(number)) if whole else f"{number:.4g}"


def _section(title: str, *parts: RenderableType) -> Group:
    return Group(Text(f"\n{title}", style="bold"), *(Padding.indent(part, 2) for part in parts))


def _step_section(walk: Walkthrough, step: Step) -> Group:
    blocks = [
        _window_block(walk, step),
        _block("Kernel", _grid(step.kernel)),
        _block("Products", _grid(step.products)),
    ]
    return _section(
        _step_title(walk, step),
        Columns(blocks, padding=(0, 4)),
        Text("\n".join(_product_lines(step))),
        Text(_sum_line(step), style="bold"),
    )


def _window_block(walk: Walkthrough, step: Step) -> Group:
    """Show the input around the window; brackets mark the taps, also where there are no colours."""
    padded = _padded(walk.x, walk.window)
    taps = _taps(walk.window, step.top, step.left)
    rows, columns = (
        range(max(0, covered[0] - CONTEXT), min(size, covered[-1] + 1 + CONTEXT))
        for covered, size in zip(taps, padded.shape, strict=True)
    )
    cells = _aligned(padded[rows.start : rows.stop, columns.start : columns.stop])
    grid = Text(no_wrap=True, overflow="ellipsis")
    for row, line in zip(rows, cells, strict=True):
        grid.append("\n" if grid else "")
        for column, cell in zip(columns, line, strict=True):
            if row in taps[0] and column in taps[1]:
                grid.append(f"[{cell}]", style="bold reverse")
            else:
                grid.append(f" {cell} ")
    grid.rstrip()
    title = "Padded input" if _is_padded(walk) else "Input"
    if (len(rows), len(columns)) != padded.shape:
        title = f"{title}, {_span('row', rows)}, {_span('column', columns)}"
    return _block(title, grid)


def _block(title: str, grid: Text) -> Group:
    return Group(Text(title, style="italic"), grid)


def _grid(array: np.ndarray, style: str = "") -> Text:
    lines = "\n".join(" ".join(row) for row in _aligned(array))
    return Text(lines, style=style, no_wrap=True, overflow="ellipsis")


def _aligned(array: np.ndarray) -> list[list[str]]:
    """Write the numbers of a matrix, all equally wide."""
    cells = [[_short(number) for number in row] for row in array]
    width = max(len(cell) for row in cells for cell in row)
    return [[cell.rjust(width) for cell in row] for row in cells]
