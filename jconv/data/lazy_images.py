"""Labelled images that are decoded when they are asked for."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from jconv.data.labels import scaled
from jconv.data.safe_io import BadFile
from jconv.data.source import Source
from jconv.data.split import Split


@dataclass
class Skipping:
    """How many images may be passed over because they cannot be decoded.

    Args:
      most: so many, in all splits together.
    """

    most: int = 0
    _seen: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def skip(self, index: int, error: BadFile) -> None:
        """Passes one over, and says so; or says that it was one too many."""
        with self._lock:
            if index in self._seen:
                return
            if len(self._seen) >= self.most:
                raise BadFile(
                    f"{error} At most `skip_at_most`, {self.most}, may be skipped."
                ) from error
            self._seen.add(index)
        warnings.warn(f"skipped: {error}", stacklevel=2)


@dataclass(frozen=True)
class EncodedImages(Source):
    """A source of images that `read` decodes.

    An example whose image cannot be decoded is the next one of the same split instead, as often
    as `skipping` allows: so batches keep their size, and each is the same whenever it is read.

    Args:
      read: decodes the image of an index; raises `BadFile`.
      labels: of all images.
      input_shape: rows, columns, channels.
      outputs: how many classes there are.
      classes: their names, if they have any.
      skipping: counts what cannot be decoded.
      indices: of the images that this source has; all by default.
    """

    read: Callable[[int], UInt8[np.ndarray, "h w c"]]
    labels: Int[np.ndarray, " n"]
    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...] | None = None
    skipping: Skipping = field(default_factory=Skipping)
    indices: Int[np.ndarray, " k"] | None = None

    def __len__(self) -> int:
        return len(self.labels if self.indices is None else self.indices)

    def __getitem__(self, index: int) -> tuple[Float[np.ndarray, "h w c"], np.int32]:
        for offset in range(len(self)):
            here = self._index((index + offset) % len(self))
            pixels = self._read(here)
            if pixels is not None:
                return scaled(pixels), self.labels[here]
        raise BadFile("there must be an image that can be decoded. Received: none.")

    def part(self, indices: Int[np.ndarray, " k"]) -> EncodedImages:
        """A source of the examples at `indices` alone."""
        return replace(self, indices=np.array([self._index(int(i)) for i in indices]))

    def in_memory(self, memory: int) -> Split | EncodedImages:
        """All that can be decoded, as bytes, if as numbers they take so much at most; or self."""
        if 4 * len(self) * int(np.prod(self.input_shape)) > memory:
            return self
        images = np.empty((len(self), *self.input_shape), np.uint8)
        kept = []
        for i in range(len(self)):
            here = self._index(i)
            pixels = self._read(here)
            if pixels is not None:
                images[len(kept)] = pixels
                kept.append(here)
        return Split(images[: len(kept)], self.labels[kept])

    def _index(self, i: int) -> int:
        return i if self.indices is None else int(self.indices[i])

    def _read(self, index: int) -> UInt8[np.ndarray, "h w c"] | None:
        try:
            return self.read(index)
        except BadFile as error:
            self.skipping.skip(index, error)
            return None
