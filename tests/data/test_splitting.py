"""Random splits, and the digits that ship with jconv."""

import numpy as np
import pytest

from jconv.data import Examples, load_digits, random_splits


def test_digits_match_the_uci_test_set():
    data = load_digits()
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 1797
    assert [len(part) for part in parts] == [1258, 180, 359]
    assert data.input_shape == (8, 8, 1) and data.outputs == 10
    labels = np.concatenate([part.targets for part in parts])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    images = np.concatenate([part.inputs for part in parts])
    assert images.min() == -1 and images.max() == 1 and images.dtype == np.float32


def test_splits_are_disjoint_and_depend_only_on_the_seed():
    first, repeated, other = load_digits(seed=1), load_digits(seed=1), load_digits(seed=2)
    np.testing.assert_array_equal(first.test.inputs, repeated.test.inputs)
    assert not np.array_equal(first.test.targets, other.test.targets)
    train_images = {image.tobytes() for image in first.train.inputs}
    # Two of the 1,797 digits may be equal in all pixels; a leak would be hundreds.
    assert sum(image.tobytes() in train_images for image in first.test.inputs) <= 2


def test_every_example_is_in_exactly_one_split():
    examples = Examples(np.arange(20.0), np.arange(20))
    data = random_splits(examples, validation=0.1, test=0.25, seed=0, outputs=20)
    targets = [part.targets for part in (data.train, data.validation, data.test)]
    assert [len(part) for part in targets] == [13, 2, 5]
    assert sorted(np.concatenate(targets)) == list(range(20))
    for part in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(part.inputs, part.targets)


def test_separate_test_examples_are_kept_apart():
    examples = Examples(np.arange(20.0), np.arange(20))
    test = Examples(np.array([99.0]), np.array([7]))
    data = random_splits(examples, validation=0.1, test=test, seed=0, outputs=20)
    assert (len(data.train), len(data.validation)) == (18, 2)
    np.testing.assert_array_equal(data.test.inputs, [99])


def test_only_byte_inputs_are_scaled():
    pixels = np.full((10, 1), 255, np.uint8)
    for inputs, expected in ((pixels, 1.0), (pixels.astype(np.float32), 255.0)):
        examples = Examples(inputs, np.arange(10))
        data = random_splits(examples, validation=0.2, test=0.2, seed=0, outputs=10)
        for part in (data.train, data.validation, data.test):
            assert part.inputs.dtype == np.float32 and (part.inputs == expected).all()


@pytest.mark.parametrize("validation, test", [(0.01, 0.2), (0.2, 0.01), (0.5, 0.5)])
def test_empty_splits_are_refused(validation, test):
    examples = Examples(np.arange(10.0), np.arange(10))
    with pytest.raises(ValueError, match="at least one example in each split. .* of 10 examples"):
        random_splits(examples, validation=validation, test=test, seed=0, outputs=10)
