"""Arguments of the verbs that take a config and override its values."""

import sys
from collections.abc import Callable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.train import ConfigError, TrainConfig
from jconv.train.config.loading import describe

T = TypeVar("T")


def parse_overrides(
    schema: Callable[[TrainConfig], T], prog: str, arguments: Sequence[str], config: TrainConfig
) -> T:
    """Make the dataclass of a verb's arguments, with values of the config overridden.

    Args:
      schema: the dataclass, whose first field is the config.
      prog: the verb and the path of the config.
      arguments: the arguments after the path.
      config: the config in the file.

    Raises:
      ConfigError: if the overridden values are invalid.
    """
    try:
        return parse(schema, prog, arguments, default=schema(config))
    except ValidationError as error:
        raise ConfigError(describe(error, TrainConfig)) from None


def split_config_path(arguments: Sequence[str], verb: str, schema: type) -> tuple[Path, list[str]]:
    """Return the path of the config, which comes first, and the arguments after it.

    Args:
      arguments: the arguments after the verb.
      verb: its name.
      schema: the dataclass of the arguments, whose docstring describes the verb.

    Raises:
      ValueError: if no path comes first.
    """
    if arguments and not arguments[0].startswith("-"):
        return Path(arguments[0]), list(arguments[1:])
    if arguments and arguments[0] in ("-h", "--help"):
        print(f"usage: jconv {verb} CONFIG.yaml [--section.field VALUE ...] [--overwrite]\n")
        print(cleandoc(schema.__doc__ or ""), end="\n\n")
        print(f"`jconv {verb} CONFIG.yaml --help` lists the values of that config.")
        sys.exit(OK)
    raise ValueError(
        f"`CONFIG` must be the path of a YAML file, given first. Received: "
        f"{arguments[0] if arguments else 'nothing'}. Example: jconv {verb} configs/digits.yaml"
    )
