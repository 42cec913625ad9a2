"""Conversion of photographs to the inputs that a network's weights expect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageOps

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of the images that weights were trained on.

    Attributes:
      mean: subtracted from each colour, on a scale from 0 (black) to 1.
      std: what each colour is then divided by.
      crop: share of the shorter side that the central crop keeps.
    """

    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    crop: float = 0.875

    def prepare(self, image: Image.Image, size: int) -> Float32[np.ndarray, "size size 3"]:
        """Return an image as an array: rotated by its Exif tag, resized, cropped and normalised.

        Args:
          image: the image, of any size and colour mode.
          size: rows and columns of the result.
        """
        # Cameras store the orientation as a tag and leave the pixels unrotated.
        image = ImageOps.exif_transpose(image).convert("RGB")
        scale = round(size / self.crop) / min(image.size)
        width, height = (max(size, round(n * scale)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        colours = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
        return (colours - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)


def imagenet_names() -> list[str]:
    """Return the names of ImageNet's 1000 classes, in order."""
    return (Path(__file__).parent / "imagenet.txt").read_text().splitlines()
