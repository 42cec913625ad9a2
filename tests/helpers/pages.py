"""What a browser would find in a page, and the lines of a log."""

import base64
import io
import json
import re
from html.parser import HTMLParser

from PIL import Image


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and the text a reader sees."""

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
        """The text, however it was broken into lines; narrow spaces stay what they are."""
        return re.sub("[ \n]+", " ", self.text)

    def pictures(self):
        """Every embedded picture, decoded."""
        urls = re.findall(r"data:image/png;base64,([\w+/=]+)", self.raw)
        return [Image.open(io.BytesIO(base64.b64decode(url))) for url in urls]
