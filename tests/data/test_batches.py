import itertools

import numpy as np
import pytest

from jconv.data import batch_indices, batch_indices_at


def first(iterator, count):
    return list(itertools.islice(iterator, count))


def test_an_epoch_visits_every_example_at_most_once_in_batches_of_one_size():
    epoch = first(batch_indices(10, 3, seed=0), 3)
    assert all(batch.shape == (3,) for batch in epoch)
    assert len(set(np.concatenate(epoch))) == 9
    next_epoch = first(batch_indices(10, 3, seed=0, start=3), 3)
    assert not np.array_equal(epoch, next_epoch)


def test_batches_can_start_at_any_step():
    expected = first(batch_indices(10, 3, seed=4), 12)
    for start in (1, 3, 7):
        batches = first(batch_indices(10, 3, seed=4, start=start), 4)
        np.testing.assert_array_equal(batches, expected[start : start + 4])


def test_a_batch_is_a_function_of_seed_and_step():
    expected = first(batch_indices(10, 3, seed=7), 8)
    for step in (7, 0, 3, 3, 6):
        np.testing.assert_array_equal(batch_indices_at(10, 3, seed=7, step=step), expected[step])


def test_batch_indices_are_read_only():
    """All callers share the cached order of an epoch."""
    with pytest.raises(ValueError, match="read-only"):
        next(batch_indices(10, 3, seed=7))[0] = 1
