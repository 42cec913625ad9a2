"""Readers of pages and tables, and a writer of logs."""

import base64
import io
import json
import re
from html.parser import HTMLParser

from PIL import Image
from rich.console import Console


def write_lines(path, lines):
    """Write one JSON value per line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def print_to_text(table, width=80):
    """Return what rich prints, without styles."""
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


class Page(HTMLParser):
    """A page as a browser parses it: tags with their attributes, and the visible text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.raw = [("html", {})], "", path.read_text(encoding="utf-8")
        self.feed(self.raw)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags[-1][0] not in ("script", "style"):
            self.text += data

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if attrs.get(name)]

    def sentences(self):
        """Return the text with single spaces; narrow spaces are kept."""
        return re.sub("[ \n]+", " ", self.text)

    def pictures(self):
        """Return every embedded image, decoded."""
        urls = re.findall(r"data:image/png;base64,([\w+/=]+)", self.raw)
        return [Image.open(io.BytesIO(base64.b64decode(url))) for url in urls]
