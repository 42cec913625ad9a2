"""Files that somebody else wrote: opened only where they are files, read only as far as they go."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO

PIECE = 2**20  # bytes that are read at once
MEMORY = 2**30  # bytes that the arrays of a data set may take, where nothing else is said

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class BadFile(ValueError):
    """Why a file is not read."""


def shown(path: object) -> str:
    """A path, or what else a file says, as it can be printed, whatever bytes it is made of."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))


def open_file(path: Path, *, within: Path | None = None) -> BufferedReader:
    """Opens a file to read bytes from.

    Args:
      path: the file, or a link to it.
      within: the folder in which the file must be, wherever links lead.

    Raises:
      BadFile: for a pipe, a device, a folder, a link that leads out, and what cannot be opened.
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
        if within is not None and not real.is_relative_to(os.path.realpath(within)):
            raise BadFile(
                f"{shown(path)}: must lie in {shown(within)}. Received: a link to {shown(real)}. "
                "Copy the file there."
            )
        kind = stat.S_IFMT(os.stat(real).st_mode)
        if kind != stat.S_IFREG:
            raise BadFile(
                f"{shown(path)}: must be a file. Received: {KINDS.get(kind, 'something else')}."
            )
        # If it has become a pipe since, nobody waits for what will never be written.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(
            f"{shown(path)}: must be a file that can be read. Received: {error.strerror}."
        ) from error
    return os.fdopen(descriptor, "rb")


def size_of(file: IO[bytes]) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def list_folder(folder: Path) -> list[os.DirEntry]:
    """What a folder holds, by name, without what is hidden.

    Raises:
      BadFile: where it cannot be listed, or a name is no text.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    except OSError as error:
        raise BadFile(
            f"{shown(folder)}: must be a folder that can be listed. Received: {error.strerror}."
        ) from error
    for entry in found:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise BadFile(
                f"{shown(entry.path)}: must have a name in UTF-8. Received: other bytes. Rename it."
            ) from None
    return found


def read_bytes(read: Callable[[int], bytes], count: int) -> bytearray:
    """As many bytes as there are, at most `count`; memory grows with what is there, not with it."""
    found = bytearray()
    while len(found) < count:
        piece = read(min(PIECE, count - len(found)))
        if not piece:
            break
        found += piece
    return found
