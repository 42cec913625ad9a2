"""Values of a config by their paths: setting, naming and formatting them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from jconv.train.config import TrainConfig
from jconv.train.config.loading import ConfigError

Values = dict[str, Any]  # a value of the config for each path, such as `optimizer.learning_rate`


def get_value(content: Any, path: str) -> Any:
    """Return the value at a path of nested dicts and lists; None if there is none."""
    for part in path.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def set_value(content: Any, path: str, value: Any) -> None:
    """Set the value at a path of nested dicts and lists.

    A section whose `kind` changes loses its other values.

    Raises:
      ConfigError: if the path leads through something that is neither.
    """
    *parents, last = path.split(".")
    for part in parents:
        if isinstance(content, dict):
            if content.get(part) is None:
                content[part] = {}
            content = content[part]
        elif get_value(content, part) is not None:
            content = content[int(part)]
    if isinstance(content, list) and last.isdecimal() and int(last) < len(content):
        content[int(last)] = value
    elif isinstance(content, dict):
        if last == "kind" and content.get("kind") != value:
            content.clear()
        content[last] = value
    else:
        raise ConfigError(
            f"`--{path}` must be the path of a value of the config, such as "
            f"`--optimizer.learning_rate`. Received: no such path."
        )


def with_values(config: TrainConfig, values: Mapping[str, Any], name: str) -> TrainConfig:
    """Return a config with other values.

    Args:
      config: the config to change a copy of.
      values: new values by path. A section whose `kind` changes starts with the defaults of that
        kind.
      name: name of the run.

    Raises:
      ValidationError: if the values are not allowed.
    """
    content = config.model_dump(mode="json") | {"name": name}
    # A section is set before the values in it, and its kind before its other values.
    order = sorted(values, key=lambda path: (path.count("."), not path.endswith(".kind")))
    for path in order:
        set_value(content, path, values[path])
    return TrainConfig.model_validate(content)


def format_value(value: Any) -> str:
    """Format a value of a config on one line, as short as YAML allows.

    >>> format_value(1e-3), format_value(True), format_value([{"1": 8, "3": 16}])
    ('0.001', 'true', '[{1: 8, 3: 16}]')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    content = _with_integer_keys(value)
    text = yaml.safe_dump(content, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("...\n").strip()


def _with_integer_keys(value: Any) -> Any:
    """Convert keys that JSON made strings, such as kernel sizes, back to integers."""
    if isinstance(value, dict):
        return {
            int(key) if str(key).isdecimal() else key: _with_integer_keys(item)
            for key, item in value.items()
        }
    return [_with_integer_keys(item) for item in value] if isinstance(value, list) else value


def format_values(values: Values) -> str:
    """Format values with short names, such as `learning_rate 0.001, replicates 4`."""
    names = short_names(list(values))
    return ", ".join(f"{names[path]} {format_value(value)}" for path, value in values.items())


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return for each path its shortest ending that no other path has.

    >>> short_names(["optimizer.learning_rate", "data.seed", "seed"])
    {'optimizer.learning_rate': 'learning_rate', 'data.seed': 'data.seed', 'seed': 'seed'}
    """

    def ending(path: str, count: int) -> str:
        return ".".join(path.split(".")[-count:])

    def shorten(path: str) -> str:
        for count in range(1, path.count(".") + 1):
            if sum(ending(other, count) == ending(path, count) for other in paths) == 1:
                return ending(path, count)
        return path

    return {path: shorten(path) for path in paths}
