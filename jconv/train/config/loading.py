"""Loading of config files, which reports all problems of a file at once."""

import difflib
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError

MAX_BYTES = 1_000_000
MAX_ALIASES = 20

SectionType = TypeVar("SectionType", bound=BaseModel)


class ConfigError(ValueError):
    """Error of a config file, whose message lists all problems of the file."""


def load_config(path: Path | str, *schemas: type[SectionType], **defaults: Any) -> SectionType:
    """Load and validate a YAML file.

    Args:
      path: the file.
      *schemas: the types that the file may hold; of several, the one with the most required keys
        present is used.
      **defaults: values of keys that the file lacks.

    Raises:
      ConfigError: with all problems: key, allowed values, received value.
    """
    content = read_yaml(Path(path))
    schema = max(schemas, key=lambda s: sum(key in content for key in _required(s)))
    known = {key: value for key, value in defaults.items() if key in schema.model_fields}
    try:
        return schema.model_validate(known | content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error, schema)}") from None


def run_name(path: Path) -> str:
    """Return the name of a run from its file, with only characters that suit a folder's name."""
    return re.sub(r"[^\w.-]+", "_", path.stem).lstrip("._-") or "run"


def read_yaml(path: Path) -> dict:
    """Return the mapping in a YAML file.

    Raises:
      ConfigError: if the file cannot be read, or holds no mapping.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigError(f"{path}: must be a regular file. Received: a pipe or a device.")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: must be a config of at most {MAX_BYTES:,} bytes. "
                f"Received: {path.stat().st_size:,} bytes."
            )
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file.{_nearest_file(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder. Pass one of the YAML files in it.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a text file in UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {_one_line(error)}") from None
    except (ValueError, RecursionError) as error:  # an invalid date, or thousands of brackets
        raise ConfigError(f"{path}: cannot be parsed: {error}.") from None
    if content is None:
        raise ConfigError(f"{path}: is empty. Start from one of the files in configs/.")
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: must hold keys and values, such as `steps: 100`. "
            f"Received: a {type(content).__name__}."
        )
    return content


def describe(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return all problems of a validation error, one per line."""
    problems = [_problem(item, schema) for item in error.errors() if not _follows(item, error)]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n  ".join([count, *problems])


def _follows(item: Mapping[str, Any], error: ValidationError) -> bool:
    """Return whether a list counts as too short only because its items are invalid."""
    depth = len(item["loc"])
    return item["type"] == "too_short" and any(
        other["loc"][:depth] == item["loc"] and len(other["loc"]) > depth
        for other in error.errors()
    )


def _problem(item: Mapping[str, Any], schema: type[BaseModel]) -> str:
    path, section = _locate(item["loc"], schema)
    received = f"Received: {_short(item['input'])}."
    match item["type"]:
        case "extra_forbidden":
            key = item["loc"][-1]
            if section and key in getattr(section, "renamed", {}):
                return f"{path}: has been renamed to `{section.renamed[key]}`. {received}"  # pyright: ignore
            known = list(section.model_fields) if section else []
            return f"{path}: unknown key.{_nearest(key, known)} Allowed: {known}."
        case "missing":
            return f"{path}: missing. It has no default."
        case "union_tag_not_found":
            kinds = _kinds(section, item["loc"][-1])
            return f"{path}: needs a `kind`, one of {kinds}. {received}"
        case "union_tag_invalid":
            kinds = _kinds(section, item["loc"][-1])
            given = item["ctx"]["tag"]
            return (
                f"{path}.kind: must be one of {kinds}.{_nearest(given, kinds)} Received: {given!r}."
            )
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{path}: {message}. {received}" if path else f"{message}."
    allowed = item["msg"].replace("Input should be", "must be").replace("Value", "value")
    expected = [word.strip("'") for word in str(item.get("ctx", {}).get("expected", "")).replace(
        " or ", ", ").split(", ")]  # fmt: skip
    return f"{path}: {allowed}.{_nearest(item['input'], expected)} {received}"


def _locate(loc: tuple, schema: type[BaseModel]) -> tuple[str, type[BaseModel] | None]:
    """Return a key's path as in the file, and the section to which its last part belongs.

    Pydantic's location also contains the tag of a union's member, and marks the keys of mappings.
    """
    parts, section, annotation = [], schema, schema
    for part in loc:
        members = [m for m in _members(annotation) if _tag(m) == part]
        if members:
            annotation = members[0]
            continue
        if part == "[key]":
            parts[-1] += " (as a key)"
            continue
        parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
            field = annotation.model_fields.get(str(part))
            annotation = _without_none(field.annotation) if field else None
        else:
            annotation = None
    return "".join(parts).lstrip("."), section


def _without_none(annotation):
    """Return `X` for an annotation `X | None`."""
    members = [member for member in _members(annotation) if member is not types.NoneType]
    return members[0] if len(members) == 1 else annotation


def _members(annotation) -> tuple:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return ()


def _tag(section) -> str | None:
    field = getattr(section, "model_fields", {}).get("kind")
    return field.default if field else None


def _kinds(section, key) -> list:
    return [_tag(member) for member in _members(section.model_fields[key].annotation)]


def _required(schema: type[BaseModel]) -> list[str]:
    return [name for name, field in schema.model_fields.items() if field.is_required()]


def _nearest(word, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(str(word), [k for k in known if k], n=1)
    return f" Did you mean `{matches[0]}`?" if matches and matches[0] != word else ""


def _nearest_file(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist."
    matches = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.y*ml")], n=1)
    return f" Did you mean {folder / matches[0]}?" if matches else ""


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{getattr(error, 'problem', None) or error}{where}."


def _short(value) -> str:
    # `reprlib` limits its recursion: a few aliases in YAML can expand to billions of values.
    text = reprlib.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that rejects duplicate keys and large numbers of aliases."""

    aliases = 0

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:  # a few dozen can expand to billions of values
                mark = self.peek_event().start_mark
                problem = f"more than {MAX_ALIASES} aliases"
                raise ComposerError(None, None, problem, mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        keys = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict | set):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a string or a number", key_node.start_mark
                )
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep)
