"""The code of docs/data.md runs, and its configs are valid."""

import re
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from jconv.data import load_npz
from jconv.train import TrainConfig
from jconv.train.config import Data

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_python_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "docs"}
    for block in code_blocks("python"):
        exec(block, namespace)
    assert namespace["state"] == {"next_index": 1}
    assert namespace["inputs"].shape == (32, 16, 16, 1)
    assert load_npz("stripes.npz").input_shape == (16, 16, 1)


def test_configs_are_valid():
    examples, stripes = code_blocks("yaml")
    for line in examples.splitlines():
        TypeAdapter(Data).validate_python(yaml.safe_load(line)["data"])
    assert TrainConfig.model_validate(yaml.safe_load(stripes)).data.path == "stripes.npz"


def test_table_lists_every_kind():
    _, *listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(TypeAdapter(Data).json_schema()["discriminator"]["mapping"])


def test_files_named_by_the_page_exist():
    named = set(re.findall(r"`((?:jconv|tests)/[\w/]+\.py)`", PAGE.read_text()))
    missing = {name for name in named if not (PAGE.parents[1] / name).exists()}
    assert missing == {"jconv/data/stripes.py"}  # the page's example of a new file
