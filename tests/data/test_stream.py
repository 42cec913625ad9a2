"""Batches that threads read ahead: equal to those from memory, and starting at any step."""

import itertools
import json
import threading

import grain
import numpy as np
import pytest

from jconv.data import Examples, Source, batch_indices, batch_indices_at, random_splits, stream


class Squares(Source):
    """A source whose example `i` is `(i, i**2)`; records which thread reads which index."""

    input_shape, outputs = (), 1

    def __init__(self, count):
        self.count, self.reads = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.reads.append((threading.get_ident(), index))
        return np.asarray(index, np.float32), np.int32(index**2)


def first(iterator, count):
    return list(itertools.islice(iterator, count))


def test_source_is_a_data_source_of_grain():
    examples = list(grain.MapDataset.source(Squares(5)).shuffle(seed=1))
    assert sorted(int(x) for x, _ in examples) == [0, 1, 2, 3, 4]


def test_take_reads_examples_into_memory():
    examples = Squares(9).take(np.array([3, 1]))
    assert isinstance(examples, Examples) and examples.inputs.dtype == np.float32
    np.testing.assert_array_equal(examples.targets, [9, 1])


def test_subset_of_a_source_holds_the_chosen_examples():
    subset = Squares(9).subset(np.array([3, 1, 7])).subset(np.array([2, 0]))
    assert len(subset) == 2 and (subset.input_shape, subset.outputs) == ((), 1)
    np.testing.assert_array_equal(subset.take(np.array([0, 1])).targets, [49, 9])


def test_source_is_split_at_random_without_reading_it():
    source = Squares(20)
    data = random_splits(source, validation=0.1, test=0.25, seed=0, outputs=1)
    assert source.reads == []
    parts = [part.take(np.arange(len(part))) for part in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [13, 2, 5]
    assert sorted(np.concatenate([part.inputs for part in parts])) == list(range(20))


def test_source_without_getitem_cannot_be_created():
    class Incomplete(Source):
        def __len__(self):
            return 3

    with pytest.raises(TypeError, match="abstract method.*__getitem__"):
        Incomplete()


def test_stream_reads_the_batches_of_batch_indices():
    batches = first(stream(Squares(10), 3, seed=4), 12)
    for indices, batch in zip(batch_indices(10, 3, seed=4), batches, strict=False):
        assert isinstance(batch, Examples)
        np.testing.assert_array_equal(batch.inputs, indices)
        np.testing.assert_array_equal(batch.targets, indices**2)


def test_stream_of_examples_in_memory_gives_the_same_batches(rng):
    examples = Examples(rng.normal(size=(10, 2)), np.arange(10))
    batches = first(stream(examples, 4, seed=0), 5)
    for indices, batch in zip(batch_indices(10, 4, seed=0), batches, strict=False):
        np.testing.assert_array_equal(batch.inputs, examples.inputs[indices])


def test_each_process_reads_only_its_slice_of_every_batch():
    expected = first(stream(Squares(12), 6, seed=1), 4)
    sources = [Squares(12) for _ in range(3)]
    slices = [
        first(stream(source, 6, seed=1, process_index=i, process_count=3), 4)
        for i, source in enumerate(sources)
    ]
    for step, batch in enumerate(expected):
        combined = np.concatenate([batches[step].inputs for batches in slices])
        np.testing.assert_array_equal(combined, batch.inputs)
    of_first_process = {
        int(i) for step in range(12) for i in batch_indices_at(12, 6, seed=1, step=step)[:2]
    }
    assert {index for _, index in sources[0].reads} <= of_first_process


def test_stream_continues_from_a_state_that_went_through_json():
    expected = first(stream(Squares(10), 4, seed=2), 9)
    started = stream(Squares(10), 4, seed=2)
    first(started, 5)
    state = json.loads(json.dumps(started.get_state()))
    restored = stream(Squares(10), 4, seed=2)
    restored.set_state(state)
    at_step = stream(Squares(10), 4, seed=2, start=5)
    second_half = stream(Squares(10), 4, seed=2, process_index=1, process_count=2)
    second_half.set_state(state)
    for batch in expected[5:]:
        for iterator in (restored, at_step, started):
            np.testing.assert_array_equal(next(iterator).inputs, batch.inputs)
        np.testing.assert_array_equal(next(second_half).inputs, batch.inputs[2:])


def test_threads_prefetch_a_limited_number_of_batches():
    source = Squares(10)
    iterator = stream(source, 2, seed=0, num_threads=3, prefetch=4)
    next(iterator)
    threading.Event().wait(0.3)  # gives the threads time to read too far, if they did
    assert 4 <= len(source.reads) <= 2 * (1 + 4 + 3)
    assert threading.get_ident() not in {thread for thread, _ in source.reads}


def test_errors_of_the_source_are_raised_by_the_iterator():
    class Broken(Squares):
        def __getitem__(self, index):
            raise ValueError(f"example {index} cannot be read")

    with pytest.raises(ValueError, match="example . cannot be read"):
        next(stream(Broken(5), 2, seed=0))


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(batch_size=4, process_count=3), "a multiple of the number of processes, 3"),
        (dict(batch_size=11), "at most the number of examples, 10. Received: batch_size=11"),
        (dict(batch_size=0), "must be positive.*Received: batch_size=0"),
        (
            dict(batch_size=4, process_index=2, process_count=2),
            "`process_index` must be from 0 to 1",
        ),
    ],
)
def test_invalid_stream_options_are_refused(options, expected):
    with pytest.raises(ValueError, match=expected):
        stream(Squares(10), seed=0, **options)
