"""Parsing of the arguments that follow a verb."""

import os
import sys
from collections.abc import Callable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TypeVar

import tyro

from jconv.cli.exit_codes import OK

T = TypeVar("T")


def parse(target: Callable[..., T], prog: str, arguments: Sequence[str], **options) -> T:
    """Call a function, or make a dataclass, with values from the command line.

    Args:
      target: what to call; its docstring is the text of `--help`.
      prog: the verb, and those of its arguments that were parsed already.
      arguments: the arguments to parse.
      options: passed to `tyro.cli`.

    Returns:
      What `target` returns.
    """
    return tyro.cli(
        target, prog=f"jconv {prog}", args=list(map(_expand_user, arguments)), **options
    )


def _expand_user(argument: str) -> str:
    """Expand `~` in `--runs=~/runs`; shells expand it only at the start of an argument."""
    option, equals, value = argument.partition("=")
    # Values of a config, such as `--data.path=~/x`, are stored as they were written.
    is_option_of_verb = option.startswith("--") and "." not in option
    return option + equals + os.path.expanduser(value) if is_option_of_verb else argument


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
