"""The folder of a run: creation, locking, and its config, environment and summary files."""

import contextlib
import fcntl
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import yaml
from pydantic import BaseModel

from jconv._core.atomic_io import write_text
from jconv._core.environment import environment
from jconv.selection.tuning_table import describe_table
from jconv.train.distributed import is_main_process

PLACEMENT = ("mesh", "distributed")  # config sections that may change when a run is resumed

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
    """A run of this name exists, and nothing in it was changed."""


class RunBusy(ValueError):
    """Another process is writing to the run's folder."""


def check_free(run: Path, *, overwrite: bool) -> None:
    """Check that a run may be written to this path.

    Args:
      run: the run's folder.
      overwrite: whether an existing run may be replaced. Anything that is not a run is never
        replaced.

    Raises:
      RunExists: if there is something at `run` that may not be replaced.
    """
    if not os.path.lexists(run):
        return
    if not overwrite:
        raise RunExists(
            f"{run} exists, and a run is never overwritten by default. "
            f"Choose another `--name`, or replace it with `--overwrite`."
        )
    if run.is_symlink() or not run.is_dir():
        reason = "is a link or a file"
    elif unknown := foreign_in(run):
        reason = f"holds {unknown[0]!r}, which is not part of a run"
    else:
        return
    raise RunExists(
        f"{run} {reason}, so `--overwrite` does not replace it. "
        f"Choose another `--name`, or remove it yourself."
    )


def foreign_in(run: Path) -> list[str]:
    """Return the names of files in a folder that are not part of a run."""
    return sorted({path.name.removesuffix(".part") for path in run.iterdir()} - CONTENTS)


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which the end of the process also releases.

    Of several processes of one run, the main one holds the lock.

    Raises:
      RunBusy: if another process holds the lock.
    """
    if not is_main_process():
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
    """Create and lock a run's folder with config.yaml and environment.json.

    Of several processes, the main one does so.

    Raises:
      RunExists: if there is something at `run` that may not be replaced.
      RunBusy: if another process is writing the run.
    """
    if not is_main_process():
        yield
        return
    check_free(run, overwrite=overwrite)
    run.mkdir(parents=True, exist_ok=overwrite)
    with locked(run):
        for path in run.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        table = describe_table(jax.default_backend())
        write_json(run / "environment.json", environment(table))
        content = yaml.safe_dump(_as_yaml(config.model_dump()), sort_keys=False, allow_unicode=True)
        write_text(run / "config.yaml", content)  # last: a folder that has it can be resumed
        yield


def status(run: Path) -> str:
    """Return the status in summary.json, or "unfinished" if there is none."""
    try:
        return json.loads((run / "summary.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unfinished"


def check_same_config(config: BaseModel, saved: dict, run: Path) -> None:
    """Check that a run is resumed with the config of its checkpoint, except for the devices.

    Args:
      config: the config in the run's folder.
      saved: the config in the checkpoint.
      run: the run's folder.

    Raises:
      ValueError: with every difference.
    """
    saved, now = ({k: v for k, v in content.items() if k not in PLACEMENT}
                  for content in (saved, config.model_dump(mode="json")))  # fmt: skip
    if changed := differences(saved, now):
        raise ValueError(
            f"{run / 'config.yaml'} must be the config with which the run was saved. Received:\n  "
            + "\n  ".join(changed)
            + "\nRestore it, or start a run of another name with it."
        )


def differences(saved: dict, now: dict) -> list[str]:
    """Return a line for each value that differs between two configs."""
    before, after = flatten(saved), flatten(now)
    return [
        f"{key}: {before.get(key)!r} when it was saved, {after.get(key)!r} now"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


def flatten(content, path: str = "") -> dict:
    """Return the values of nested sections by path, such as `optimizer.learning_rate`."""
    if not isinstance(content, dict):
        return {path: content}
    flat = {}
    for key, value in content.items():
        flat |= flatten(value, f"{path}.{key}".lstrip("."))
    return flat


def _as_yaml(content):
    """Replace tuples by lists, because YAML has no tuples."""
    if isinstance(content, dict):
        return {key: _as_yaml(value) for key, value in content.items()}
    return list(map(_as_yaml, content)) if isinstance(content, list | tuple) else content


def write_json(path: Path, content) -> None:
    """Write a JSON file atomically; of several processes, the main one does so."""
    if is_main_process():
        write_text(path, to_json(content, indent=2) + "\n")


def to_json(content, **options) -> str:
    """Return strict JSON, which represents non-finite numbers as null."""
    return json.dumps(_finite_or_none(content), allow_nan=False, **options)


def _finite_or_none(content):
    if isinstance(content, dict):
        return {key: _finite_or_none(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite_or_none(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
