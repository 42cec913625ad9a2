"""Breaks valid files and has them read: `python tests/fuzz/readers.py --minutes 10`.

Every file must be read or refused with a `ValueError`, within 10 seconds and 1 GiB of memory. What
was not is kept, in `--keep`, and told of.
"""

import argparse
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from mutate import mutated
from valid import valid_files

LONGEST = 10  # seconds for a file
START = 120  # seconds for Python to begin


class Worker:
    """A process that reads, and is begun anew where a file was the end of it.

    Args:
      warm: valid files, which it reads at first.
    """

    def __init__(self, warm):
        self._warm = warm
        self._begin()

    def _begin(self):
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), *self._warm]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        self._lines = selectors.DefaultSelector()
        self._lines.register(self._process.stdout, selectors.EVENT_READ)
        if self._answer(START) != "READY":
            raise RuntimeError("the worker does not begin; run worker.py to see why")

    def _answer(self, seconds):
        if not self._lines.select(seconds):
            return None
        return self._process.stdout.readline().decode().rstrip("\n")

    def read(self, path):
        """What came of a file: OK, REFUSED, or what must not be: FAILED, CRASHED, HUNG."""
        self._process.stdin.write(os.fsencode(path) + b"\n")
        self._process.stdin.flush()
        answer = self._answer(LONGEST)
        if answer:
            return answer
        self.end()
        code = self._process.returncode
        self._begin()
        return "HUNG" if answer is None else f"CRASHED with {code}"

    def end(self):
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


def fuzz(seconds, *, seed=0, keep):
    """Reads broken files for so long.

    Args:
      seconds: how long.
      seed: draws what is broken.
      keep: folder for the files that were neither read nor refused.

    Returns:
      How many files were `OK` and how many `REFUSED`, by name; and what else happened.
    """
    rng = np.random.default_rng(seed)
    files = valid_files(rng)
    names, contents = list(files), list(files.values())
    counts, problems = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / f"valid-{name}").write_bytes(content)
        worker = Worker([str(Path(folder) / f"valid-{name}") for name in names])
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                name = names[rng.integers(len(names))]
                content = mutated(name, files[name], contents, rng)
                path = Path(folder) / name
                path.write_bytes(content)
                answer = worker.read(path)
                kind = answer.split(" ")[0]
                counts[kind, name] += 1
                if kind not in ("OK", "REFUSED"):
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{len(problems):04d}-{name}").write_bytes(content)
                    problems.append(f"{name}: {answer}")
        finally:
            worker.end()
    return counts, problems


def main():
    """Fuzzes, and tells what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-problems"))
    options = parser.parse_args()
    counts, problems = fuzz(60 * options.minutes, seed=options.seed, keep=options.keep)
    for (kind, name), count in sorted(counts.items()):
        print(f"{kind:<8} {name:<20} {count:>8}")
    print(f"{counts.total()} files, {len(problems)} neither read nor refused")
    print("\n".join(problems[:50]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
