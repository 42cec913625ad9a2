"""Reads files in a separate process with limited memory.

For each path on its input, it prints one line: `OK`, `REFUSED` or `FAILED`, and the error.
"""

import resource
import sys
import warnings
from pathlib import Path

from jconv.data.idx import read_idx
from jconv.data.image_decoding import decode_image
from jconv.data.npz import load_npz, read_npz
from jconv.data.safe_io import open_file

MAX_MEMORY = 2**30  # bytes, in addition to what the process uses after its start


def read(path):
    """Read a file with the reader for its suffix."""
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
    """Read the valid files of the command line, then the files of the input until it ends."""
    warnings.simplefilter("ignore")
    for path in sys.argv[1:]:  # modules loaded at first use are not counted in the limit
        read(Path(path))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
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
