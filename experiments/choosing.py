"""Time that `algorithm="auto"` needs to select an algorithm for a new convolution.

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
    """Print the median and the mean over all convolutions of a table, in microseconds.

    Args:
      table: a file of `jconv tune`, of which only the convolutions are used.
      rounds: passes over all convolutions; one more comes first, to warm up, and is not printed.
    """
    problems = list(read_table(table).seconds)
    for n in range(rounds + 1):
        # New objects, so that no cached property of a problem or its window is reused.
        fresh = [replace(p, window=replace(p.window)) for p in problems]
        random.Random(n).shuffle(fresh)
        select_algorithm.cache_clear()
        durations = []
        for problem in fresh:
            start = time.perf_counter()
            select_algorithm(problem, "cpu")
            durations.append(1e6 * (time.perf_counter() - start))
        if n:
            median, mean = statistics.median(durations), statistics.mean(durations)
            print(f"median {median:.1f} us, mean {mean:.1f} us")


if __name__ == "__main__":
    tyro.cli(main)
