"""The walk-through: a convolution by hand, one window at a time.

Every number that `jconv.conv` adds up is written out, which explains a convolution of a
few pixels and drowns anyone in one of a thousand: time, memory and paper all grow with
outputs times taps.

    >>> walk = walkthrough()
    >>> print(walk.output)
    [[6 6]
     [6 6]]
    >>> print(walk)  # doctest: +ELLIPSIS
    Cross-correlation, as in deep learning.
    ...
    Step 1 of 4, output (0, 0): the window covers rows 0 to 2, columns 0 to 2.
       1  2  3     -1  0  1
       5  6  7  *  -1  0  1
       9 10 11     -1  0  1
      (1)(-1) + (2)(0) + (3)(1) +
      (5)(-1) + (6)(0) + (7)(1) +
      (9)(-1) + (10)(0) + (11)(1)
      -1 + 3 - 5 + 7 - 9 + 11 = 6
    ...
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Real
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from jconv._core.geometry import Window, make_window
from jconv.kernels import prewitt

# Pixels shown around the window in each step on a terminal; the rest of a large input is left out.
SURROUNDINGS = 3

SIZE_RULE = "Output size, floor((n + pads - dilation*(k-1) - 1)/stride) + 1"


@dataclass(frozen=True, eq=False)
class Step:
    """One position of the window: the pixels under it, times the kernel, added up.

    Args:
      row: row of the output, from 0.
      column: column of the output, from 0.
      top: first row of the window in the padded input.
      left: first column of the window in the padded input.
      patch: the pixels that the taps meet.
      kernel: the taps; turned by 180 degrees where the walk-through flips.
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
class Walkthrough:
    """A convolution step by step: print it, or hand it to `rich.print`.

    Args:
      x: the input.
      kernel: the kernel, as given.
      flip: whether the kernel is turned by 180 degrees first.
      padding: the padding, as given; `window.padding` has it in pixels.
      window: how the kernel moves over the input.
      steps: one for every output, row by row.
      output: what `jconv.conv` computes, in int64 or float64.
    """

    x: Real[np.ndarray, "h w"]
    kernel: Real[np.ndarray, "kh kw"]
    flip: bool
    padding: Any
    window: Window
    steps: tuple[Step, ...]
    output: Real[np.ndarray, "ho wo"]

    def __str__(self) -> str:
        matrices = (f"{title}:\n{_indent(_lines(array))}" for title, array in _matrices(self))
        sizes = f"{SIZE_RULE}:\n{_indent(_size_lines(self.window))}"
        steps = (_step_text(self, step) for step in self.steps)
        output = f"{_title('Output', self.output)}:\n{_indent(_lines(self.output))}"
        return "\n\n".join([_rule(self), *matrices, sizes, *steps, output])

    def __repr__(self) -> str:
        return str(self)  # what a prompt or a notebook shows for `jconv.walkthrough()`

    def __rich__(self) -> RenderableType:
        matrices = [_block(title, _grid(_lines(array))) for title, array in _matrices(self)]
        return Group(
            _panel("Walk-through", Text(_rule(self)), Columns(matrices, padding=(0, 4))),
            _panel(SIZE_RULE, Text("\n".join(_size_lines(self.window)))),
            *(_step_panel(self, step) for step in self.steps),
            _panel(_title("Output", self.output), _grid(_lines(self.output), style="bold")),
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
    """Convolves by hand and keeps every product, for one channel of one image.

    Computes what `jconv.conv(x[None, :, :, None], kernel[:, :, None, None], ...)` does,
    as plain sums in float64, or int64 where both arrays hold whole numbers by their dtype.

    Args:
      x: the input, (rows, columns); None is 1 to 16 in four rows.
      kernel: the kernel, (rows, columns); None is `jconv.kernels.prewitt()`.
      stride: pixels between neighbouring windows; one int, or (rows, columns).
      padding: a name, an int or pairs, as `jconv.conv` takes it; the pixels added are 0.
      dilation: pixels between neighbouring taps; one int, or (rows, columns).
      flip: turns the kernel by 180 degrees first: the mathematician's convolution.

    Raises:
      ValueError: if an array is not two-dimensional, empty or not of real numbers, or
        if the window does not fit.
    """
    x = _matrix("x", np.arange(1, 17).reshape(4, 4) if x is None else x)
    kernel = _matrix("kernel", np.asarray(prewitt(), dtype="int64") if kernel is None else kernel)
    window = make_window(x.shape, kernel.shape, stride=stride, padding=padding, dilation=dilation)

    padded = _padded(x, window)
    turned = kernel[::-1, ::-1] if flip else kernel
    steps = tuple(
        _step(padded, turned, window, row, column) for row, column in np.ndindex(*window.output)
    )
    output = np.array([step.value for step in steps]).reshape(window.output)
    return Walkthrough(x, kernel, flip, padding, window, steps, output)


def _step(padded, kernel, window, row, column):
    top, left = row * window.stride[0], column * window.stride[1]
    rows, columns = _taps(window, top, left)
    patch = padded[np.ix_(rows, columns)]
    products = patch * kernel
    return Step(row, column, top, left, patch, kernel, products, products.sum().item())


def _taps(window, top, left):
    """Rows and columns of the padded input that meet a tap."""
    rows, columns = window.span
    return (
        range(top, top + rows, window.dilation[0]),
        range(left, left + columns, window.dilation[1]),
    )


def _padded(x, window):
    """The input between zeros; negative padding crops."""
    x = np.pad(x, [(max(0, low), max(0, high)) for low, high in window.padding])
    crop = [
        slice(max(0, -low), size - max(0, -high))
        for size, (low, high) in zip(x.shape, window.padding, strict=True)
    ]
    return x[tuple(crop)]


def _matrix(name, array):
    """A copy in int64 or float64, after checking that it is a matrix of real numbers."""
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a matrix whose rows are equally long. Received: {array!r}."
        ) from error
    whole = jnp.issubdtype(array.dtype, jnp.integer)
    if not whole and not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` must hold real numbers. Received: dtype={array.dtype}. Convert it "
            f"first, as in np.asarray({name}).astype(float)."
        )
    if array.ndim != 2:
        raise ValueError(
            f"`{name}` must have shape (rows, columns): one channel of one image. "
            f"Received: shape={array.shape}. {_slice_advice(name, array.ndim)}"
        )
    if array.size == 0:
        raise ValueError(
            f"`{name}` must have at least one row and one column. Received: shape={array.shape}. "
            f"Leave `{name}` out for an example."
        )
    return array.astype("int64" if whole else "float64")


def _slice_advice(name, rank):
    if rank < 2:
        return f"Write numbers in a row as [[1, 2, 3]], or reshape: np.reshape({name}, (1, -1))."
    if rank == 4:
        part = "0, :, :, 0" if name == "x" else ":, :, 0, 0"
    else:
        part = ", ".join([":", ":"] + ["0"] * (rank - 2))
    return f"Pass a slice such as {name}[{part}]."


def _rule(walk):
    name = "Cross-correlation, as in deep learning."
    if walk.flip:
        name = "Convolution, as in mathematics: the kernel is turned by 180 degrees first."
    rule = "Lay the kernel on the input, multiply what meets, add up, move on."
    return f"{name}\n{rule}\nRows and columns count from 0."


def _matrices(walk) -> Iterator[tuple[str, np.ndarray]]:
    """What goes in, each with its title."""
    yield _title("Input", walk.x), walk.x
    if _is_padded(walk):
        (above, below), (left, right) = walk.window.padding
        sides = f"{above} above, {below} below, {left} left, {right} right"
        padded = _padded(walk.x, walk.window)
        yield _title(f"Padded input ({sides})", padded), padded
    yield _title("Kernel", walk.kernel), walk.kernel
    if walk.flip:
        turned = walk.kernel[::-1, ::-1]
        yield _title("Kernel turned by 180 degrees", turned), turned


def _title(name, array):
    return f"{name}, {array.shape[0]} x {array.shape[1]}"


def _size_lines(window):
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


def _where(walk, step):
    rows, columns = _taps(walk.window, step.top, step.left)
    padded = " of the padded input" if _is_padded(walk) else ""
    return f"the window covers {_span('row', rows)}, {_span('column', columns)}{padded}."


def _span(name, taps):
    if len(taps) == 1:
        return f"{name} {taps[0]}"
    gap = f" in steps of {taps.step}" if taps.step > 1 else ""
    return f"{name}s {taps[0]} to {taps[-1]}{gap}"


def _is_padded(walk):
    return walk.window.padding != ((0, 0), (0, 0))


def _product_lines(step):
    """Every product, a line for each row of the kernel; a plus ends all lines but the last."""
    return " +\n".join(
        " + ".join(
            f"({_short(pixel)})({_short(tap)})" for pixel, tap in zip(pixels, taps, strict=True)
        )
        for pixels, taps in zip(step.patch, step.kernel, strict=True)
    ).split("\n")


def _sum_line(step):
    """The products that are not zero, and their sum."""
    first, *others = [term for term in step.products.flat if term != 0] or [0]
    if not others:
        alone = "the only product that is not 0" if first != 0 else "every product is 0"
        return f"{_short(step.value)} ({alone})"
    return _short(first) + "".join(map(_signed, others)) + f" = {_short(step.value)}"


def _signed(number):
    return f" {'-' if number < 0 else '+'} {_short(abs(number))}"


def _short(number):
    """Whole numbers in full, others to four figures."""
    whole = abs(number) < 1e15 and number == round(number)
    return str(int(number)) if whole else f"{number:.4g}"


def _lines(array):
    """The matrix in aligned columns, a line for each row."""
    cells = [[_short(number) for number in row] for row in array]
    width = max(len(cell) for row in cells for cell in row)
    return [" ".join(cell.rjust(width) for cell in row) for row in cells]


def _step_text(walk, step):
    title = f"{_step_title(walk, step)}: {_where(walk, step)}"
    patch, kernel = _lines(step.patch), _lines(step.kernel)
    middle = (len(patch) - 1) // 2
    beside = [
        f"{left}  {'*' if row == middle else ' '}  {right}"
        for row, (left, right) in enumerate(zip(patch, kernel, strict=True))
    ]
    return f"{title}\n{_indent([*beside, *_product_lines(step), _sum_line(step)])}"


def _step_title(walk, step):
    number = step.row * walk.window.output[1] + step.column + 1
    return f"Step {number} of {len(walk.steps)}, output ({step.row}, {step.column})"


def _indent(lines):
    return "\n".join(f"  {line}" for line in lines)


def _step_panel(walk, step):
    blocks = [
        _window_block(walk, step),
        _block("Kernel", _grid(_lines(step.kernel))),
        _block("Products", _grid(_lines(step.products))),
    ]
    where = _where(walk, step)
    return _panel(
        _step_title(walk, step),
        Text(where[0].upper() + where[1:]),
        Columns(blocks, padding=(0, 4)),
        Text("\n" + "\n".join(_product_lines(step))),
        Text(_sum_line(step), style="bold"),
    )


def _window_block(walk, step):
    """The input around the window; brackets, seen without colours too, mark what meets a tap."""
    padded = _padded(walk.x, walk.window)
    taps = _taps(walk.window, step.top, step.left)
    rows, columns = (
        range(max(0, taken[0] - SURROUNDINGS), min(size, taken[-1] + 1 + SURROUNDINGS))
        for taken, size in zip(taps, padded.shape, strict=True)
    )
    cells = {at: _short(padded[at]) for at in product(rows, columns)}
    width = max(map(len, cells.values()))

    grid = _grid([])
    for row in rows:
        for column in columns:
            cell = cells[row, column].rjust(width)
            if row in taps[0] and column in taps[1]:
                grid.append(f"[{cell}]", style="bold reverse")
            else:
                grid.append(f" {cell} ")
        grid.append("\n")
    grid.rstrip()
    title = "Padded input" if _is_padded(walk) else "Input"
    if (len(rows), len(columns)) != padded.shape:
        title = f"{title}, {_span('row', rows)}, {_span('column', columns)}"
    return _block(title, grid)


def _block(title, grid):
    # The blank line keeps blocks apart where a narrow terminal stacks them.
    return Group(Text(f"\n{title}", style="italic"), grid)


def _grid(lines, style=""):
    return Text("\n".join(lines), style=style, no_wrap=True, overflow="ellipsis")


def _panel(title, *parts):
    return Panel(Group(*parts), title=title, title_align="left")
