"""Readable results: one `__rich__` method serves the terminal, `repr` and Jupyter."""

from __future__ import annotations

import io
import shutil
from typing import Any

NOTEBOOK_WIDTH = 120  # characters; a notebook scrolls sideways where its page is narrower
NOTEBOOK_FORMAT = (
    '<pre style="white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace">'
    "{code}</pre>"
)


class RichRepr:
    """Mixin of results that a person prints.

    A subclass defines `__rich__`, which returns a string or a table. Square brackets in it are
    rich's markup, so text from elsewhere goes through `rich.markup.escape`. A dataclass needs
    `repr=False`, or its generated `__repr__` hides this one.

    Rich is imported when a result is printed, so `import jconv` does not load it; import it inside
    of `__rich__` for the same reason.
    """

    def __rich__(self) -> Any:
        """Return what rich prints."""
        raise NotImplementedError(f"{type(self).__name__} must define `__rich__`.")

    def __repr__(self) -> str:
        width = shutil.get_terminal_size((NOTEBOOK_WIDTH, 24)).columns
        console = _console(width, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return "\n".join(line.rstrip() for line in capture.get().strip("\n").split("\n"))

    def _repr_html_(self) -> str:
        """Return the same text for Jupyter, with rich's styles."""
        console = _console(NOTEBOOK_WIDTH, color_system="truecolor", record=True)
        console.print(self)
        return console.export_html(inline_styles=True, code_format=NOTEBOOK_FORMAT)


def _console(width: int, **options) -> Any:
    """Make a console that prints into memory, in Jupyter too."""
    from rich.console import Console

    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=False,
        force_jupyter=False,
        highlight=False,
        emoji=False,
        **options,
    )
