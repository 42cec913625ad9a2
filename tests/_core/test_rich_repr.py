import subprocess
import sys
from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.table import Table

from jconv._core.rich_repr import RichRepr


@dataclass(frozen=True, repr=False)
class Count(RichRepr):
    name: str
    value: int

    def __rich__(self) -> Table:
        table = Table(box=None)
        table.add_column("name")
        table.add_column("value", justify="right")
        table.add_row(f"[bold]{self.name}[/]", f"{self.value:,}")
        return table


class Sentence(RichRepr):
    def __init__(self, text: str):
        self.text = text

    def __rich__(self) -> str:
        return self.text


def test_repr_is_the_plain_text_of_the_table():
    assert repr(Count("taps", 1234)) == " name  value\n taps  1,234"
    assert str(Count("taps", 1234)) == repr(Count("taps", 1234))


def test_repr_has_the_width_of_the_terminal(monkeypatch):
    sentence = Sentence("word " * 30)
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, repr(sentence).splitlines())) <= 40
    monkeypatch.setenv("COLUMNS", "200")
    assert len(repr(sentence).splitlines()) == 1


def test_repr_leaves_numbers_and_colons_as_they_are():
    assert repr(Sentence("see :key: at layer 3")) == "see :key: at layer 3"


def test_html_has_styles_and_escapes_text():
    html = Count("a<b", 1234)._repr_html_()
    assert html.startswith("<pre ") and html.endswith("</pre>")
    assert "font-weight: bold" in html and "a&lt;b" in html and "1,234" in html


def test_rich_prints_the_same_text():
    console = Console(width=60)
    with console.capture() as capture:
        console.print(Count("taps", 1234))
    assert repr(Count("taps", 1234)).split() == capture.get().split()


def test_nothing_is_written_to_the_terminal(capsys):
    repr(Count("taps", 1)), Count("taps", 1)._repr_html_()
    assert capsys.readouterr() == ("", "")


def test_subclass_without_rich_method():
    with pytest.raises(NotImplementedError, match="RichRepr must define `__rich__`"):
        repr(RichRepr())


def test_import_does_not_load_rich():
    code = (
        "import sys, importlib.util as util\n"
        "spec = util.spec_from_file_location('rich_repr', sys.argv[1])\n"
        "spec.loader.exec_module(util.module_from_spec(spec))\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'rich']"
    )
    path = sys.modules[RichRepr.__module__].__file__
    subprocess.run([sys.executable, "-c", code, path], check=True)
