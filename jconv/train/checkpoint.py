"""Checkpoints: the complete state of model and optimizer, stored with orbax and checked on reading.

Orbax notices truncated files but not every changed bit, so each checkpoint also stores digests of
its arrays and of its metadata.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jconv.train.distributed import any_process, barrier, is_main_process

STEP_DIGITS = 6  # in the name of a checkpoint's folder


class NoCheckpoint(ValueError):
    """The run has no checkpoint that can be read."""


class _Corrupt(Exception):
    """A part of a checkpoint cannot be read, or differs from what was saved."""


class CheckpointStore:
    """The newest checkpoints of a run and its best one; a context manager.

    Orbax writes them in the background, and each appears complete or not at all.

    Args:
      folder: holds one folder for each saved step.
      keep: number of newest checkpoints to keep, in addition to the best one.
    """

    def __init__(self, folder: Path, *, keep: int):
        self._best = _KeepStep()
        self._folder = folder.resolve()
        if is_main_process():
            # Left by a killed process. Orbax would delete it while the same step is being saved.
            for partial_save in self._folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(partial_save)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                step_format_fixed_length=STEP_DIGITS,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(keep), self._best]
                ),
            ),
        )

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_) -> None:
        with _as_os_error():
            self._manager.close()

    def save(
        self, step: int, state: Any, metadata: dict[str, Any], best: int | None = None
    ) -> None:
        """Save the state after `step`, unless a checkpoint of that step exists.

        The arrays are copied before this returns and written in the background.

        Args:
          step: number of steps taken.
          state: a tree of arrays.
          metadata: further information, compatible with JSON.
          best: the step whose checkpoint is kept in addition to the newest ones.

        Raises:
          OSError: if this checkpoint or the previous one could not be written.
        """
        self._best.step = best
        if step in self._manager.all_steps():
            return
        arrays = _by_path(state)
        metadata = metadata | {"layout": _layout(arrays), "state_digest": _state_digest(arrays)}
        metadata = json.loads(json.dumps(metadata))  # the digest is of the values that JSON returns
        metadata["digest"] = _metadata_digest(metadata)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), metadata=ocp.args.JsonSave(metadata)
        )
        with _as_os_error():
            self._manager.save(step, args=items)

    def restore_newest(
        self,
        state: Any,
        notify: Callable[[str], None] = lambda message: None,
        check: Callable[[dict[str, Any]], None] = lambda metadata: None,
    ) -> tuple[int, Any, dict[str, Any]]:
        """Read the newest intact checkpoint; corrupt ones are reported and renamed.

        Args:
          state: a tree of the same structure, whose arrays define shapes, dtypes and shardings;
            the shardings may differ from those at saving.
          notify: called with a sentence for each corrupt checkpoint.
          check: called with the metadata before the state is read; raises if they belong to a
            different run.

        Returns:
          The step, the state, and the metadata.

        Raises:
          NoCheckpoint: if no checkpoint can be read.
          ValueError: if the checkpoint was written by a version of jconv that saves other arrays.
        """
        arrays = _by_path(state)
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                metadata = self._read(step, "metadata", ocp.args.JsonRestore(), _metadata_intact)
            except _Corrupt as error:
                self._set_aside(step, error, notify)
                continue
            layout, digest = metadata.pop("layout", None), metadata.pop("state_digest", None)
            check(metadata)
            if layout != _layout(arrays):
                raise ValueError(
                    f"the checkpoint of step {step} holds other arrays than this version of jconv "
                    f"saves. Resume it with the version in the run's environment.json."
                )
            try:
                template = ocp.args.StandardRestore(arrays)
                restored = self._read(step, "state", template, partial(_state_intact, digest))
            except _Corrupt as error:
                self._set_aside(step, error, notify)
                continue
            leaves, tree = jax.tree.flatten(state)
            return step, jax.tree.unflatten(tree, map(_like, leaves, restored.values())), metadata
        raise NoCheckpoint("there is no checkpoint that can be read")

    def _read(
        self,
        step: int,
        item: str,
        args: ocp.args.CheckpointArgs,
        is_intact: Callable[[Any], bool],
    ) -> Any:
        """Read one item of a checkpoint.

        Raises:
          _Corrupt: in every process, if one of them cannot read the item.
        """
        problem, content = None, None
        try:
            content = self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
            if not is_intact(content):
                problem = "its content is not what was saved"
        except (MemoryError, PermissionError):
            raise  # a problem of the machine, not of the file
        except Exception as error:  # orbax raises many types for a corrupt file
            problem = _first_line(error)
        if any_process(problem is not None):
            raise _Corrupt(problem or "another process cannot read it")
        return content

    def _set_aside(self, step: int, error: _Corrupt, notify: Callable[[str], None]) -> None:
        notify(f"the checkpoint of step {step} cannot be read ({error})")
        if is_main_process():
            path = self._folder / f"{step:0{STEP_DIGITS}d}"
            aside = path.with_name(path.name + ".unreadable")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        barrier(f"checkpoint {step} renamed")
        self._manager.reload()


class _KeepStep(policies.PreservationPolicy):
    """Orbax policy that preserves the checkpoint of one step."""

    step: int | None = None

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        return [checkpoint.step == self.step for checkpoint in checkpoints]


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Convert tensorstore's report of an operating system's error, such as a full disk."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        number = int(code[1])
        raise OSError(number, f"a checkpoint was not written: {os.strerror(number)}") from error


def _by_path(state) -> dict[str, jax.Array]:
    """Return the arrays of a tree by path, with random keys as integers."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    as_numbers = lambda x: jax.random.key_data(x) if _is_key(x) else x
    # Orbax sorts by name; the numbers preserve the order of the leaves.
    return {
        f"{i:05d}.{jax.tree_util.keystr(path, simple=True, separator='.')}": as_numbers(x)
        for i, (path, x) in enumerate(leaves)
    }


def _layout(arrays: dict[str, jax.Array]) -> str:
    """Return a digest of the arrays' paths."""
    return hashlib.sha256("\n".join(arrays).encode()).hexdigest()[:16]


def _state_digest(arrays: dict[str, jax.Array]) -> str:
    """Return a digest of the arrays' values."""
    digest = hashlib.sha256()
    for array in arrays.values():
        # The arrays are replicated, so the copy on one device is complete.
        values = np.atleast_1d(np.asarray(array.addressable_data(0)))
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def _metadata_digest(metadata: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def _state_intact(digest: str | None, arrays: dict[str, jax.Array]) -> bool:
    return digest in (None, _state_digest(arrays))


def _metadata_intact(metadata: dict[str, Any]) -> bool:
    """Remove the digest from the metadata, and return whether it matches the rest."""
    digest = metadata.pop("digest", None)
    return digest in (None, _metadata_digest(metadata))


def _like(leaf, restored):
    return jax.random.wrap_key_data(restored) if _is_key(leaf) else restored


def _is_key(x) -> bool:
    return isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


logging.getLogger("absl").setLevel(logging.WARNING)  # orbax logs every file that it writes
