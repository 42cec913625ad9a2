import numpy as np
import pytest

from jconv.analysis import kernel_images


def test_colours_are_blue_below_zero_white_at_zero_and_red_above():
    values = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])

    image = kernel_images.kernel_image(values, scale=1)[0].astype(int)

    assert image[2].tolist() == [255, 255, 255]
    red, _, blue = image.T
    assert (blue > red).tolist() == [True, True, False, False, False]
    assert (red > blue).tolist() == [False, False, False, True, True]
    # The further from zero, the further from white.
    assert image.sum(axis=-1).argsort()[[-1]].tolist() == [2]
    assert image[0].sum() < image[1].sum() and image[4].sum() < image[3].sum()


def test_colour_limit_is_symmetric_and_shared_by_several_kernels():
    small, large = np.array([[0.5, -0.5]]), np.array([[0.5, -2.0]])
    limit = kernel_images.colour_limit(small, large)

    assert limit == 2.0
    images = [kernel_images.kernel_image(k, limit=limit, scale=1) for k in (small, large)]
    np.testing.assert_array_equal(images[0][0, 0], images[1][0, 0])
    extremes = kernel_images.kernel_image(np.array([[-9.0, -2.0, 2.0, 9.0]]), limit=limit, scale=1)
    np.testing.assert_array_equal(extremes[0, 0], extremes[0, 1])
    np.testing.assert_array_equal(extremes[0, 2], extremes[0, 3])
    np.testing.assert_array_equal(extremes[0, 0], kernel_images.PALETTE[0])


def tiles(shape):
    """Return which kernel each pixel shows, with one pixel a weight; -1 in the gaps."""
    numbered = np.broadcast_to(np.arange(np.prod(shape[-2:])).reshape(shape[-2:]), shape)
    limit = float(max(numbered.max(), 1))
    image = kernel_images.kernel_image(numbered.astype(float), limit=limit, scale=1)
    shades = {tuple(colour): k for k, colour in enumerate(kernel_images.PALETTE.tolist())}
    indices = np.array([[shades[tuple(pixel)] for pixel in row] for row in image.tolist()])
    return np.where(indices <= 252, np.rint((indices - 126) / 126 * limit), -1).astype(int).tolist()


def test_rows_are_inputs_and_columns_are_outputs():
    assert tiles((2, 2, 2, 3)) == [
        [0, 0, -1, 1, 1, -1, 2, 2],
        [0, 0, -1, 1, 1, -1, 2, 2],
        [-1, -1, -1, -1, -1, -1, -1, -1],
        [3, 3, -1, 4, 4, -1, 5, 5],
        [3, 3, -1, 4, 4, -1, 5, 5],
    ]


@pytest.mark.parametrize("shape", [(2, 3), (1, 1, 2, 3)])
def test_dense_and_1x1_kernels_are_drawn_as_one_matrix(shape):
    assert tiles(shape) == [[0, 1, 2], [3, 4, 5]]


def test_kernels_of_one_input_channel_fill_a_square():
    assert tiles((1, 2, 1, 3)) == [[0, 0, -1, 1, 1], [-1] * 5, [2, 2, -1, -1, -1]]


def test_one_dimensional_kernels_have_one_row():
    assert tiles((3, 2, 2)) == [[0, 0, 0, -1, 1, 1, 1], [-1] * 7, [2, 2, 2, -1, 3, 3, 3]]


def test_depth_slices_are_drawn_side_by_side():
    kernel = np.arange(8.0).reshape(2, 2, 2, 1, 1)
    flat = np.array([[0.0, 1.0, 4.0, 5.0], [2.0, 3.0, 6.0, 7.0]])

    np.testing.assert_array_equal(
        kernel_images.kernel_image(kernel), kernel_images.kernel_image(flat)
    )


@pytest.mark.parametrize(
    "shape, drawn, omitted",
    [
        ((3, 3, 1, 40), 36, 4),
        ((3, 3, 16, 32), 36, 476),
        ((3, 3, 3, 64), 18, 174),
        ((50, 10), 360, 140),
        ((3, 3, 1, 36), 36, 0),
    ],
)
def test_large_layers_are_subsampled_and_the_rest_is_counted(shape, drawn, omitted):
    image = np.array(tiles(shape))

    kh, kw = shape[:-2] or (1, 1)
    assert (image >= 0).sum() == drawn * kh * kw
    assert kernel_images.num_omitted(shape) == omitted
    assert (f"{omitted:,} " in kernel_images.describe_selection(shape)) == (omitted > 0)


def test_scale_is_the_side_of_a_weight_in_pixels():
    image = kernel_images.kernel_image(np.eye(3), scale=5)

    assert image.shape == (15, 15, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image[::5, ::5], kernel_images.kernel_image(np.eye(3), scale=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_yellow(value):
    image = kernel_images.kernel_image(np.array([[value, 1.0, 0.0]]), scale=1)

    assert image[0].tolist() == [[240, 196, 25], [134, 14, 36], [255, 255, 255]]
    assert (kernel_images.kernel_image(np.full((3, 3, 1, 2), value)) >= 0).all()


def test_invalid_options_raise():
    for options in ({"scale": 0}, {"tiles": 0}, {"limit": 0.0}, {"limit": np.nan}):
        with pytest.raises(ValueError, match="must be"):
            kernel_images.kernel_image(np.eye(2), **options)
