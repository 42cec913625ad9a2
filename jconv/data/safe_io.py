"""Reading of untrusted files: only regular files, and no more memory than their content needs."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader
from pathlib import Path

CHUNK_SIZE = 2**20  # bytes read at once
DEFAULT_MEMORY = 2**30  # default limit, in bytes, of the arrays of a data set

FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class BadFile(ValueError):
    """A file that cannot be read safely, or does not hold what it should."""


def printable(text: object) -> str:
    """Return a path or other text from a file with unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def open_file(path: Path, *, within: Path | None = None) -> BufferedReader:
    """Open a regular file for reading bytes.

    Args:
      path: the file, or a link to it.
      within: a folder that must contain the file after links are resolved.

    Raises:
      BadFile: if it is a folder, pipe or device, if a link leads out of `within`, or if it cannot
        be opened.
    """
    try:
        real = Path(os.path.realpath(path, strict=True))
        if within is not None:
            check_within(path, real, within)
        file_type = stat.S_IFMT(os.stat(real).st_mode)
        if file_type != stat.S_IFREG:
            raise BadFile(
                f"{printable(path)}: must be a file. "
                f"Received: {FILE_TYPES.get(file_type, 'another type of file')}."
            )
        # Without O_NONBLOCK, opening would block if a pipe has replaced the file since the check.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BadFile(
            f"{printable(path)}: must be a file that can be read. Received: {error.strerror}."
        ) from error
    return os.fdopen(descriptor, "rb")


def check_within(path: Path | str, real: Path, folder: Path) -> None:
    """Check that a resolved path lies in a folder.

    Args:
      path: the path, as error messages name it.
      real: the path after all links are resolved.
      folder: the folder that must contain it.

    Raises:
      BadFile: if it lies elsewhere.
    """
    if not real.is_relative_to(os.path.realpath(folder)):
        raise BadFile(
            f"{printable(path)}: must lie in {printable(folder)}. Received: a link to "
            f"{printable(real)}. Copy it into the folder."
        )


def size_of(file: BufferedIOBase) -> int:
    """Return the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def list_folder(folder: Path) -> list[os.DirEntry]:
    """List the entries of a folder, sorted by name, without hidden ones.

    Raises:
      BadFile: if the folder cannot be listed or a name is not valid UTF-8.
    """
    try:
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    except OSError as error:
        raise BadFile(
            f"{printable(folder)}: must be a folder that can be listed. Received: {error.strerror}."
        ) from error
    for entry in visible:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise BadFile(
                f"{printable(entry.path)}: must have a name in UTF-8. Received: other bytes. "
                "Rename it."
            ) from None
    return visible


def read_bytes(read: Callable[[int], bytes], count: int) -> bytearray:
    """Read up to `count` bytes; memory grows with the bytes that exist, not with `count`."""
    content = bytearray()
    while len(content) < count:
        chunk = read(min(CHUNK_SIZE, count - len(content)))
        if not chunk:
            break
        content += chunk
    return content
