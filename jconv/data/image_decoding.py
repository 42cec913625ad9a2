"""Decoding of one PNG or JPEG with Pillow, after checks that bound its memory and time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from jconv.data.safe_io import BadFile, printable

FORMATS = (
    "PNG",
    "JPEG",
)  # Pillow runs external programs for some others, or decodes them on opening
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")  # at most 8 bits per channel
MAX_FILE_BYTES = 2**26
MAX_PIXELS = 2**25  # 5,792 x 5,792
MAX_DECODED_PIXELS = 2**29  # pixels times scans: a progressive JPEG has several scans
EXIF_ORIENTATION = 0x0112  # Exif tag of the camera's orientation
UPRIGHT = {  # Exif orientation: the operation that turns the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FIRST_SIDEWAYS = 5  # from this orientation on, rows and columns are exchanged
SCAN_MARKER = b"\xff\xda"  # begins each scan of a JPEG


def decode_image(
    file: io.BufferedIOBase, *, size: tuple[int, int], grey: bool, path: Path | str
) -> UInt8[np.ndarray, "h w c"]:
    """Decode an image and fit it to a size.

    The image is turned upright, scaled until it fills `size`, and cropped at the centre.

    Args:
      file: a PNG or JPEG.
      size: rows and columns of the result.
      grey: return one channel instead of three.
      path: the file, as error messages name it.

    Raises:
      BadFile: if the image cannot be decoded, or not within bounded memory and time.
    """
    try:
        content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise BadFile(
                f"must have at most {MAX_FILE_BYTES} bytes. Received: more. Make it smaller."
            )
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_cost(image, content.count(SCAN_MARKER) if image.format != "PNG" else 1)
            decoded = image.convert("L" if grey else "RGB")
            orientation = _orientation(image)
            width, height = size if orientation >= FIRST_SIDEWAYS else size[::-1]
            if decoded.size != (width, height):
                decoded = ImageOps.fit(decoded, (width, height), method=Image.Resampling.BILINEAR)
            if orientation in UPRIGHT:
                decoded = decoded.transpose(UPRIGHT[orientation])
            pixels = np.array(decoded, np.uint8)
    except BadFile as error:
        raise BadFile(f"{printable(path)}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of nearly every class
        raise BadFile(
            f"{printable(path)}: must be a PNG or JPEG that can be decoded. "
            f"Received: {type(error).__name__}: {printable(str(error)[:200])}. "
            "Repair or remove it."
        ) from error
    return pixels[..., None] if grey else pixels


def _orientation(image: Image.Image) -> int:
    """Return the Exif orientation; 1 (upright) if there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # Pillow's Exif reader raises exceptions of nearly every class
        return 1
    return orientation if orientation in UPRIGHT else 1


def _check_cost(image: Image.Image, scans: int) -> None:
    pixels = image.width * image.height
    if pixels > MAX_PIXELS or pixels * scans > MAX_DECODED_PIXELS:
        in_scans = f" in {scans} scans" if scans > 1 else ""
        raise BadFile(
            f"must have at most {MAX_PIXELS} pixels, and at most {MAX_DECODED_PIXELS} over all "
            f"scans. Received: {image.width} x {image.height}{in_scans}. Make it smaller."
        )
    if image.mode not in MODES:
        raise BadFile(
            f"must have at most 8 bits per channel. Received: mode {image.mode!r}. Convert it."
        )
