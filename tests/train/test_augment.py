"""Random augmentation of images."""

import jax
import jax.numpy as jnp
import numpy as np

from jconv.train.augment import augment_batch, cutout, flip, mixup, shift
from jconv.train.config import Augment


def test_shift_moves_whole_images_by_at_most_the_given_pixels(rng):
    images = jnp.asarray(rng.normal(size=(64, 6, 6, 1)), "float32")
    shifted = np.asarray(shift(images, 2, jax.random.key(0)))
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode="edge")
    offsets = set()
    for i in range(64):
        (offset,) = [
            (r, c)
            for r, c in np.ndindex(5, 5)
            if np.array_equal(shifted[i], padded[i, r : r + 6, c : c + 6])
        ]
        offsets.add(offset)
    assert len(offsets) > 15
    np.testing.assert_array_equal(shift(images, 0, jax.random.key(0)), images)


def test_flip_mirrors_about_half_of_the_images(rng):
    images = jnp.asarray(rng.normal(size=(200, 3, 4, 2)), "float32")
    flipped = np.asarray(flip(images, jax.random.key(0)))
    same = (flipped == images).all((1, 2, 3))
    assert ((flipped == images[:, :, ::-1]).all((1, 2, 3)) | same).all()
    assert 60 < same.sum() < 140


def test_cutout_zeroes_one_square_of_each_image():
    images = jnp.ones((100, 9, 7, 2), "float32")
    cut = np.asarray(cutout(images, 3, jax.random.key(0)))
    for image in cut:
        rows, columns = np.nonzero((image == 0).all(-1))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 1 <= height <= 3 and 1 <= width <= 3 and len(rows) == height * width
        assert (image == 0).sum() == 2 * len(rows)
    assert len({tuple(np.argwhere(image[..., 0] == 0)[0]) for image in cut}) > 20


def test_mixup_mixes_labels_with_the_weights_of_the_images():
    labels = jnp.arange(6)
    images = jnp.eye(6, dtype="float32").reshape(6, 6, 1, 1)
    one_hot = jnp.eye(6, dtype="float32")
    mixed, targets = mixup(images, one_hot, 1.0, jax.random.key(3))
    np.testing.assert_allclose(mixed[:, :, 0, 0], targets, rtol=1e-6)
    assert np.allclose(targets.sum(1), 1) and not np.allclose(targets, one_hot)
    key = jax.random.key(0)
    _, targets = augment_batch(images, labels, Augment(mixup=0.5), 6, key)
    assert targets.shape == (6, 6)


def test_default_augmentation_returns_the_batch_unchanged():
    images, labels = jnp.zeros((2, 3, 3, 1), "float32"), jnp.arange(2)
    same = augment_batch(images, labels, Augment(), 2, jax.random.key(0))
    assert same[0] is images and same[1] is labels
