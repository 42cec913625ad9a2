"""Labelled images that are decoded on demand, and a limit on how many may be skipped."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from jconv.data.dataset import Examples, Source
from jconv.data.safe_io import BadFile
from jconv.data.splitting import scale_pixels


@dataclass
class SkipBudget:
    """A limit on the images that may be skipped because they cannot be decoded.

    Args:
      max_skipped: the limit, over all splits together.
    """

    max_skipped: int = 0
    _skipped: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def skip(self, index: int, error: BadFile) -> None:
        """Count an image as skipped and warn about it, once per image.

        Raises:
          BadFile: if the limit is exceeded.
        """
        with self._lock:
            if index in self._skipped:
                return
            if len(self._skipped) >= self.max_skipped:
                raise BadFile(
                    f"{error} At most {self.max_skipped} images may be skipped; `max_skipped` sets "
                    "the limit."
                ) from error
            self._skipped.add(index)
        warnings.warn(f"skipped: {error}", stacklevel=2)


@dataclass(frozen=True)
class LazyImages(Source):
    """A source that decodes an image when it is read.

    If an image cannot be decoded and `skip_budget` permits, the next image of the same split takes
    its place. Batches thus keep their size, and reading an example twice gives the same arrays.

    Args:
      decode: returns the image at an index of `labels`; raises `BadFile`.
      labels: labels of all images.
      input_shape: rows, columns and channels.
      outputs: the number of classes.
      classes: names of the classes, or None.
      skip_budget: counts the images that cannot be decoded.
      indices: indices of the images in this source; None for all.
    """

    decode: Callable[[int], UInt8[np.ndarray, "h w c"]]
    labels: Int[np.ndarray, " n"]
    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...] | None = None
    skip_budget: SkipBudget = field(default_factory=SkipBudget)
    indices: Int[np.ndarray, " k"] | None = None

    def __len__(self) -> int:
        return len(self.labels if self.indices is None else self.indices)

    def __getitem__(self, index: int) -> tuple[Float[np.ndarray, "h w c"], np.int32]:
        for offset in range(len(self)):
            image_index = self._image_index((index + offset) % len(self))
            pixels = self._decode_or_skip(image_index)
            if pixels is not None:
                return scale_pixels(pixels), self.labels[image_index]
        raise BadFile("there must be an image that can be decoded. Received: none.")

    def subset(self, indices: Int[np.ndarray, " k"]) -> LazyImages:
        """Return a source of the examples at `indices`."""
        return replace(self, indices=np.array([self._image_index(int(i)) for i in indices]))

    def load_if_fits(self, memory: int) -> Examples | LazyImages:
        """Decode all images into memory as bytes; return self if they would not fit.

        Args:
          memory: limit in bytes of the images as float32.
        """
        if 4 * len(self) * int(np.prod(self.input_shape)) > memory:
            return self
        images = np.empty((len(self), *self.input_shape), np.uint8)
        kept = []
        for i in range(len(self)):
            image_index = self._image_index(i)
            pixels = self._decode_or_skip(image_index)
            if pixels is not None:
                images[len(kept)] = pixels
                kept.append(image_index)
        return Examples(images[: len(kept)], self.labels[kept])

    def _image_index(self, i: int) -> int:
        return i if self.indices is None else int(self.indices[i])

    def _decode_or_skip(self, image_index: int) -> UInt8[np.ndarray, "h w c"] | None:
        try:
            return self.decode(image_index)
        except BadFile as error:
            self.skip_budget.skip(image_index, error)
            return None
