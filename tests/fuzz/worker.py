"""Reads the files that it is told of, in a process of its own, with little memory.

`OK`, `REFUSED` or `FAILED` and why, a line for each line of its input.
"""

import resource
import sys
import warnings
from pathlib import Path

from jconv.data.idx import read_idx
from jconv.data.image_decoding import decode_image
from jconv.data.npz import load_npz, read_npz
from jconv.data.safe_io import open_file

MOST_MORE = 2**30  # bytes of memory, beside those that it begins with


def read(path):
    """Reads a file as its name says."""
    if path.suffix == ".npz":
        read_npz(path, ["floats"])
        load_npz(path)
    elif path.suffix in (".png", ".jpg"):
        for size, grey in (((16, 16), False), ((40, 50), True)):
            with open_file(path) as file:
                decode_image(file, size=size, grey=grey, path=path)
    else:
        read_idx(path, rank=3 if "idx3" in path.name else 1)


def main():
    """Answers until its input ends."""
    warnings.simplefilter("ignore")
    for path in sys.argv[1:]:  # what is loaded at first use is part of the baseline
        read(Path(path))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MORE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    print("READY", flush=True)
    for line in sys.stdin:
        try:
            read(Path(line.rstrip("\n")))
            answer = "OK"
        except ValueError as error:
            answer = f"REFUSED {error}"
        except BaseException as error:
            answer = f"FAILED {type(error).__name__}: {error}"
        print(answer.replace("\n", " ")[:1000], flush=True)


if __name__ == "__main__":
    main()
