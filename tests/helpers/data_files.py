"""Valid and malformed files of the formats that `jconv.data` reads."""

import contextlib
import gzip
import struct
import tracemalloc

import numpy as np
from PIL import Image

IMAGES = np.arange(20 * 4 * 5, dtype=np.uint8).reshape(20, 4, 5)
LABELS = np.arange(20, dtype=np.uint8) % 10


def idx_bytes(array, shape=None, magic=None):
    """Return an IDX file of bytes; `shape` and `magic` replace the correct values in the header."""
    shape = array.shape if shape is None else shape
    magic = bytes([0, 0, 8, len(shape)]) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def write_mnist(folder, **replacements):
    """Write the four files of MNIST; `replacements` gives other content by file name."""
    folder.mkdir(exist_ok=True)
    files = {
        "train-images-idx3-ubyte": idx_bytes(IMAGES),
        "train-labels-idx1-ubyte": idx_bytes(LABELS),
        "t10k-images-idx3-ubyte": idx_bytes(IMAGES[:7]),
        "t10k-labels-idx1-ubyte.gz": gzip.compress(idx_bytes(LABELS[:7])),
    }
    for name, content in (files | replacements).items():
        (folder / name).write_bytes(content)
    return folder


def write_npz(path, save=np.savez, **arrays):
    """Write arrays to an .npz file and return its path."""
    save(path, **arrays)
    return path


def write_image_folder(folder, classes=("cat", "dog"), per_class=10, suffix="png"):
    """Write single-coloured images of 9 rows and 12 columns; red is 100 times the label."""
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(per_class):
            image = Image.new("RGB", (12, 9), (100 * label, 10 * i, 50))
            image.save(folder / name / f"{i}.{suffix}")
    return folder


@contextlib.contextmanager
def limited_memory():
    """Assert that the block allocates less than 8 MiB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()
