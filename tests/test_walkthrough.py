"""The walk-through: the right numbers, and every one of them on the page."""

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
Lay the kernel on the input, multiply what meets, add up, move on.
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
   1  2  3     -1  0  1
   5  6  7  *  -1  0  1
   9 10 11     -1  0  1
  (1)(-1) + (2)(0) + (3)(1) +
  (5)(-1) + (6)(0) + (7)(1) +
  (9)(-1) + (10)(0) + (11)(1)
  -1 + 3 - 5 + 7 - 9 + 11 = 6

Step 2 of 4, output (0, 1): the window covers rows 0 to 2, columns 1 to 3.
   2  3  4     -1  0  1
   6  7  8  *  -1  0  1
  10 11 12     -1  0  1
  (2)(-1) + (3)(0) + (4)(1) +
  (6)(-1) + (7)(0) + (8)(1) +
  (10)(-1) + (11)(0) + (12)(1)
  -2 + 4 - 6 + 8 - 10 + 12 = 6

Step 3 of 4, output (1, 0): the window covers rows 1 to 3, columns 0 to 2.
   5  6  7     -1  0  1
   9 10 11  *  -1  0  1
  13 14 15     -1  0  1
  (5)(-1) + (6)(0) + (7)(1) +
  (9)(-1) + (10)(0) + (11)(1) +
  (13)(-1) + (14)(0) + (15)(1)
  -5 + 7 - 9 + 11 - 13 + 15 = 6

Step 4 of 4, output (1, 1): the window covers rows 1 to 3, columns 1 to 3.
   6  7  8     -1  0  1
  10 11 12  *  -1  0  1
  14 15 16     -1  0  1
  (6)(-1) + (7)(0) + (8)(1) +
  (10)(-1) + (11)(0) + (12)(1) +
  (14)(-1) + (15)(0) + (16)(1)
  -6 + 8 - 10 + 12 - 14 + 16 = 6

