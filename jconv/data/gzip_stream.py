"""What gzip packed, read piece by piece: a small file may unpack to a thousand times its size."""

import zlib
from typing import IO

from jconv.data.safe_io import PIECE

MAGIC = b"\x1f\x8b"


class Gunzip:
    """Unpacks a file as it is read.

    Python's `gzip` reads a header's file name byte by byte, which takes minutes where somebody
    wrote a long one; zlib does not.

    Args:
      file: what to read from.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def read(self, count: int) -> bytes:
        """At most `count` bytes, at least one of them before the end.

        Args:
          count: at least 1.

        Raises:
          zlib.error: where it is not what gzip wrote.
          EOFError: where it ends too early.
        """
        while not self._unpack.eof:
            packed = self._unpack.unconsumed_tail or self._file.read(PIECE)
            if not packed:
                raise EOFError("the end is missing")
            found = self._unpack.decompress(packed, count)
            if found:
                return found
        return b""
