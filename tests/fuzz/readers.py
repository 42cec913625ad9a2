"""Fuzz the readers of data files: `python tests/fuzz/readers.py --minutes 10`.

Valid files are mutated and read by a separate process. Each must be read, or refused with a
`ValueError`, within 10 seconds and 1 GiB of memory. Files that violate this are reported and kept
in `--keep`.
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

MAX_SECONDS = 10  # per file
MAX_START_SECONDS = 120  # until the worker has imported its modules


class Worker:
    """A process that reads files, restarted after a file that crashed or hung it.

    Args:
      valid_paths: valid files, which the process reads first to load all modules.
    """

    def __init__(self, valid_paths):
        self._valid_paths = valid_paths
        self._start()

    def _start(self):
        script = str(Path(__file__).with_name("worker.py"))
        self._process = subprocess.Popen(
            [sys.executable, script, *self._valid_paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        if self._answer(MAX_START_SECONDS) != "READY":
            raise RuntimeError("the worker did not start; run worker.py to see why")

    def _answer(self, seconds):
        if not self._selector.select(seconds):
            return None
        return self._process.stdout.readline().decode().rstrip("\n")

    def read(self, path):
        """Return the result for a file: OK or REFUSED, or a failure: FAILED, CRASHED or HUNG."""
        self._process.stdin.write(os.fsencode(path) + b"\n")
        self._process.stdin.flush()
        answer = self._answer(MAX_SECONDS)
        if answer:
            return answer
        self.stop()
        exit_code = self._process.returncode
        self._start()
        return "HUNG" if answer is None else f"CRASHED with {exit_code}"

    def stop(self):
        """Kill the process."""
        self._process.kill()
        self._process.communicate()


def fuzz(seconds, *, seed=0, keep):
    """Read mutated files for some time.

    Args:
      seconds: the duration.
      seed: draws the mutations.
      keep: folder for the files that were neither read nor refused.

    Returns:
      The number of files by (result, name), and a list of the failures.
    """
    rng = np.random.default_rng(seed)
    files = valid_files(rng)
    names, contents = list(files), list(files.values())
    counts, failures = Counter(), []
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
                result = answer.split(" ")[0]
                counts[result, name] += 1
                if result not in ("OK", "REFUSED"):
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{len(failures):04d}-{name}").write_bytes(content)
                    failures.append(f"{name}: {answer}")
        finally:
            worker.stop()
    return counts, failures


def main():
    """Run the fuzzer and print the results; return 1 if there are failures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    counts, failures = fuzz(60 * options.minutes, seed=options.seed, keep=options.keep)
    for (result, name), count in sorted(counts.items()):
        print(f"{result:<8} {name:<20} {count:>8}")
    print(f"{counts.total()} files, {len(failures)} neither read nor refused")
    print("\n".join(failures[:50]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
