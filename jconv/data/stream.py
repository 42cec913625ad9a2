"""Batches of a source that is not in memory, read ahead by threads: a pipeline of grain.

Its elements are whole batches, and the batch of a step is a pure function of seed and step; so it
can be entered anywhere, and where it stands is one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jconv.data.batches import batch
from jconv.data.source import Source
from jconv.data.split import Split

if TYPE_CHECKING:
    import grain

ENDLESS = 2**62  # steps; grain wants to know how many there are


def stream(
    source: Source | Split,
    batch_size: int,
    *,
    seed: int,
    start: int = 0,
    process: int = 0,
    processes: int = 1,
    threads: int = 4,
    ahead: int = 8,
) -> grain.DatasetIterator:
    """The batches of `jconv.data.batches`, read: one `Split` for each step, without end.

    `get_state()` of what it returns is a value that JSON can hold, and `set_state` goes on from
    there, also in another process, of another number of them.

    Args:
      source: what to read from.
      batch_size: examples of a step, over all processes.
      seed: draws the orders.
      start: the first step.
      process: which of the processes this is; each reads its own share of every batch.
      processes: how many there are.
      threads: that read, each a batch.
      ahead: batches that are read before they are asked for; they are in memory.
    """
    import grain  # takes half a second, which a run from memory need not wait

    if batch_size % processes or not 0 < batch_size <= len(source):
        raise ValueError(
            f"`batch_size` must be a multiple of the number of processes, {processes}, and at most "
            f"the number of examples, {len(source)}. Received: batch_size={batch_size}."
        )
    if not 0 <= process < processes:
        raise ValueError(
            f"`process` must be from 0 to {processes - 1}. Received: process={process}."
        )
    share = batch_size // processes
    rows = slice(process * share, (process + 1) * share)
    batches = grain.MapDataset.source(_Batches(source, batch_size, seed, rows))
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    iterator = iter(batches.to_iter_dataset(reading))
    iterator.set_state({"next_index": start})
    return iterator


@dataclass(frozen=True)
class _Batches:
    """The batch of every step, as grain takes it."""

    source: Source | Split
    batch_size: int
    seed: int
    rows: slice

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Split:
        indices = batch(len(self.source), self.batch_size, seed=self.seed, step=index)
        return self.source.take(indices[self.rows])
