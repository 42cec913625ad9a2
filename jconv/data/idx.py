"""IDX files, in which MNIST and its relatives come: a short header, then bytes.

Two zeros, the type of the numbers, the number of dimensions, a size for each (four bytes, the
highest first), and the numbers: http://yann.lecun.com/exdb/mnist.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jconv.data.gzip_stream import MAGIC as GZIP
from jconv.data.gzip_stream import Gunzip
from jconv.data.safe_io import MEMORY, BadFile, open_file, read_bytes, shown, size_of

BYTES = 8  # the type of the numbers, as the header calls it


def read_idx(
    path: Path, *, rank: int, most: int = MEMORY, within: Path | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Reads bytes from an IDX file, packed by gzip or not.

    Args:
      path: the file.
      rank: dimensions it must have: 3 for images, 1 for labels.
      most: bytes that it may hold.
      within: the folder in which the file must be.

    Raises:
      BadFile: where it is not what its header says, or more than `most`.
    """
    with open_file(path, within=within) as file:
        try:
            packed = file.peek(2)[:2] == GZIP
            return _read(Gunzip(file) if packed else file, rank, most, None if packed else file)
        except BadFile as error:
            raise BadFile(f"{shown(path)}: {error}") from None
        except (zlib.error, EOFError) as error:
            raise BadFile(
                f"{shown(path)}: must be what gzip packed. Received: {error}. Get the file again."
            ) from error
        except OSError as error:
            raise BadFile(
                f"{shown(path)}: must be a file that can be read. Received: {error.strerror}."
            ) from error


def _read(source, rank: int, most: int, plain) -> UInt8[np.ndarray, "*shape"]:
    header = bytes(read_bytes(source.read, 4 + 4 * rank))
    wanted = bytes([0, 0, BYTES, rank])
    if header[:4] != wanted:
        raise BadFile(
            f"must begin with {wanted.hex(' ')}: an IDX file of bytes in {rank} dimensions. "
            f"Received: {header[:4].hex(' ') or 'nothing'}. Get the file again."
        )
    if len(header) < 4 + 4 * rank:
        raise BadFile(
            f"must have a header of {4 + 4 * rank} bytes. Received: {len(header)}. "
            "Get the file again."
        )
    shape = struct.unpack(f">{rank}I", header[4:])
    count = math.prod(shape)
    if not 0 < count <= most:
        raise BadFile(
            f"must hold from 1 to {most} bytes; `memory` sets how much. "
            f"Received: a header that says {shape}, which is {count}."
        )
    there = size_of(plain) - len(header) if plain else count
    if there == count:
        content = read_bytes(source.read, count)
        there = "more" if len(content) == count and source.read(1) else len(content)
    if there != count:
        raise BadFile(
            f"must hold the {count} bytes that its header says, {shape}. Received: {there}. "
            "Get the file again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)
