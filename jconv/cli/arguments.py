"""Parsing of the arguments that follow a verb."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

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
