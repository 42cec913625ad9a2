import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jconv
from jconv._core.geometry import Window, make_window


def test_output_size_of_the_text():
    # floor((n + pads - dilation * (k - 1) - 1) / stride) + 1, worked out by hand.
    assert jconv.output_size(4, 3) == 2
    assert jconv.output_size(224, 3, padding=1) == 224
    assert jconv.output_size(224, 7, stride=2, padding=3) == 112
    assert jconv.output_size(7, 3, stride=2) == 3
    assert jconv.output_size(7, 3, dilation=3) == 1
    assert jconv.output_size(10, 4, padding=(0, 1)) == 8
    assert jconv.output_size(9, 3, stride=2, padding="SAME") == 5


@given(
    n=st.integers(1, 30), k=st.integers(1, 6), stride=st.integers(1, 4),
    low=st.integers(0, 4), high=st.integers(0, 4), dilation=st.integers(1, 3),
)  # fmt: skip
def test_output_size_counts_the_places_where_the_kernel_fits(n, k, stride, low, high, dilation):
    padded = n + low + high
    places = sum(start + dilation * (k - 1) < padded for start in range(0, padded, stride))
    arguments = (n, k, stride, (low, high), dilation)
    if places:
        assert jconv.output_size(*arguments) == places
    else:
        with pytest.raises(ValueError, match="nothing is left"):
            jconv.output_size(*arguments)


def test_nothing_left_says_what_would_help():
    with pytest.raises(ValueError, match=r"spans 9 pixels \(kernel 5, dilation 2\).* has 8 "):
        jconv.output_size(6, 5, padding=1, dilation=2)


windows = st.integers(1, 2).flatmap(
    lambda rank: st.builds(
        Window,
        *[st.tuples(*[st.integers(1, high)] * rank) for high in (6, 4, 3)],
        st.tuples(*[st.tuples(st.integers(-2, 4), st.integers(-2, 4))] * rank),
        *[st.tuples(*[st.integers(1, 3)] * rank)] * 2,
    )
)


def meetings(window):
    """All (input, tap, output) along the first axis that meet, by the definition."""
    low, gap = window.padding[0][0], window.input_dilation[0]
    return {
        (i, t, o)
        for i, t, o in itertools.product(
            range(window.input[0]), range(window.taps[0]), range(window.output[0])
        )
        if o * window.stride[0] + t * window.dilation[0] - low == i * gap
    }


@given(windows)
def test_windows_of_derivatives_meet_where_the_window_does(window):
    gradient, taps = window.input_gradient(), window.taps[0]
    assert gradient.output == window.input
    mirrored = {(o, taps - 1 - t, i) for i, t, o in meetings(window)}
    assert meetings(gradient) == mirrored

    gradient = window.kernel_gradient()
    assert gradient.output == window.taps
    assert meetings(gradient) == {(i, o, t) for i, t, o in meetings(window)}


def test_same_puts_the_odd_pixel_after_and_same_lower_before():
    assert make_window((5,), (4,), padding="SAME").padding == ((1, 2),)
    assert make_window((5,), (4,), padding="SAME_LOWER").padding == ((2, 1),)


def test_equal_windows_hash_alike():
    a, b = (make_window((5, 5), (3, 3), padding=1) for _ in range(2))
    assert a == b and hash(a) == hash(b)
    assert a != make_window((5, 5), (3, 3), padding=2)
