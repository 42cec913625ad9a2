"""Losses, label smoothing, accuracy and the confusion matrix."""

import jax.numpy as jnp
import numpy as np
import pytest

from jconv.train.losses import (
    accuracy,
    binary_cross_entropy,
    confusion,
    cross_entropy,
    mean_squared_error,
    smooth_labels,
)


def test_mean_squared_error():
    assert float(mean_squared_error(jnp.array([[1.0], [4.0]]), jnp.array([[0.0], [2.0]]))) == 2.5


def test_mean_squared_error_of_class_labels_takes_them_as_one_hot():
    assert float(mean_squared_error(jnp.array([[1.0, 1.0]]), jnp.array([1]))) == 0.5


def test_cross_entropy_with_labels_and_with_probabilities():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    assert float(cross_entropy(logits, jnp.array([1]))) == pytest.approx(np.log(4))
    assert float(cross_entropy(logits, jnp.array([[0.0, 1.0, 0.0]]))) == pytest.approx(np.log(4))


def test_label_smoothing():
    smoothed = smooth_labels(jnp.array([2]), 4, 0.2)
    np.testing.assert_allclose(smoothed, [[0.05, 0.05, 0.85, 0.05]])
    np.testing.assert_allclose(smooth_labels(jnp.array([1, 0]), 1, 0.2), [[0.9], [0.1]])
    labels = jnp.array([1, 3])
    assert smooth_labels(labels, 4, 0.0) is labels


def test_binary_cross_entropy_of_one_logit_and_of_several():
    logits = jnp.array([[0.0], [2.0]])
    expected = (np.log(2) + np.log1p(np.exp(2))) / 2
    assert float(binary_cross_entropy(logits, jnp.array([1, 0]))) == pytest.approx(expected)
    assert float(accuracy(logits, jnp.array([0, 1]))["accuracy"]) == 1
    several = jnp.array([[1.0, -1.0, 0.0]])
    expected = np.log1p(np.exp(-1)) + np.log1p(np.exp(-1)) + np.log(2)
    assert float(binary_cross_entropy(several, jnp.array([0]))) == pytest.approx(expected)


def test_confusion_matrix_counts_the_masked_examples():
    outputs = jnp.eye(3)[jnp.array([0, 1, 1, 2])]
    matrix = confusion(outputs, jnp.array([0, 1, 2, 2]), jnp.array([True, True, True, False]))
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 1, 0], [0, 1, 0]])
