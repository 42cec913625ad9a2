"""The walk-through: its numbers, and the page that prints all of them."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import jconv
from jconv.walkthrough import walkthrough

EXAMPLE = np.arange(1, 17).reshape(4, 4)
PREWITT = np.array([[-1, 0, 1]] * 3)

EXAMPLE_PAGE = """\
Cross-correlation, as in deep learning.
At each position of the window, multiply each pixel by the tap over it and sum the products.
Rows and columns count from 0.

Input, 4 x 4:
   1  2  3  4
   5  6  7  8
   9 10 11 12
  13 14 15 16

Kernel, 3 x 3:
  -1  0  1
  -1  0  1
  -1  0  1

Output size, floor((n + pads - dilation*(k-1) - 1)/stride) + 1:
  rows:    floor((4 + 0 - 1*(3-1) - 1)/1) + 1 = 2
  columns: floor((4 + 0 - 1*(3-1) - 1)/1) + 1 = 2

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

Step 2 of 4, output (0, 1): the window covers rows 0 to 2, columns 1 to 3.
  Input               Kernel      Products
    1 [ 2][ 3][ 4]    -1  0  1     -2   0   4
    5 [ 6][ 7][ 8]    -1  0  1     -6   0   8
    9 [10][11][12]    -1  0  1    -10   0  12
   13  14  15  16
  (2)(-1) + (3)(0) + (4)(1) +
  (6)(-1) + (7)(0) + (8)(1) +
  (10)(-1) + (11)(0) + (12)(1)
  -2 + 4 - 6 + 8 - 10 + 12 = 6

Step 3 of 4, output (1, 0): the window covers rows 1 to 3, columns 0 to 2.
  Input               Kernel      Products
    1   2   3   4     -1  0  1     -5   0   7
  [ 5][ 6][ 7]  8     -1  0  1     -9   0  11
  [ 9][10][11] 12     -1  0  1    -13   0  15
  [13][14][15] 16
  (5)(-1) + (6)(0) + (7)(1) +
  (9)(-1) + (10)(0) + (11)(1) +
  (13)(-1) + (14)(0) + (15)(1)
  -5 + 7 - 9 + 11 - 13 + 15 = 6

Step 4 of 4, output (1, 1): the window covers rows 1 to 3, columns 1 to 3.
  Input               Kernel      Products
    1   2   3   4     -1  0  1     -6   0   8
    5 [ 6][ 7][ 8]    -1  0  1    -10   0  12
    9 [10][11][12]    -1  0  1    -14   0  16
   13 [14][15][16]
  (6)(-1) + (7)(0) + (8)(1) +
  (10)(-1) + (11)(0) + (12)(1) +
  (14)(-1) + (15)(0) + (16)(1)
  -6 + 8 - 10 + 12 - 14 + 16 = 6

