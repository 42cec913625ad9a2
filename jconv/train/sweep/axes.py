"""The axes of a sweep: which values of a config are tried, and the points that they span.

An axis is a word of the command line: `--optimizer.learning_rate 1e-3,3e-3` names its values, and
`--optimizer.learning_rate 1e-4..1e-1` the ends of a range that values are drawn from.
"""

import itertools
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from jconv.train.config import TrainConfig
from jconv.train.config.loading import ConfigError

MOST_POINTS = 1000
DIGITS = 4  # of a value that is drawn, so that it can be read

Values = dict[str, Any]  # of a point: a value of the config for the path of each axis


@dataclass(frozen=True)
class Choices:
    """Some values of one place in the config, such as `optimizer.learning_rate`."""

    path: str
    values: tuple[Any, ...]

    def draw(self, numbers: random.Random) -> Any:
        return numbers.choice(self.values)

    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all others when a config is checked: here, all of them."""
        return self.values

    def told(self) -> list:
        """As it stands in sweep.yaml."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included; whole ones alone where the config wants those."""

    path: str
    low: float
    high: float
    whole: bool = False

    @property
    def log(self) -> bool:
        """Whether each factor is as likely as any other, and not each difference."""
        return self.low > 0 and self.high > 10 * self.low

    def draw(self, numbers: random.Random) -> float:
        if self.log:
            return self.rounded(math.exp(numbers.uniform(math.log(self.low), math.log(self.high))))
        return self.rounded(numbers.uniform(self.low, self.high))

    def rounded(self, value: float) -> float:
        """As it is tried."""
        value = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        return min(max(value, self.low), self.high)

    def ends(self) -> tuple[float, ...]:
        return self.low, self.high

    def told(self) -> str:
        return f"{self.low:g}..{self.high:g}"


Axis = Choices | Range


def read_axes(words: Sequence[str], config: TrainConfig) -> tuple[tuple[Axis, ...], list[str]]:
    """Finds the axes among the words of a command.

    Args:
      words: such as `["--optimizer.learning_rate", "1e-3,3e-3", "--replicates", "4"]`.
      config: says where whole numbers are wanted.

    Returns:
      The axes, and the words that are none: options with one value.

    Raises:
      ConfigError: for what cannot be an axis, all problems at once.
    """
    axes: list[Axis] = []
    rest: list[str] = []
    problems: list[str] = []
    words = list(words)
    while words:
        word = words.pop(0)
        option, joined, text = word.partition("=")
        if not joined:
            text = words[0] if words and not words[0].startswith("--") else ""
        if not option.startswith("--") or not _is_axis(text):
            rest.append(word)
            continue
        if not joined:
            words.pop(0)
        path = option.removeprefix("--").replace("-", "_")
        try:
            if path in {axis.path for axis in axes}:
                raise ConfigError(f"`{option}` is given twice: name all of its values at once.")
            axes.append(_axis(path, text, config))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n  ".join(problems))
    return tuple(axes), rest


def _is_axis(text: str) -> bool:
    return len(_pieces(text)) > 1 or _ends(text) is not None


def _axis(path: str, text: str, config: TrainConfig) -> Axis:
    if path == "name":
        raise ConfigError(f"`--name` is that of the whole sweep, and only one. Received: {text!r}.")
    ends = _ends(text)
    if ends is not None:
        return _range(path, text, *ends, whole=_is_whole(config, path, *ends))
    pieces = _pieces(text)
    values = [_value(piece) for piece in pieces]
    seen = [json.dumps(value) for value in values]
    if not all(pieces):
        wrong = "nothing stands between two commas, or before the first or after the last"
    elif twice := [piece for piece, own in zip(pieces, seen, strict=True) if seen.count(own) > 1]:
        wrong = f"{' and '.join(twice)} are the same"
    else:
        _put(config.model_dump(mode="json"), path, values[0])  # refuses a path that leads nowhere
        return Choices(path, tuple(values))
    raise ConfigError(
        f"`--{path}` must be different values with commas between them: {wrong}. "
        f"Received: {text!r}."
    )


def _is_whole(config: TrainConfig, path: str, low: float, high: float) -> bool:
    """Whether a range holds whole numbers alone: where the config refuses what lies between."""
    known = _at(config.model_dump(mode="json"), path)
    if known is not None or (low, high) != (int(low), int(high)):
        return isinstance(known, int)
    try:
        with_values(config, {path: low + 0.5}, config.name)
    except ValidationError:  # perhaps as another axis has to change the kind of its section first
        return True
    return False


def _range(path: str, text: str, low: float, high: float, *, whole: bool) -> Range:
    if not low < high or (whole and (low, high) != (int(low), int(high))):
        kind = "whole number" if whole else "number"
        raise ConfigError(f"`--{path}` must go from a {kind} to a larger one. Received: {text!r}.")
    return Range(path, int(low), int(high), True) if whole else Range(path, low, high)


