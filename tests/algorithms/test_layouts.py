"""Every layout of input, kernel and output."""

import pytest
from helpers.conformance import assert_close
from helpers.definition import conv_by_definition
from helpers.entries import ENTRIES, any_algorithm

import jconv

LAYOUTS = [
    ("NWC", (0, 1, 2), (0, 1, 2)),
    ("NCW", (0, 2, 1), (2, 1, 0)),
    ("NHWC", (0, 1, 2, 3), (0, 1, 2, 3)),
    ("NCHW", (0, 3, 1, 2), (3, 2, 0, 1)),
    ("NDHWC", (0, 1, 2, 3, 4), (0, 1, 2, 3, 4)),
    ("NCDHW", (0, 4, 1, 2, 3), (4, 3, 0, 1, 2)),
    (("CHWN", "IHWO", "NHWC"), (3, 1, 2, 0), (2, 0, 1, 3)),
]


@any_algorithm()
@pytest.mark.parametrize("layout, x_order, kernel_order", LAYOUTS, ids=lambda v: str(v))
def test_layouts_match_the_definition(algorithm, layout, x_order, kernel_order, rng):
    rank = len(x_order) - 2
    x = rng.normal(size=(2, *(5, 4, 3)[:rank], 4)).astype("float32")
    kernel = rng.normal(size=(*(3, 2, 2)[:rank], 2, 6)).astype("float32")
    options = {"stride": (2, 1, 1)[:rank], "groups": 2, "flip": True}
    y = jconv.conv(x.transpose(x_order), kernel.transpose(kernel_order), layout=layout,
                   algorithm=ENTRIES[algorithm], **options)  # fmt: skip
    expected = conv_by_definition(x, kernel, **options)
    if isinstance(layout, str):
        expected = expected.transpose(x_order)
    assert_close(y, expected, kernel.size, slack=8)
