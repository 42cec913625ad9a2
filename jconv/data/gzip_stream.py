"""Incremental decompression of gzip: a small file may expand to a thousand times its size."""

import zlib
from io import BufferedIOBase

from jconv.data.safe_io import CHUNK_SIZE

GZIP_MAGIC = b"\x1f\x8b"


class GzipStream:
    """A gzip file that is decompressed as it is read.

    Python's `gzip` reads the file name in the header byte by byte, which takes minutes if a
    malicious file has a long one. zlib does not.

    Args:
      file: the compressed file.
    """

    def __init__(self, file: BufferedIOBase):
        self._file = file
        self._decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def read(self, count: int) -> bytes:
        """Return 1 to `count` decompressed bytes, or none at the end.

        Args:
          count: the maximum; at least 1.

        Raises:
          zlib.error: if the content is not valid gzip.
          EOFError: if the file is truncated.
        """
        while not self._decompressor.eof:
            compressed = self._decompressor.unconsumed_tail or self._file.read(CHUNK_SIZE)
            if not compressed:
                raise EOFError("the end is missing")
            content = self._decompressor.decompress(compressed, count)
            if content:
                return content
        return b""
