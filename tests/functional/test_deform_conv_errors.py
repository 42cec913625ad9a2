"""Errors of `jconv.deform_conv`."""

import numpy as np
import pytest
from helpers.valid_calls import assert_error

import jconv

X, KERNEL = np.ones((2, 6, 5, 4), np.float32), np.ones((3, 2, 4, 8), np.float32)
OFFSET, MASK = np.ones((2, 4, 4, 1, 3, 2, 2), np.float32), np.ones((2, 4, 4, 1, 3, 2), np.float32)
EXPECTED_SHAPE = "`offset` must have the shape (2, 4, 4, 1, 3, 2, 2)"
INVALID_CALLS = [
    (dict(offset=OFFSET[..., :1]), EXPECTED_SHAPE, "offset.shape=(2, 4, 4, 1, 3, 2, 1)"),
    (dict(offset=OFFSET[:1]), EXPECTED_SHAPE, "offset.shape=(1, 4, 4, 1, 3, 2, 2)"),
    (dict(offset=OFFSET[:, :3]), "(batch, *output, offset_groups, *taps, rank)", "(2, 3, 4, 1"),
    (dict(offset=np.ones((2, 12, 4, 4))), "for torchvision's, see", "offset.shape=(2, 12, 4, 4)"),
    (dict(padding="SAME"), "(2, 6, 5, 1, 3, 2, 2), pixels along each", "(2, 4, 4, 1, 3, 2, 2)"),
    (dict(stride=2), "(2, 2, 2, 1, 3, 2, 2), pixels along each", "Check `offset_groups`, `stride`"),
    (dict(offset_groups=2), "(2, 4, 4, 2, 3, 2, 2), pixels", "Check `offset_groups`"),
    (dict(offset=OFFSET + 1j), "`offset` must be real numbers", "complex64"),
    (dict(offset=OFFSET > 0), "`offset` must be real numbers", "bool"),
    (dict(offset=None), "`offset` must be an array", "NoneType"),
    (dict(mask=MASK[..., 0]), "`mask` must have the shape (2, 4, 4, 1, 3, 2)", "(2, 4, 4, 1, 3)"),
    (dict(mask=MASK[..., None]), "a weight for each tap: (batch, *output, offset_groups, *taps),",
     "mask.shape=(2, 4, 4, 1, 3, 2, 1)"),
    (dict(mask=MASK[:, :, :1]), "`mask` must have the shape (2, 4, 4, 1, 3, 2)", "(2, 4, 1, 1, 3"),
    (dict(mask=MASK + 1j), "`mask` must be real numbers", "`.astype(jnp.float32)`"),
    (dict(mask="full"), "`mask` must be an array", "str"),
    (dict(offset_groups=3), "`offset_groups` must divide the input channels",
     "offset_groups=3 with 4 input channels"),
    (dict(offset_groups=0), "`offset_groups` must be an int of at least 1", "offset_groups=0"),
    (dict(offset_groups=True), "`offset_groups` must be an int", "offset_groups=True"),
    (dict(offset_groups=2.0), "`offset_groups` must be an int of at least 1", "offset_groups=2.0"),
    (dict(groups=3), "`groups` must divide the input channels", "groups=3 with 4"),
    (dict(groups=2), "`kernel` must take the channels of `x`", "(3, 2, 4, 8), which takes 4"),
    (dict(groups=0), "`groups` must be an int of at least 1", "groups=0"),
    (dict(kernel=KERNEL[:, :, :2, :7], groups=2), "the output channels", "groups=2 with 7"),
    (dict(x=X.astype(int), kernel=KERNEL.astype(int)), "must be floating or complex", "int"),
    (dict(x=X[0]), "`x` must have as many axes as `kernel`", "`x[None]`"),
    (dict(kernel=KERNEL[0, 0]), "at least one spatial axis", "(4, 8)"),
    (dict(stride=0), "`stride` must be an int of at least 1", "stride=0"),
    (dict(dilation=(1, 9)), "nothing is left", "spans 10 pixels"),
    (dict(padding="SAEM"), "`padding` must be one of", "padding='SAEM'"),
    (dict(layout="NCHW"), "`kernel` must take the channels of `x`", "Check `layout`"),
    (dict(precision="exact"), "`precision` must be None", "precision='exact'"),
    (dict(preferred_element_type="int32"), "must be floating or complex", "int32 for float32"),
    (dict(x="photo.png"), "`x` must be an array", "str"),
]  # fmt: skip


def deform_conv(x=X, kernel=KERNEL, offset=OFFSET, padding="VALID", **options):
    return jconv.deform_conv(x, kernel, offset, padding=padding, **options)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("options, allowed, received", INVALID_CALLS, ids=range(len(INVALID_CALLS)))
def test_error_states_the_allowed_and_the_received_value(options, allowed, received):
    assert_error(deform_conv, options, allowed, received)