def _ends(text: str) -> tuple[float, float] | None:
    match = re.fullmatch(r"(.+?)\.\.(.+)", text)
    if match is None:
        return None
    try:
        low, high = map(float, match.groups())
    except ValueError:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _pieces(text: str) -> list[str]:
    """What stands between commas that are not inside brackets."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces]


def _value(text: str) -> Any:
    """Reads a value as in YAML, and also 1e-3, which YAML takes for a word."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    try:
        # Through JSON, so that what is in sweep.yaml can be compared with it.
        return None if text == "None" else json.loads(json.dumps(yaml.safe_load(text)))
    except (yaml.YAMLError, TypeError, ValueError):
        raise ConfigError(f"{text!r} is not a value of YAML.") from None


def _at(content: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(content, dict):
            content = content.get(part)
        elif isinstance(content, list) and part.isdecimal() and int(part) < len(content):
            content = content[int(part)]
        else:
            return None
    return content


def with_values(config: TrainConfig, values: Mapping[str, Any], name: str) -> TrainConfig:
    """The config of a point.

    Args:
      config: that of the sweep.
      values: by path. A section whose `kind` changes starts with the defaults of that kind.
      name: of the run.

    Raises:
      ValidationError: where the values are not allowed.
    """
    content = config.model_dump(mode="json") | {"name": name}
    # A section before what is in it, and its kind before its other values.
    order = sorted(values, key=lambda path: (path.count("."), not path.endswith(".kind")))
    for path in order:
        _put(content, path, values[path])
    return TrainConfig.model_validate(content)


def _put(content: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for part in way:
        if isinstance(content, dict):
            if content.get(part) is None:
                content[part] = {}
            content = content[part]
        elif _at(content, part) is not None:
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


def grid(axes: Sequence[Axis]) -> list[Values]:
    """All points, the last axis changing fastest.

    Raises:
      ConfigError: where an axis is a range, or there are very many points.
    """
    ranges = [axis.path for axis in axes if isinstance(axis, Range)]
    if ranges:
        raise ConfigError(
            f"`--{ranges[0]}` is a range, and a grid needs values with commas between them. "
            f"Name some, or draw points with `--random N` or `--optuna N`."
        )
    size = math.prod(len(axis.ends()) for axis in axes)
    if size > MOST_POINTS:
        raise ConfigError(
            f"a grid must have at most {MOST_POINTS:,} points. Received: {size:,}. "
            f"Name fewer values, or draw points of it with `--random N`."
        )
    paths = [axis.path for axis in axes]
    return [
        dict(zip(paths, values, strict=True))
        for values in itertools.product(*(axis.ends() for axis in axes))
    ]


def draw(axes: Sequence[Axis], count: int, seed: int) -> list[Values]:
    """Points drawn at random, no two the same; the first of them are those of a smaller `count`.

    Raises:
      ConfigError: where there are not so many.
    """
    numbers = random.Random(seed)
    points: dict[str, Values] = {}
    for _ in range(200 * count):  # far more than it takes to come upon each of `count` points
        values = {axis.path: axis.draw(numbers) for axis in axes}
        points.setdefault(json.dumps(values), values)
        if len(points) == count:
            return list(points.values())
    raise ConfigError(
        f"`--random` must be at most the number of different points, which is {len(points):,} "
        f"here. Received: {count:,}. Leave it out for a grid of all of them."
    )


def text_of(value: Any) -> str:
    """Writes a value as short as it can be told from others.

    >>> text_of(1e-3), text_of(True), text_of(None), text_of([{"1": 8, "3": 16}])
    ('0.001', 'true', 'null', '[{1: 8, 3: 16}]')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    plain = _with_whole_keys(value)
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("...\n").strip()


def _with_whole_keys(value: Any) -> Any:
    """Keys that JSON made words, such as sizes of kernels, as the numbers that they are."""
    if isinstance(value, dict):
        return {int(k) if str(k).isdecimal() else k: _with_whole_keys(v) for k, v in value.items()}
    return [_with_whole_keys(item) for item in value] if isinstance(value, list) else value


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The last words of each path, as many as tell it from the others.

    >>> short_names(["optimizer.learning_rate", "data.seed", "seed"])
    {'optimizer.learning_rate': 'learning_rate', 'data.seed': 'data.seed', 'seed': 'seed'}
    """

    def ending(path: str, words: int) -> str:
        return ".".join(path.split(".")[-words:])

    def short(path: str) -> str:
        for words in range(1, path.count(".") + 1):
            if sum(ending(other, words) == ending(path, words) for other in paths) == 1:
                return ending(path, words)
        return path

    return {path: short(path) for path in paths}
