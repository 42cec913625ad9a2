"""Small valid files of every format that is read, as a starting point for mutations."""

import gzip
import io
import struct

import numpy as np
from PIL import Image


def valid_files(rng):
    """Return file contents by name; the suffix of a name selects the reader."""
    files = {}
    for name, shape in {"images": (30, 8, 8), "labels": (30,)}.items():
        array = rng.integers(0, 10, shape, np.uint8)
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        files[f"{name}.idx{len(shape)}"] = header + array.tobytes()
        files[f"{name}.idx{len(shape)}.gz"] = gzip.compress(header + array.tobytes(), mtime=0)
    arrays = {
        "images": rng.integers(0, 256, (30, 6, 6, 3), np.uint8),
        "labels": np.arange(30) % 3,
        "floats": rng.normal(size=(30, 5, 4)),
    }
    for name, save in {"stored": np.savez, "deflated": np.savez_compressed}.items():
        file = io.BytesIO()
        save(file, **arrays)
        files[f"{name}.npz"] = file.getvalue()
    gradient = np.add.outer(np.arange(40), 3 * np.arange(50)).astype(np.uint8)
    rgb = np.stack([gradient, gradient[::-1], gradient[:, ::-1]], axis=-1)
    for mode, options in {
        "L": {}, "RGB": {"optimize": True}, "RGBA": {}, "P": {}, "1": {}, "LA": {},
    }.items():  # fmt: skip
        files[f"{mode}.png"] = _encoded(Image.fromarray(rgb).convert(mode), "PNG", options)
    for name, mode, options in (
        ("grey", "L", {}),
        ("baseline", "RGB", {"quality": 60}),
        ("progressive", "RGB", {"progressive": True}),
        ("cmyk", "CMYK", {}),
        ("restarts", "RGB", {"restart_marker_rows": 1}),
        ("exif", "RGB", {"exif": Image.Exif(), "icc_profile": b"profile" * 50, "dpi": (72, 72)}),
    ):
        files[f"{name}.jpg"] = _encoded(Image.fromarray(rgb).convert(mode), "JPEG", options)
    return files


def _encoded(image, format, options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
