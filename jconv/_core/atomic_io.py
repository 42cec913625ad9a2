"""Atomic writes: a file appears complete or not at all, also after an interruption."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomically(path: Path, mode: str = "w") -> Iterator[IO]:
    """Open a file that replaces `path` once everything is written."""
    part = path.with_name(path.name + ".part")
    with open(part, mode, encoding=None if "b" in mode else "utf-8") as file:
        yield file
    os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomically(path) as file:
        file.write(text)
