"""From a photograph to what a network's weights expect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True)
class Pixels:
    """How the images were made that weights were learned from.

    Attributes:
      mean: taken away from each colour, black being 0 and white 1.
      std: what each is divided by then.
      crop: share of the shorter side that is kept, in the middle.
    """

    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    crop: float = 0.875

    def prepare(self, image: Image.Image, size: int) -> np.ndarray:
        """An image as `(size, size, 3)`: upright, resized, its middle cut out, normalised."""
        # Cameras write down how they were held, and leave the pixels as they lay.
        image = ImageOps.exif_transpose(image).convert("RGB")
        scale = round(size / self.crop) / min(image.size)
        width, height = (max(size, round(n * scale)) for n in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        colours = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
        return (colours - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)


def imagenet_names() -> list[str]:
    """The names of ImageNet's 1000 classes, in order."""
    return (Path(__file__).parent / "imagenet.txt").read_text().splitlines()
