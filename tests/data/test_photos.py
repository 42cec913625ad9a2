import numpy as np
import pytest
import skimage.data

import jconv
from jconv.data import load_filtered_photos, load_photos


def test_filtered_photos_are_the_correlation_with_the_kernel():
    kernel = np.asarray(jconv.kernels.sobel())
    data = load_filtered_photos(kernel, patches=20, size=12, seed=3)
    assert data.train.inputs.shape == (16, 12, 12, 1)
    assert data.train.targets.shape == (16, 10, 10, 1)
    np.testing.assert_array_equal(data.hidden_kernel, kernel)
    image, target = data.train.inputs[5, :, :, 0], data.train.targets[5, :, :, 0]
    assert target[4, 7] == pytest.approx((image[4:7, 7:10] * kernel).sum(), rel=1e-4, abs=1e-5)
    patches = np.concatenate([p.inputs for p in (data.train, data.validation, data.test)])
    assert patches.std() == pytest.approx(1, rel=1e-4)
    assert np.abs(patches.mean(axis=(1, 2, 3))).max() < 1e-5


@pytest.mark.parametrize("grey", [False, True])
def test_patches_are_labelled_by_their_photograph(grey):
    data = load_photos(patches=60, size=24, grey=grey, seed=1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [48, 6, 6]
    assert data.input_shape == (24, 24, 1 if grey else 3)
    assert data.classes == ("astronaut", "coffee", "chelsea") and data.outputs == 3
    inputs, labels = data.train
    assert inputs.dtype == np.float32 and labels.dtype == np.int32
    assert set(labels) == {0, 1, 2} and inputs.min() >= -1 and inputs.max() <= 1
    photo = skimage.data.coffee() / np.float32(127.5) - 1
    if not grey:
        patch = inputs[np.flatnonzero(labels == 1)[0]]
        corners = np.argwhere(np.isclose(photo[:-23, :-23], patch[0, 0], atol=1e-6).all(-1))
        assert any(np.allclose(photo[i : i + 24, j : j + 24], patch, atol=1e-6) for i, j in corners)