Output, 2 x 2:
  6 6
  6 6"""


@pytest.fixture(autouse=True)
def terminal_width(monkeypatch):
    """Set the width of the terminal, which long lines are wrapped to."""
    monkeypatch.setenv("COLUMNS", "120")


def test_page_of_the_example():
    assert str(walkthrough()) == EXAMPLE_PAGE
    assert repr(walkthrough()) == EXAMPLE_PAGE
    assert str(walkthrough(EXAMPLE, PREWITT)) == EXAMPLE_PAGE


def test_every_output_of_the_example_is_six():
    walk = walkthrough()

    np.testing.assert_array_equal(walk.output, [[6, 6], [6, 6]])
    np.testing.assert_array_equal(walk.x, EXAMPLE)
    np.testing.assert_array_equal(walk.kernel, PREWITT)
    assert [step.value for step in walk.steps] == [6, 6, 6, 6]
    assert "= 7" not in str(walk)
    assert "7 6" not in str(walk)


def test_flip_rotates_the_kernel():
    walk = walkthrough(flip=True)
    page = str(walk)

    np.testing.assert_array_equal(walk.output, [[-6, -6], [-6, -6]])
    np.testing.assert_array_equal(walk.kernel, PREWITT)
    np.testing.assert_array_equal(walk.steps[0].kernel, PREWITT[::-1, ::-1])
    assert page.startswith("Convolution, as in mathematics: the kernel is rotated by 180 degrees")
    assert "Kernel, 3 x 3:\n  -1  0  1\n" in page
    assert "Kernel rotated by 180 degrees, 3 x 3:\n   1  0 -1\n" in page
    assert "  (1)(1) + (2)(0) + (3)(-1) +\n" in page
    assert "  1 - 3 + 5 - 7 + 9 - 11 = -6\n" in page
    assert page.endswith("Output, 2 x 2:\n  -6 -6\n  -6 -6")


def test_flip_reverses_both_axes():
    x = np.zeros((3, 3))
    x[1, 1] = 1
    kernel = np.arange(9).reshape(3, 3)

    # The response to an impulse is the kernel in a convolution, and rotated in a correlation.
    convolved = walkthrough(x, kernel, padding="SAME", flip=True).output
    correlated = walkthrough(x, kernel, padding="SAME").output
    np.testing.assert_array_equal(convolved, kernel)
    np.testing.assert_array_equal(correlated, kernel[::-1, ::-1])


SIDES = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


@st.composite
def cases(draw):
    kernel_shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    # The window fits even after cropping one pixel on every side.
    shape = [
        (taps - 1) * gap + 3 + draw(st.integers(0, 4))
        for taps, gap in zip(kernel_shape, dilation, strict=True)
    ]
    options = {
        "stride": draw(st.one_of(st.integers(1, 3), st.tuples(*[st.integers(1, 3)] * 2))),
        "padding": draw(
            st.one_of(
                st.sampled_from(["VALID", "SAME", "SAME_LOWER", "FULL"]),
                st.integers(0, 3),
                st.tuples(SIDES, SIDES),
            )
        ),
        "dilation": dilation,
        "flip": draw(st.booleans()),
    }
    return shape, kernel_shape, options, draw(st.integers(0, 99))


# Every example compiles a program, so a few dozen take a few seconds.
@settings(max_examples=40, deadline=None)
@given(cases())
def test_output_equals_conv(case):
    shape, kernel_shape, options, seed = case
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, shape)
    kernel = rng.integers(-9, 10, kernel_shape)

    walk = walkthrough(x, kernel, **options)

    y = jconv.conv(
        jnp.asarray(x, "float32")[None, :, :, None],
        jnp.asarray(kernel, "float32")[:, :, None, None],
        algorithm="xla",
        **options,
    )
    # Sums of small integers are exact in float32.
    np.testing.assert_array_equal(walk.output, y[0, :, :, 0])
    assert walk.output.dtype == np.int64
    for step in walk.steps:
        assert step.value == walk.output[step.row, step.column]
        assert step.value == (step.patch * step.kernel).sum()
        np.testing.assert_array_equal(step.products, step.patch * step.kernel)
    assert [(step.row, step.column) for step in walk.steps] == list(np.ndindex(walk.output.shape))


def test_step_describes_the_position_of_its_window():
    walk = walkthrough(stride=(1, 2), padding=((2, 0), (2, 3)), dilation=(1, 2))
    step = walk.steps[-1]

    assert (step.row, step.column) == (3, 2)
    assert (step.top, step.left) == (3, 4)
    np.testing.assert_array_equal(step.patch, [[7, 0, 0], [11, 0, 0], [15, 0, 0]])
    assert walk.padding == ((2, 0), (2, 3))
    page = str(walk)
    assert "Padded input (2 above, 0 below, 2 left, 3 right), 6 x 9:\n" in page
    assert "  rows:    floor((4 + 2 - 1*(3-1) - 1)/1) + 1 = 4\n" in page
    assert "  columns: floor((4 + 5 - 2*(3-1) - 1)/2) + 1 = 3\n" in page
    assert (
        "Step 12 of 12, output (3, 2): the window covers rows 3 to 5, "
        "columns 4 to 8 in steps of 2 of the padded input.\n"
    ) in page


def test_negative_padding_crops():
    walk = walkthrough(padding=((-1, 0), (0, -1)), kernel=[[1]])

    np.testing.assert_array_equal(walk.output, EXAMPLE[1:, :-1])
    page = str(walk)
    assert "  rows:    floor((4 - 1 - 1*(1-1) - 1)/1) + 1 = 3\n" in page
    assert "right), 3 x 3:\n   5  6  7\n   9 10 11\n  13 14 15\n" in page


def test_output_is_zero_where_padding_moves_the_input_out_of_the_window():
    walk = walkthrough(padding=((-5, 5), (0, 0)), kernel=[[1]])
    np.testing.assert_array_equal(walk.output, np.zeros((4, 4)))


def test_floats_have_four_digits_and_whole_floats_print_as_integers():
    page = str(walkthrough([[1.0, 1 / 3, -2e-7]], [[2.0, 0.5, 1.0]]))

    assert "  (1)(2) + (0.3333)(0.5) + (-2e-07)(1)\n" in page
    assert "  2 + 0.1667 - 2e-07 = 2.167\n" in page


def test_sums_without_nonzero_terms_are_explained():
    page = str(walkthrough([[1, 2, 3]], [[0, 5]]))
    assert "\n  10 (the only product that is not 0)\n" in page
    assert "\n  0 (every product is 0)\n" in str(walkthrough([[0, 0]], [[1]]))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "uint8"])
def test_accepts_any_real_dtype_without_overflow(dtype):
    x = jnp.full((3, 3), 100, dtype)

    walk = walkthrough(x, x)

    assert walk.output.tolist() == [[90000]]
    assert walk.output.dtype == ("int64" if "int" in dtype else "float64")


def test_input_is_copied():
    x = EXAMPLE.copy()
    walk = walkthrough(x)
    x[0, 0] = 99
    assert walk.x[0, 0] == 1


def terminal(walk, **options):
    console = Console(width=80, **options)
    with console.capture() as capture:
        console.print(walk)
    return capture.get()


def test_terminal_without_styles_marks_the_window_with_brackets():
    page = terminal(walkthrough())

    assert "\n  [ 1][ 2][ 3]  4     -1  0  1    -1  0  3 " in page
    assert "\n    1 [ 2][ 3][ 4]    -1  0  1     -2   0   4 " in page
    assert "\n   13 [14][15][16] " in page
    assert "\n  -1 + 3 - 5 + 7 - 9 + 11 = 6" in page
    assert "\x1b" not in page


def test_terminal_highlights_the_window_also_without_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    page = terminal(walkthrough(dilation=(1, 3), kernel=[[1, 2]]), force_terminal=True)

    assert "\x1b[1;7m[ 1]\x1b[0m  2   3 \x1b[1;7m[ 4]\x1b[0m" in page


@pytest.mark.parametrize("flip", [False, True])
def test_large_input_fits_in_80_columns(flip, rng):
    x = rng.normal(size=(28, 28))
    page = terminal(walkthrough(x, np.ones((3, 3)) / 9, stride=20, padding=2, flip=flip))

    assert max(map(len, page.splitlines())) == 80
    assert "…\n" in page
    assert "Padded input, rows 17 to 25, columns 17 to 25" in page


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": np.zeros((1, 4, 4, 3))}, r"`x` must have shape \(rows, col.*3\).*x\[0, :, :, 0\]"),
        ({"x": np.zeros((4, 4, 3))}, r"`x` must have shape.*\(4, 4, 3\).*x\[:, :, 0\]"),
        ({"x": np.zeros(4)}, r"`x` must have shape.*\(4,\).*\[\[1, 2, 3\]\]"),
        ({"x": 3}, r"`x` must have shape.*shape=\(\)"),
        ({"kernel": np.zeros((3, 3, 1, 1))}, r"`kernel` must have shape.*kernel\[:, :, 0, 0\]"),
        ({"x": np.zeros((0, 4))}, r"`x` must have at least one row.*\(0, 4\)"),
        ({"kernel": np.zeros((3, 0))}, r"`kernel` must have at least one row.*\(3, 0\)"),
        ({"x": [["a", "b"]]}, r"`x` must hold real numbers.*<U1.*astype\(float\)"),
        ({"x": [[True, False]]}, r"`x` must hold real numbers.*bool.*astype\(float\)"),
        ({"kernel": [[1j]]}, "`kernel` must hold real numbers.*complex128"),
        ({"x": [[1, 2], [3]]}, r"`x` must be a matrix whose rows have equal lengths.*\[3\]\]"),
        ({"kernel": np.zeros((5, 3))}, "The kernel does not fit: along spatial axis 0 it spans 5"),
        ({"dilation": 2}, "The kernel does not fit.*dilation 2"),
        ({"stride": 0}, "`stride` must be an int of at least 1.*0"),
        ({"padding": "SOME"}, "`padding` must be one of.*'SOME'"),
    ],
)
def test_invalid_argument_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        walkthrough(**arguments)
