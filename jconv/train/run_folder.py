"""The folder of a run: made when all is ready, written so that it can be read at any time."""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import jax
import yaml
from pydantic import BaseModel

from jconv._core.atomic_io import write_text
from jconv.selection.tuning_table import table_of, table_path
from jconv.train.distributed import writes

LAYOUT = ("mesh", "distributed")  # sections that say where a run is, not what
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


CONTENTS = {
    "config.yaml",
    "environment.json",
    "layers.json",
    "target.npz",
    "metrics.jsonl",
    "tensorboard",
    "kernels",
    "checkpoints",
    "summary.json",
    "report.html",
}


class RunExists(ValueError):
    """There is a run of this name already, and nothing of it was touched."""


def check_free(run: Path, *, overwrite: bool) -> None:
    """Refuses a folder that is taken.

    Raises:
      RunExists: if there is something at `run` that may not be replaced. Even with `overwrite`,
        a folder that is not a run is never replaced.
    """
    if not os.path.lexists(run):
        return
    if not overwrite:
        raise RunExists(
            f"{run} exists, and a run is never overwritten by itself. "
            f"Choose another `--name`, or replace it with `--overwrite`."
        )
    if run.is_symlink() or not run.is_dir():
        foreign = "is not a folder of its own"
    elif unknown := foreign_in(run):
        foreign = f"holds {unknown[0]!r}, which no run has written"
    else:
        return
    raise RunExists(
        f"{run} {foreign}, so `--overwrite` leaves it alone. "
        f"Choose another `--name`, or remove it yourself."
    )


def foreign_in(run: Path) -> list[str]:
    """What is in a folder that no run has written."""
    return sorted({path.name.removesuffix(".part") for path in run.iterdir()} - CONTENTS)


class RunBusy(ValueError):
    """Another process is writing to the run's folder."""


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keeps every other process from writing to a run's folder, until this ends or is killed.

    Of several processes of one run the first holds the lock.

    Raises:
      RunBusy: where another one does.
    """
    if not writes():
        yield
        return
    folder = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunBusy(
                f"{run} is being written by another process. Wait for it to end, stop it, or "
                f"choose another `--name`."
            ) from None
        yield
    finally:
        os.close(folder)


@contextlib.contextmanager
def create(run: Path, config: BaseModel, *, overwrite: bool) -> Iterator[None]:
    """Makes the folder, with its config complete and the environment it ran in, and locks it.

    The first of several processes does so.
    """
    if not writes():
        yield
        return
    check_free(run, overwrite=overwrite)
    run.mkdir(parents=True, exist_ok=overwrite)
    with locked(run):
        for path in run.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        _begin(run, config)
        yield


def _begin(run: Path, config: BaseModel) -> None:
    content = yaml.safe_dump(_plain(config.model_dump()), sort_keys=False, allow_unicode=True)
    write_json(run / "environment.json", environment())
    write_text(run / "config.yaml", content)  # last: with it, the run can be gone on with


def status(run: Path) -> str:
    """What summary.json says became of a run; "unfinished" where there is none."""
    try:
        return json.loads((run / "summary.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unfinished"


def check_same_config(config: BaseModel, saved: dict, run: Path) -> None:
    """Refuses to go on with another config than the run was saved with; devices may be others.

    Raises:
      ValueError: with every difference.
    """
    saved, now = ({k: v for k, v in content.items() if k not in LAYOUT}
                  for content in (saved, config.model_dump(mode="json")))  # fmt: skip
    if changed := differences(saved, now):
        raise ValueError(
            f"{run / 'config.yaml'} must be as it was when the run was saved. Received:\n  "
            + "\n  ".join(changed)
            + "\nPut it back, or start a run of another name with it."
        )


def differences(saved: dict, now: dict) -> list[str]:
    """Each value that is not as it was saved, in words."""
    before, after = flat(saved), flat(now)
    return [
        f"{key}: {before.get(key)!r} when it was saved, {after.get(key)!r} now"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def flat(content, path: str = "") -> dict:
    """The values of nested sections by their paths, such as `optimizer.learning_rate`."""
    if not isinstance(content, dict):
        return {path: content}
    found = {}
    for key, own in content.items():
        found |= flat(own, f"{path}.{key}".lstrip("."))
    return found


def _plain(content):
    """Lists for tuples, which YAML does not have."""
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    return list(map(_plain, content)) if isinstance(content, list | tuple) else content


def environment() -> dict:
    """Versions, devices and commit: what a figure depends on beside its config."""
    from jconv import __version__

    return {
        "jconv": __version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device) for device in jax.devices()],
        "git_commit": _git_commit(),
        "tuning_table": _tuning_table(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _tuning_table() -> dict | None:
    """Which table of measured times `algorithm="auto"` goes by here, if any."""
    table = table_of(jax.default_backend())
    if table is None:
        return None
    path = table_path(table.device)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": digest, "convolutions": len(table.seconds)}


def _git_commit() -> str | None:
    """The commit of jconv's own source, if it is a checkout; marked if it was changed since."""
    try:
        _git("ls-files", "--error-unmatch", __file__)  # a repository around it is another project
        return _git("describe", "--always", "--dirty", "--abbrev=40")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def write_json(path: Path, content) -> None:
    """Writes a JSON file, whole or not at all; of several processes the first does."""
    if writes():
        write_text(path, to_json(content, indent=2) + "\n")


def to_json(content, **options) -> str:
    """JSON that every reader takes: it has no word for what is not finite, so that is null."""
    return json.dumps(_finite(content), allow_nan=False, **options)


def _finite(content):
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
