"""How long `algorithm="auto"` takes to choose for a convolution that it has not seen.

python experiments/choosing.py docs/bench/measured-cpu-0.12.json
"""

import random
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from jconv.selection.select import select_algorithm
from jconv.selection.tuning_table import read_table


def main(table: Annotated[Path, tyro.conf.Positional], rounds: int = 4) -> None:
    """Prints the median and the mean over all convolutions of a table, in microseconds.

    Args:
      table: a file of `jconv tune`; its times do not count, its convolutions do.
      rounds: over all of them; the first fills caches of code and is not printed.
    """
    problems = list(read_table(table).seconds)
    for n in range(rounds + 1):
        # Nothing that is remembered of a problem or its window may help.
        fresh = [replace(p, window=replace(p.window)) for p in problems]
        random.Random(n).shuffle(fresh)
        select_algorithm.cache_clear()
        took = []
        for problem in fresh:
            start = time.perf_counter()
            select_algorithm(problem, "cpu")
            took.append(1e6 * (time.perf_counter() - start))
        if n:
            print(f"median {statistics.median(took):.1f} us, mean {statistics.mean(took):.1f} us")


if __name__ == "__main__":
    tyro.cli(main)
