import numpy as np
from PIL import Image

from jconv.models import Preprocessing


def test_images_are_rotated_by_their_exif_tag(tmp_path, rng):
    upright = Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype="uint8"))
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: to be rotated by 90 degrees clockwise
    upright.rotate(90, expand=True).save(tmp_path / "rotated.png", exif=exif)
    with Image.open(tmp_path / "rotated.png") as rotated:
        x = Preprocessing().prepare(rotated, 24)
    np.testing.assert_array_equal(x, Preprocessing().prepare(upright, 24))


def test_images_are_cropped_in_the_middle_and_normalised():
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[2:6, 4:8] = 255
    x = Preprocessing(mean=(0.5,) * 3, std=(0.5, 1.0, 2.0), crop=0.5).prepare(
        Image.fromarray(pixels), 4
    )
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.broadcast_to([1, 0.5, 0.25], (4, 4, 3)))
