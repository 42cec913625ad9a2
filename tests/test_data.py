import itertools

import numpy as np
import pytest

import jconv
from jconv.data import batches, load_digits, load_filtered_photos


def test_digits_are_those_of_uci():
    data = load_digits()
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 1797
    assert [len(part) for part in parts] == [1258, 180, 359]
    assert data.input_shape == (8, 8, 1) and data.outputs == 10
    labels = np.concatenate([part.targets for part in parts])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images = np.concatenate([part.inputs for part in parts])
    assert images.min() == -1 and images.max() == 1 and images.dtype == np.float32


def test_splits_share_no_example_and_depend_on_the_seed_alone():
    a, again, other = load_digits(seed=1), load_digits(seed=1), load_digits(seed=2)
    np.testing.assert_array_equal(a.test.inputs, again.test.inputs)
    assert not np.array_equal(a.test.targets, other.test.targets)
    seen = {image.tobytes() for image in a.train.inputs}
    # Two of the 1,797 may be drawn alike, pixel by pixel; a leak would be hundreds.
    assert sum(image.tobytes() in seen for image in a.test.inputs) <= 2


def test_filtered_photos_are_what_the_kernel_makes_of_them():
    kernel = np.asarray(jconv.kernels.sobel())
    data = load_filtered_photos(kernel, patches=20, size=12, seed=3)
    assert data.train.inputs.shape == (16, 12, 12, 1)
    assert data.train.targets.shape == (16, 10, 10, 1)
    np.testing.assert_array_equal(data.hidden_kernel, kernel)
    image, target = data.train.inputs[5, :, :, 0], data.train.targets[5, :, :, 0]
    assert target[4, 7] == pytest.approx((image[4:7, 7:10] * kernel).sum(), rel=1e-4, abs=1e-5)
    every = np.concatenate([p.inputs for p in (data.train, data.validation, data.test)])
    assert every.std() == pytest.approx(1, rel=1e-4)
    assert np.abs(every.mean(axis=(1, 2, 3))).max() < 1e-5


def test_an_epoch_visits_every_example_once_in_batches_of_one_size():
    epoch = list(itertools.islice(batches(10, 3, seed=0), 3))
    assert all(batch.shape == (3,) for batch in epoch)
    assert len(set(np.concatenate(epoch))) == 9
    following = list(itertools.islice(batches(10, 3, seed=0, start=3), 3))
    assert not np.array_equal(epoch, following)


def test_batches_can_be_entered_at_any_step():
    straight = list(itertools.islice(batches(10, 3, seed=4), 12))
    for start in (1, 3, 7):
        entered = itertools.islice(batches(10, 3, seed=4, start=start), 4)
        np.testing.assert_array_equal(list(entered), straight[start : start + 4])
