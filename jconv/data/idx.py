"""IDX files, the format of MNIST and similar data sets: a short header, then bytes.

The header is two zero bytes, the type of the numbers, the number of dimensions, and one big-endian
32-bit size per dimension: http://yann.lecun.com/exdb/mnist.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jconv.data.gzip_stream import GZIP_MAGIC, GzipStream
from jconv.data.safe_io import DEFAULT_MEMORY, BadFile, open_file, printable, read_bytes, size_of

UINT8 = 8  # the header's code for unsigned bytes


def read_idx(
    path: Path, *, rank: int, max_bytes: int = DEFAULT_MEMORY, within: Path | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Read an array of bytes from an IDX file, compressed with gzip or not.

    Args:
      path: the file.
      rank: the required number of dimensions: 3 for images, 1 for labels.
      max_bytes: the maximum size of the array.
      within: a folder that must contain the file after links are resolved.

    Raises:
      BadFile: if the content does not match the header, or exceeds `max_bytes`.
    """
    with open_file(path, within=within) as file:
        try:
            if file.peek(2)[:2] == GZIP_MAGIC:
                return _read(GzipStream(file), rank, max_bytes)
            return _read(file, rank, max_bytes, file_size=size_of(file))
        except BadFile as error:
            raise BadFile(f"{printable(path)}: {error}") from None
        except (zlib.error, EOFError) as error:
            raise BadFile(
                f"{printable(path)}: must be a valid gzip file. Received: {error}. "
                "Download the file again."
            ) from error
        except OSError as error:
            raise BadFile(
                f"{printable(path)}: must be a file that can be read. Received: {error.strerror}."
            ) from error


def _read(
    stream, rank: int, max_bytes: int, *, file_size: int | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Read the array from a stream; `file_size` is known for uncompressed files."""
    header_size = 4 + 4 * rank
    header = bytes(read_bytes(stream.read, header_size))
    magic = bytes([0, 0, UINT8, rank])
    if header[:4] != magic:
        raise BadFile(
            f"must begin with {magic.hex(' ')}: an IDX file of bytes in {rank} dimensions. "
            f"Received: {header[:4].hex(' ') or 'nothing'}. Download the file again."
        )
    if len(header) < header_size:
        raise BadFile(
            f"must have a header of {header_size} bytes. Received: {len(header)}. "
            "Download the file again."
        )
    shape = struct.unpack(f">{rank}I", header[4:])
    count = math.prod(shape)
    if not 0 < count <= max_bytes:
        raise BadFile(
            f"must hold from 1 to {max_bytes} bytes; `memory` sets the limit. "
            f"Received: a header with shape {shape}, which is {count} bytes."
        )

    def wrong_size(received: object) -> BadFile:
        return BadFile(
            f"must hold the {count} bytes of its header's shape {shape}. Received: {received}. "
            "Download the file again."
        )

    if file_size is not None and file_size - header_size != count:
        raise wrong_size(file_size - header_size)
    content = read_bytes(stream.read, count)
    if len(content) < count:
        raise wrong_size(len(content))
    if stream.read(1):
        raise wrong_size("more")
    return np.frombuffer(content, np.uint8).reshape(shape)