Output, 2 x 2:
  6 6
  6 6"""


def test_the_example_is_written_out_in_full():
    assert str(walkthrough()) == EXAMPLE_PAGE
    assert repr(walkthrough()) == EXAMPLE_PAGE
    assert str(walkthrough(EXAMPLE, PREWITT)) == EXAMPLE_PAGE


def test_the_example_gives_six_everywhere_and_never_seven():
    walk = walkthrough()

    np.testing.assert_array_equal(walk.output, [[6, 6], [6, 6]])
    np.testing.assert_array_equal(walk.x, EXAMPLE)
    np.testing.assert_array_equal(walk.kernel, PREWITT)
    assert [step.value for step in walk.steps] == [6, 6, 6, 6]
    assert "= 7" not in str(walk)
    assert "7 6" not in str(walk)


def test_flip_turns_the_kernel_and_says_so():
    walk = walkthrough(flip=True)
    page = str(walk)

    np.testing.assert_array_equal(walk.output, [[-6, -6], [-6, -6]])
    np.testing.assert_array_equal(walk.kernel, PREWITT)
    np.testing.assert_array_equal(walk.steps[0].kernel, PREWITT[::-1, ::-1])
    assert page.startswith("Convolution, as in mathematics: the kernel is turned by 180 degrees")
    assert "Kernel, 3 x 3:\n  -1  0  1\n" in page
    assert "Kernel turned by 180 degrees, 3 x 3:\n   1  0 -1\n" in page
    assert "  (1)(1) + (2)(0) + (3)(-1) +\n" in page
    assert "  1 - 3 + 5 - 7 + 9 - 11 = -6\n" in page
    assert page.endswith("Output, 2 x 2:\n  -6 -6\n  -6 -6")


def test_flip_turns_rows_as_well_as_columns():
    x = np.zeros((3, 3))
    x[1, 1] = 1
    kernel = np.arange(9).reshape(3, 3)

    # An impulse comes back as the kernel from a convolution, turned from a correlation.
    convolved = walkthrough(x, kernel, padding="SAME", flip=True).output
    correlated = walkthrough(x, kernel, padding="SAME").output
    np.testing.assert_array_equal(convolved, kernel)
    np.testing.assert_array_equal(correlated, kernel[::-1, ::-1])


SIDES = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


@st.composite
def cases(draw):
    kernel_shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    # Large enough to hold the window after a crop of one on every side.
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


# Every example compiles anew, so a few dozen are what a few seconds allow.
@settings(max_examples=40, deadline=None)
@given(cases())
def test_adds_up_to_what_conv_computes(case):
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
    # Small whole numbers, which float32 adds exactly.
    np.testing.assert_array_equal(walk.output, y[0, :, :, 0])
    assert walk.output.dtype == np.int64
    for step in walk.steps:
        assert step.value == walk.output[step.row, step.column]
        assert step.value == (step.patch * step.kernel).sum()
        np.testing.assert_array_equal(step.products, step.patch * step.kernel)
    assert [(step.row, step.column) for step in walk.steps] == list(np.ndindex(walk.output.shape))


def test_a_step_says_where_its_window_lies():
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


def test_padding_and_cropping_may_move_the_input_out_of_sight():
    walk = walkthrough(padding=((-5, 5), (0, 0)), kernel=[[1]])
    np.testing.assert_array_equal(walk.output, np.zeros((4, 4)))


def test_floats_are_short_and_whole_floats_print_as_integers():
    page = str(walkthrough([[1.0, 1 / 3, -2e-7]], [[2.0, 0.5, 1.0]]))

    assert "  (1)(2) + (0.3333)(0.5) + (-2e-07)(1)\n" in page
    assert "  2 + 0.1667 - 2e-07 = 2.167\n" in page


def test_sums_of_few_terms_say_what_happened_to_the_others():
    page = str(walkthrough([[1, 2, 3]], [[0, 5]]))
    assert "\n  10 (the only product that is not 0)\n" in page
    assert "\n  0 (every product is 0)\n" in str(walkthrough([[0, 0]], [[1]]))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8", "uint8"])
def test_takes_any_real_jax_array_and_multiplies_without_wrapping(dtype):
    x = jnp.full((3, 3), 100, dtype)

    walk = walkthrough(x, x)

    assert walk.output.tolist() == [[90000]]
    assert walk.output.dtype == ("int64" if "int" in dtype else "float64")


def test_keeps_its_own_copy_of_the_input():
    x = EXAMPLE.copy()
    walk = walkthrough(x)
    x[0, 0] = 99
    assert walk.x[0, 0] == 1


def terminal(walk, **options):
    console = Console(width=80, **options)
    with console.capture() as capture:
        console.print(walk)
    return capture.get()


def test_a_terminal_without_styles_shows_the_window_and_the_sum():
    page = terminal(walkthrough())

    assert "│ [ 1][ 2][ 3]  4     -1  0  1    -1  0  3 " in page
    assert "│   1 [ 2][ 3][ 4]    -1  0  1     -2   0   4 " in page
    assert "│  13 [14][15][16] " in page
    assert "│ -1 + 3 - 5 + 7 - 9 + 11 = 6 " in page
    assert "\x1b" not in page


def test_a_terminal_highlights_the_window_with_no_color_too(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    page = terminal(walkthrough(dilation=(1, 3), kernel=[[1, 2]]), force_terminal=True)

    assert "\x1b[1;7m[ 1]\x1b[0m  2   3 \x1b[1;7m[ 4]\x1b[0m" in page


@pytest.mark.parametrize("flip", [False, True])
def test_a_large_input_stays_within_80_columns(flip, rng):
    x = rng.normal(size=(28, 28))
    page = terminal(walkthrough(x, np.ones((3, 3)) / 9, stride=20, padding=2, flip=flip))

    assert max(map(len, page.splitlines())) == 80
    assert "… │" in page
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
        ({"x": [[1, 2], [3]]}, r"`x` must be a matrix whose rows are equally long.*\[3\]\]"),
        ({"kernel": np.zeros((5, 3))}, "The kernel does not fit: along spatial axis 0 it spans 5"),
        ({"dilation": 2}, "The kernel does not fit.*dilation 2"),
        ({"stride": 0}, "`stride` must be an int of at least 1.*0"),
        ({"padding": "SOME"}, "`padding` must be one of.*'SOME'"),
    ],
)
def test_teaches_what_is_allowed(arguments, message):
    with pytest.raises(ValueError, match=message):
        walkthrough(**arguments)
