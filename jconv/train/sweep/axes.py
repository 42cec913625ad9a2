"""Axes of a sweep: the values of a config that are varied.

An axis is an option of the command line. `--optimizer.learning_rate 1e-3,3e-3` lists its values,
and `--optimizer.learning_rate 1e-4..1e-1` gives the ends of a range to sample from.
"""

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from jconv.train.config import TrainConfig
from jconv.train.config.loading import ConfigError
from jconv.train.sweep.config_values import get_value, set_value, with_values

SIGNIFICANT_DIGITS = 4  # of sampled values, so that they are easy to read


@dataclass(frozen=True)
class Choices:
    """A list of values for one path of the config, such as `optimizer.learning_rate`."""

    path: str
    values: tuple[Any, ...]

    def sample(self, rng: random.Random) -> Any:
        """Return one of the values, each with the same probability."""
        return rng.choice(self.values)

    def values_to_check(self) -> tuple[Any, ...]:
        """Return values that a config must allow, so that it allows every value of the axis."""
        return self.values

    def to_yaml(self) -> list:
        """Return the axis as it is stored in sweep.yaml."""
        return list(self.values)


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included; only integers if `integer` is true."""

    path: str
    low: float
    high: float
    integer: bool = False

    @property
    def log(self) -> bool:
        """True if the logarithm is sampled uniformly, instead of the number."""
        return self.low > 0 and self.high > 10 * self.low

    def sample(self, rng: random.Random) -> float:
        """Return a number, uniform on a linear or a logarithmic scale; see `log`."""
        if self.log:
            return self.round(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        return self.round(rng.uniform(self.low, self.high))

    def round(self, value: float) -> float:
        """Round a sampled number to an integer or to a few significant digits."""
        value = round(value) if self.integer else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        return min(max(value, self.low), self.high)

    def values_to_check(self) -> tuple[float, ...]:
        """Return values that a config must allow, so that it allows every value of the axis."""
        return self.low, self.high

    def to_yaml(self) -> str:
        """Return the axis as it is stored in sweep.yaml."""
        return f"{self.low:g}..{self.high:g}"


Axis = Choices | Range


def parse_axes(arguments: Sequence[str], config: TrainConfig) -> tuple[tuple[Axis, ...], list[str]]:
    """Separate the axes from the other arguments of a command.

    Args:
      arguments: such as `["--optimizer.learning_rate", "1e-3,3e-3", "--replicates", "4"]`.
      config: the config of the sweep, which decides whether a range contains only integers.

    Returns:
      The axes, and the remaining arguments.

    Raises:
      ConfigError: for invalid axes; all problems are listed.
    """
    axes: list[Axis] = []
    rest: list[str] = []
    problems: list[str] = []
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        option, equals, text = argument.partition("=")
        if not equals:
            text = remaining[0] if remaining and not remaining[0].startswith("--") else ""
        if not option.startswith("--") or not _is_axis(text):
            rest.append(argument)
            continue
        if not equals:
            remaining.pop(0)
        path = option.removeprefix("--").replace("-", "_")
        try:
            if path in {axis.path for axis in axes}:
                raise ConfigError(f"`{option}` is given twice: list all of its values at once.")
            axes.append(_parse_axis(path, text, config))
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n  ".join(problems))
    return tuple(axes), rest


def _is_axis(text: str) -> bool:
    return len(_split_at_commas(text)) > 1 or _parse_ends(text) is not None


def _parse_axis(path: str, text: str, config: TrainConfig) -> Axis:
    if path == "name":
        raise ConfigError(
            f"`--name` must be one name: that of the whole sweep. Received: {text!r}."
        )
    ends = _parse_ends(text)
    if ends is not None:
        return _parse_range(path, text, *ends, integer=_needs_integers(config, path, *ends))
    parts = _split_at_commas(text)
    values = [_parse_value(part) for part in parts]
    keys = [json.dumps(value) for value in values]
    if not all(parts):
        problem = "a value is missing before, between or after the commas"
    elif repeated := [part for part, key in zip(parts, keys, strict=True) if keys.count(key) > 1]:
        problem = f"{' and '.join(repeated)} are equal"
    else:
        set_value(
            config.model_dump(mode="json"), path, values[0]
        )  # raises if there is no such path
        return Choices(path, tuple(values))
    raise ConfigError(
        f"`--{path}` must be different values with commas between them: {problem}. "
        f"Received: {text!r}."
    )


def _parse_ends(text: str) -> tuple[float, float] | None:
    match = re.fullmatch(r"(.+?)\.\.(.+)", text)
    if match is None:
        return None
    try:
        low, high = map(float, match.groups())
    except ValueError:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _parse_range(path: str, text: str, low: float, high: float, *, integer: bool) -> Range:
    if not low < high or (integer and (low, high) != (int(low), int(high))):
        kind = "whole number" if integer else "number"
        raise ConfigError(f"`--{path}` must go from a {kind} to a larger one. Received: {text!r}.")
    return Range(path, int(low), int(high), True) if integer else Range(path, low, high)


def _needs_integers(config: TrainConfig, path: str, low: float, high: float) -> bool:
    """Return whether the config allows only integers at a path."""
    current = get_value(config.model_dump(mode="json"), path)
    if current is not None or (low, high) != (int(low), int(high)):
        return isinstance(current, int)
    try:
        with_values(config, {path: low + 0.5}, config.name)
    except ValidationError:
        # The path may also belong to a section of another kind, which another axis selects.
        return True
    return False


def _split_at_commas(text: str) -> list[str]:
    """Split at the commas that are not inside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _parse_value(text: str) -> Any:
    """Parse a value of YAML; also 1e-3, which YAML reads as a string, and None."""
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    try:
        # The detour through JSON makes the value comparable with one read from sweep.yaml.
        return None if text == "None" else json.loads(json.dumps(yaml.safe_load(text)))
    except (yaml.YAMLError, TypeError, ValueError):
        raise ConfigError(f"{text!r} is not a value of YAML.") from None
