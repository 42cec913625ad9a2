"""Files that appear whole or not at all, so that no reader and no Ctrl-C meets half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomically(path: Path, mode: str = "w") -> Iterator[IO]:
    """Opens a file that is in its place once all is written."""
    part = path.with_name(path.name + ".part")
    with open(part, mode, encoding=None if "b" in mode else "utf-8") as file:
        yield file
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with atomically(path) as file:
        file.write(text)
