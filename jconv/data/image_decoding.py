"""One image of a file, decoded by Pillow, after a look at how much it would unpack to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jconv.data.safe_io import BadFile, shown

FORMATS = ("PNG", "JPEG")  # others are read by programs that Pillow starts, or before a look
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")  # of at most 8 bits a channel
MOST_BYTES = 2**26  # of a file
MOST_PIXELS = 2**25  # of an image; 5,792 x 5,792
MOST_WORK = 2**29  # pixels, times how often a progressive JPEG goes over them
ORIENTATION = 0x0112  # in Exif: how the camera was held
TURNS = {  # that bring an image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = 5  # and above: rows and columns change places
SCAN = b"\xff\xda"  # with which a JPEG begins to go over its pixels


def decode(
    file: IO[bytes], *, size: tuple[int, int], grey: bool, path: Path | str
) -> UInt8[np.ndarray, "h w c"]:
    """An image of a given size: upright, scaled until it fills it, and cut off at two edges.

    Args:
      file: a PNG or JPEG.
      size: rows and columns.
      grey: one channel instead of three.
      path: the file, as an error names it.

    Raises:
      BadFile: where it cannot be decoded, or not with bounded memory and time.
    """
    try:
        content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise BadFile(f"must have at most {MOST_BYTES} bytes. Received: more. Make it smaller.")
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check(image, content.count(SCAN) if image.format != "PNG" else 1)
            drawn = image.convert("L" if grey else "RGB")
            orientation = _orientation(image)
            width, height = size if orientation >= LYING else size[::-1]
            if drawn.size != (width, height):
                drawn = ImageOps.fit(drawn, (width, height), method=Image.Resampling.BILINEAR)
            if orientation in TURNS:
                drawn = drawn.transpose(TURNS[orientation])
            pixels = np.array(drawn, np.uint8)
    except BadFile as error:
        raise BadFile(f"{shown(path)}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly everything
        raise BadFile(
            f"{shown(path)}: must be a PNG or JPEG that can be decoded. "
            f"Received: {type(error).__name__}: {shown(str(error)[:200])}. Mend or remove it."
        ) from error
    return pixels[..., None] if grey else pixels


def _orientation(image: Image.Image) -> int:
    """Which of the eight a camera wrote down; upright where there is none, or Exif is broken."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # Pillow's readers raise nearly everything
        return 1
    return orientation if orientation in TURNS else 1


def _check(image: Image.Image, scans: int) -> None:
    pixels = image.width * image.height
    if pixels > MOST_PIXELS or pixels * scans > MOST_WORK:
        often = f", gone over {scans} times" if scans > 1 else ""
        raise BadFile(
            f"must have at most {MOST_PIXELS} pixels, and {MOST_WORK} times how often it goes over "
            f"them. Received: {image.width} x {image.height}{often}. Make it smaller."
        )
    if image.mode not in MODES:
        raise BadFile(
            f"must have at most 8 bits a channel. Received: mode {image.mode!r}. Convert it."
        )
