"""Decoding of single images: orientation, and limits on size, time and format."""

import io
import struct
import zlib

import numpy as np
import pytest
from helpers.data_files import write_image_folder
from PIL import Image, ImageOps

from jconv.data import BadFile, image_decoding, load_image_folder
from jconv.data.image_decoding import decode_image


def png_with_size(columns, rows):
    """Return a PNG of one pixel whose header claims another size."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", columns, rows)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(9, 12), (24, 32)])
def test_images_are_turned_upright_by_their_exif_orientation(orientation, size):
    rotated, upright, exif = io.BytesIO(), io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.effect_noise((32, 24), 50).save(rotated, "PNG", exif=exif)
    with Image.open(rotated) as image:
        ImageOps.exif_transpose(image).save(upright, "PNG")
    decoded, expected = (
        decode_image(io.BytesIO(file.getvalue()), size=size, grey=True, path="noise.png")
        for file in (rotated, upright)
    )
    np.testing.assert_allclose(decoded.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0"]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_corrupt_exif_data_is_ignored(exif):
    file = io.BytesIO()
    Image.new("RGB", (12, 9)).save(file, "JPEG", exif=exif)
    decoded = decode_image(io.BytesIO(file.getvalue()), size=(9, 12), grey=False, path="x")
    assert decoded.shape == (9, 12, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [6_000, 10_000, 60_000, 2**31 - 1])
def test_decompression_bombs_are_refused(side, tmp_path):
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / "bomb.png").write_bytes(png_with_size(side, side))
    with pytest.raises(
        BadFile, match="bomb.png: must (have at most 33554432 pixels|be a PNG .*Bomb)"
    ):
        load_image_folder(folder, size=(8, 8))


def test_jpeg_with_very_many_scans_is_refused(tmp_path):
    folder = write_image_folder(tmp_path / "data")
    file = io.BytesIO()
    Image.new("L", (2000, 2000)).save(file, "JPEG", progressive=True)
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\0"
    content = file.getvalue()
    (folder / "cat" / "slow.jpg").write_bytes(content[:-2] + 200 * scan + content[-2:])
    with pytest.raises(BadFile, match="slow.jpg: .*Received: 2000 x 2000 in 2.. scans"):
        load_image_folder(folder, size=(8, 8))


def test_large_files_and_16_bit_images_are_refused(tmp_path, monkeypatch):
    folder = write_image_folder(tmp_path / "data")
    Image.fromarray(np.ones((9, 12), np.uint16)).save(folder / "cat" / "deep.png")
    with pytest.raises(BadFile, match="deep.png: must have at most 8 bits per channel. .*mode"):
        load_image_folder(folder, size=(8, 8))
    monkeypatch.setattr(image_decoding, "MAX_FILE_BYTES", 50)
    with pytest.raises(BadFile, match="0.png: must have at most 50 bytes"):
        load_image_folder(folder, size=(8, 8))


def test_other_image_formats_are_refused(tmp_path):
    """Pillow would hand this one, PostScript, to another program."""
    folder = write_image_folder(tmp_path / "data")
    (folder / "cat" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(BadFile, match="0.png: must be a PNG or JPEG"):
        load_image_folder(folder, size=(8, 8))
