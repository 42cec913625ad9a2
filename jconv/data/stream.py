"""Batches of a source that does not fit into memory, prefetched by threads with grain.

The elements of the pipeline are whole batches. The batch of a step is a pure function of seed and
step, so a stream can start at any step and its position is one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jconv.data.batches import batch_indices_at
from jconv.data.dataset import Examples, Source

if TYPE_CHECKING:
    import grain

MAX_STEPS = 2**62  # grain requires a length; training decides when to stop


def stream(
    source: Source | Examples,
    batch_size: int,
    *,
    seed: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 4,
    prefetch: int = 8,
) -> grain.DatasetIterator:
    """Read the batches of `jconv.data.batch_indices`, one `Examples` per step, without end.

    The iterator's `get_state()` returns a value that JSON can represent. `set_state` continues from
    it, also in another process and with another `process_count`.

    Args:
      source: the examples to read.
      batch_size: examples per step, over all processes.
      seed: draws the order of each epoch.
      start: the first step.
      process_index: index of this process; each reads its slice of every batch.
      process_count: the number of processes.
      num_threads: threads that read, one batch each.
      prefetch: batches that are read in advance and kept in memory.

    Raises:
      ValueError: if `batch_size` exceeds the number of examples or is not a multiple of
        `process_count`, or if `process_index` is out of range.
    """
    import grain  # the import takes half a second, which training from memory does not need

    if batch_size % process_count or not 0 < batch_size <= len(source):
        raise ValueError(
            f"`batch_size` must be positive, a multiple of the number of processes, "
            f"{process_count}, and at most the number of examples, {len(source)}. "
            f"Received: batch_size={batch_size}."
        )
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"`process_index` must be from 0 to {process_count - 1}. "
            f"Received: process_index={process_index}."
        )
    size = batch_size // process_count
    rows = slice(process_index * size, (process_index + 1) * size)
    batches = grain.MapDataset.source(_BatchSource(source, batch_size, seed, rows))
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
    iterator = iter(batches.to_iter_dataset(options))
    iterator.set_state({"next_index": start})
    return iterator


@dataclass(frozen=True)
class _BatchSource:
    """A grain data source whose element `i` is this process's slice of the batch of step `i`."""

    source: Source | Examples
    batch_size: int
    seed: int
    rows: slice

    def __len__(self) -> int:
        return MAX_STEPS

    def __getitem__(self, index: int) -> Examples:
        indices = batch_indices_at(len(self.source), self.batch_size, seed=self.seed, step=index)
        return self.source.take(indices[self.rows])
