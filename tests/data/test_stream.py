"""Batches that are read as they are needed: the same as from memory, from anywhere on."""

import itertools
import json
import threading

import grain
import numpy as np
import pytest

from jconv.data import Source, Split, batch, batches, stream


class Squares(Source):
    """Number `i` and its square; remembers who read what."""

    input_shape, outputs, classes = (), 1, None

    def __init__(self, count):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.read.append((threading.get_ident(), index))
        return np.float32(index), np.int32(index**2)


def first(iterator, count):
    return list(itertools.islice(iterator, count))


def test_a_source_is_what_grain_takes():
    found = list(grain.MapDataset.source(Squares(5)).shuffle(seed=1))
    assert sorted(int(x) for x, _ in found) == [0, 1, 2, 3, 4]


def test_taking_from_a_source_gives_a_split():
    taken = Squares(9).take(np.array([3, 1]))
    assert isinstance(taken, Split) and taken.inputs.dtype == np.float32
    np.testing.assert_array_equal(taken.targets, [9, 1])


def test_a_stream_is_the_batches_read():
    steps = first(stream(Squares(10), 3, seed=4), 12)
    for indices, read in zip(batches(10, 3, seed=4), steps, strict=False):
        assert isinstance(read, Split)
        np.testing.assert_array_equal(read.inputs, indices)
        np.testing.assert_array_equal(read.targets, indices**2)


def test_a_stream_from_memory_is_the_same(rng):
    split = Split(rng.normal(size=(10, 2)), np.arange(10))
    for indices, read in zip(
        batches(10, 4, seed=0), first(stream(split, 4, seed=0), 5), strict=False
    ):
        np.testing.assert_array_equal(read.inputs, split.inputs[indices])


def test_each_process_reads_its_share_and_nothing_else():
    whole = first(stream(Squares(12), 6, seed=1), 4)
    sources = [Squares(12) for _ in range(3)]
    shares = [
        first(stream(source, 6, seed=1, process=i, processes=3), 4)
        for i, source in enumerate(sources)
    ]
    for step, read in enumerate(whole):
        together = np.concatenate([share[step].inputs for share in shares])
        np.testing.assert_array_equal(together, read.inputs)
    wanted = {int(i) for step in range(12) for i in batch(12, 6, seed=1, step=step)[:2]}
    assert {index for _, index in sources[0].read} <= wanted


def test_where_a_stream_stands_goes_through_json_and_into_another_one():
    straight = first(stream(Squares(10), 4, seed=2), 9)
    begun = stream(Squares(10), 4, seed=2)
    first(begun, 5)
    state = json.loads(json.dumps(begun.get_state()))
    other = stream(Squares(10), 4, seed=2)
    other.set_state(state)
    entered = stream(Squares(10), 4, seed=2, start=5)
    half = stream(Squares(10), 4, seed=2, process=1, processes=2)
    half.set_state(state)
    for expected in straight[5:]:
        for again in (other, entered, begun):
            np.testing.assert_array_equal(next(again).inputs, expected.inputs)
        np.testing.assert_array_equal(next(half).inputs, expected.inputs[2:])


def test_threads_read_ahead_but_not_without_end():
    source = Squares(10)
    running = stream(source, 2, seed=0, threads=3, ahead=4)
    next(running)
    deadline = threading.Event()
    deadline.wait(0.3)
    assert 4 <= len(source.read) <= 2 * (1 + 4 + 3)
    assert threading.get_ident() not in {thread for thread, _ in source.read}


def test_an_error_of_the_source_reaches_who_reads():
    class Broken(Squares):
        def __getitem__(self, index):
            raise ValueError(f"example {index} cannot be read")

    with pytest.raises(ValueError, match="example . cannot be read"):
        next(stream(Broken(5), 2, seed=0))


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(batch_size=4, processes=3), "must be a multiple of the number of processes, 3"),
        (dict(batch_size=11), "at most the number of examples, 10. Received: batch_size=11"),
        (dict(batch_size=0), "Received: batch_size=0"),
        (dict(batch_size=4, process=2, processes=2), "`process` must be from 0 to 1"),
    ],
)
def test_streams_that_cannot_be(options, expected):
    with pytest.raises(ValueError, match=expected):
        stream(Squares(10), seed=0, **options)


def test_a_batch_is_a_function_of_seed_and_step():
    straight = first(batches(10, 3, seed=7), 8)
    for step in (7, 0, 3, 3, 6):
        np.testing.assert_array_equal(batch(10, 3, seed=7, step=step), straight[step])
    with pytest.raises(ValueError, match="read-only"):
        straight[0][0] = 1
