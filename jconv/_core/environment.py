"""The software and hardware that a result depends on: versions, devices, commit and command."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from jconv._version import __version__

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment(tuning_table: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe the environment of this process as JSON-compatible values.

    Args:
      tuning_table: description of the tuning table that `algorithm="auto"` uses, if there is one.
    """
    return {
        "jconv": __version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "git_commit": _git_commit(),
        "tuning_table": tuning_table,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _git_commit() -> str | None:
    """Return the commit of jconv's source if it is a checkout, marked if it has local changes."""
    try:
        # Fails if the surrounding repository belongs to another project.
        _git("ls-files", "--error-unmatch", __file__)
        return _git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
