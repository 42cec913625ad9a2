"""Pages: templates filled in, and written in one move."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from jconv._core.atomic_io import atomically

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fill(template: str, contents: Mapping[str, Any]) -> str:
    """A template of this folder with `contents` in it; all text is escaped."""
    return _TEMPLATES.get_template(template).render(contents)


def write(page: Path, html: str) -> Path:
    """Writes a page, whole or not at all, and returns its path."""
    with atomically(page, "wb") as file:
        file.write(html.encode("utf-8", errors="replace"))
    return page
