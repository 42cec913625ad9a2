"""How a verb reads the words after it, and how it ends."""

import os
import sys
from collections.abc import Callable, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TypeVar

import tyro

from jconv.train import ConfigError

OK, USAGE_ERROR, INTERRUPTED = 0, 2, 130

T = TypeVar("T")


def parse(target: Callable[..., T], prog: str, words: Sequence[str], **options) -> T:
    """Calls a function, or makes a dataclass, of words; its docstring is its `--help`.

    Args:
      target: what to call.
      prog: the verb, and what of its words is not among these.
      words: the arguments.
      options: of `tyro.cli`.
    """
    return tyro.cli(target, prog=f"jconv {prog}", args=list(map(_at_home, words)), **options)


def _at_home(word: str) -> str:
    """`--runs=~/runs` as shells would have it, which expand a word that begins with `~` alone."""
    option, equals, value = word.partition("=")
    own = option.startswith("--") and "." not in option  # the config's paths stay as they are
    return option + equals + os.path.expanduser(value) if own else word


def leading_path(words: Sequence[str], verb: str, arguments: type) -> tuple[Path, list[str]]:
    """The config that comes first, and what follows it.

    Args:
      words: those after the verb.
      verb: its name.
      arguments: what they are read as, whose docstring says what the verb does.

    Raises:
      ConfigError: where no path comes first.
    """
    if words and not words[0].startswith("-"):
        return Path(words[0]), list(words[1:])
    if words and words[0] in ("-h", "--help"):
        print(f"usage: jconv {verb} CONFIG.yaml [--section.field VALUE ...] [--overwrite]\n")
        print(cleandoc(arguments.__doc__ or ""), end="\n\n")
        print(f"`jconv {verb} CONFIG.yaml --help` lists the values of that config.")
        sys.exit(OK)
    raise ConfigError(
        f"`CONFIG` must be the path of a YAML file, given first. Received: "
        f"{words[0] if words else 'nothing'}. Example: jconv {verb} configs/digits.yaml"
    )
