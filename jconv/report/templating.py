"""HTML pages: templates of this folder, rendered and written atomically."""

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


def render(template: str, context: Mapping[str, Any]) -> str:
    """Render a template of this folder; all text in `context` is escaped."""
    return _TEMPLATES.get_template(template).render(context)


def write(page: Path, html: str) -> Path:
    """Write a page atomically, and return its path."""
    with atomically(page, "wb") as file:
        file.write(html.encode("utf-8", errors="replace"))
    return page
