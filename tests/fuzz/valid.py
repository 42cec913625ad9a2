"""Small valid files of every kind that is read, to be broken."""

import gzip
import io
import struct

import numpy as np
from PIL import Image


def valid_files(rng):
    """Content by name; what a file is called says who reads it."""
    files = {}
    for name, shape in {"images": (30, 8, 8), "labels": (30,)}.items():
        numbers = rng.integers(0, 10, shape, np.uint8)
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        files[f"{name}.idx{len(shape)}"] = header + numbers.tobytes()
        files[f"{name}.idx{len(shape)}.gz"] = gzip.compress(header + numbers.tobytes(), mtime=0)
    arrays = {
        "images": rng.integers(0, 256, (30, 6, 6, 3), np.uint8),
        "labels": np.arange(30) % 3,
        "floats": rng.normal(size=(30, 5, 4)),
    }
    for name, save in {"stored": np.savez, "deflated": np.savez_compressed}.items():
        file = io.BytesIO()
        save(file, **arrays)
        files[f"{name}.npz"] = file.getvalue()
    smooth = np.add.outer(np.arange(40), 3 * np.arange(50)).astype(np.uint8)
    colours = np.stack([smooth, smooth[::-1], smooth[:, ::-1]], axis=-1)
    for mode, options in {
        "L": {}, "RGB": {"optimize": True}, "RGBA": {}, "P": {}, "1": {}, "LA": {},
    }.items():  # fmt: skip
        files[f"{mode}.png"] = _saved(Image.fromarray(colours).convert(mode), "PNG", options)
    for name, mode, options in (
        ("grey", "L", {}),
        ("baseline", "RGB", {"quality": 60}),
        ("progressive", "RGB", {"progressive": True}),
        ("cmyk", "CMYK", {}),
        ("restarts", "RGB", {"restart_marker_rows": 1}),
        ("exif", "RGB", {"exif": Image.Exif(), "icc_profile": b"profile" * 50, "dpi": (72, 72)}),
    ):
        files[f"{name}.jpg"] = _saved(Image.fromarray(colours).convert(mode), "JPEG", options)
    return files


def _saved(image, form, options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()
