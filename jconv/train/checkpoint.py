"""Checkpoints: the whole state of model and optimizer, through orbax."""

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

from jconv.train.distributed import any_process, wait_for_all, writes

DIGITS = 6  # of a step, in the name of its folder


class _Unreadable(Exception):
    """A part of a checkpoint that is damaged."""


class NoCheckpoint(ValueError):
    """There is nothing from which a run could go on."""


class Checkpoints:
    """The checkpoints of a run, the newest few and the best; a context manager.

    They are written while training goes on, and each appears whole or not at all.

    Args:
      folder: holds one folder for each step that was saved.
      keep: how many of the newest stay; the one that is said to be the best stays besides.
    """

    def __init__(self, folder: Path, *, keep: int):
        self._best = _OneStep()
        self._folder = folder.resolve()
        if writes():
            # What a kill left half written. Orbax would remove it while the same step is written.
            for unfinished in self._folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(unfinished)
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                step_format_fixed_length=DIGITS,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(keep), self._best]
                ),
            ),
        )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_) -> None:
        with _writing():
            self._manager.close()

    def save(self, step: int, state: Any, facts: dict[str, Any], best: int | None = None) -> None:
        """Saves the state after `step`, with some facts as JSON; once only.

        What `state` holds is copied before this returns, and written while training goes on.

        Args:
          step: how many were taken.
          state: after it.
          facts: what else there is to know.
          best: the step whose checkpoint stays though it is not of the newest.

        Raises:
          OSError: where the one before could not be written.
        """
        self._best.step = best
        if step in self._manager.all_steps():
            return
        arrays = _named(state)
        # Orbax notices files that are cut short, and not every bit that is another.
        facts = facts | {"layout": _layout(arrays), "state_digest": _digest_of_state(arrays)}
        facts = json.loads(json.dumps(facts))  # as they will be read
        facts["digest"] = _digest_of_facts(facts)
        written = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), facts=ocp.args.JsonSave(facts)
        )
        with _writing():
            self._manager.save(step, args=written)

    def restore_newest(
        self,
        state: Any,
        tell: Callable[[str], None] = lambda sentence: None,
        check: Callable[[dict[str, Any]], None] = lambda facts: None,
    ) -> tuple[int, Any, dict[str, Any]]:
        """Reads the newest state that can be read; others are told of, and set aside.

        Args:
          state: one like it, which says what is to be read and where it is to lie; on other
            devices than those it was saved from, if need be.
          tell: is told, in a sentence, of each that cannot be read.
          check: raises where the facts saved with it are those of another run; its state, which
            need not be like this one, has not been read then.

        Returns:
          The step after which it was saved, the state, and the facts saved with it.

        Raises:
          NoCheckpoint: where there is none that can be read.
          ValueError: where it is whole, and of another version of jconv.
        """
        arrays = _named(state)
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                facts = self._read(step, "facts", ocp.args.JsonRestore(), _are_as_saved)
            except _Unreadable as error:
                self._set_aside(step, error, tell)
                continue
            layout, digest = facts.pop("layout", None), facts.pop("state_digest", None)
            check(facts)
            if layout != _layout(arrays):
                raise ValueError(
                    f"the checkpoint of step {step} holds other arrays than are saved now. Resume "
                    f"it with the version of jconv that is in the run's environment.json."
                )
            try:
                how = ocp.args.StandardRestore(arrays)
                found = self._read(step, "state", how, partial(_is_as_saved, digest))
            except _Unreadable as error:
                self._set_aside(step, error, tell)
                continue
            leaves, tree = jax.tree.flatten(state)
            return step, jax.tree.unflatten(tree, map(_like, leaves, found.values())), facts
        raise NoCheckpoint("there is no checkpoint that can be read")

    def _read(
        self,
        step: int,
        part: str,
        how: ocp.args.CheckpointArgs,
        is_as_saved: Callable[[Any], bool],
    ) -> Any:
        """One part of a checkpoint.

        Raises:
          _Unreadable: in every process, where one cannot read it.
        """
        bad, found = None, None
        try:
            found = self._manager.restore(step, args=ocp.args.Composite(**{part: how}))[part]
            if not is_as_saved(found):
                bad = "what it holds is not what was saved"
        except (MemoryError, PermissionError):
            raise  # of the machine, not of the file
        except Exception as error:  # whatever a damaged file makes orbax raise
            bad = _first_line(error)
        if any_process(bad is not None):
            raise _Unreadable(bad or "another process cannot read it")
        return found

    def _set_aside(self, step: int, error: _Unreadable, tell: Callable[[str], None]) -> None:
        tell(f"the checkpoint of step {step} cannot be read ({error})")
        if writes():
            path = self._folder / f"{step:0{DIGITS}d}"
            aside = path.with_name(path.name + ".unreadable")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        wait_for_all(f"the checkpoint of step {step} is set aside")
        self._manager.reload()


class _OneStep(policies.PreservationPolicy):
    """Keeps the checkpoint of one step."""

    step: int | None = None

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        return [checkpoint.step == self.step for checkpoint in checkpoints]


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Tells an error of the system, such as a full disk, as what it is, and not as tensorstore."""
    try:
        yield
    except ValueError as error:
        code = re.search(r"os_error_code='(\d+)'", str(error))
        if code is None:
            raise
        number = int(code[1])
        raise OSError(number, f"a checkpoint was not written: {os.strerror(number)}") from error


def _named(state) -> dict[str, jax.Array]:
    """Every array by its path, random keys as the numbers that they are."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    numbers = lambda x: jax.random.key_data(x) if _is_key(x) else x
    # Numbered, for orbax gives them back in the order of their names.
    return {
        f"{i:05d}.{jax.tree_util.keystr(path, simple=True, separator='.')}": numbers(x)
        for i, (path, x) in enumerate(leaves)
    }


def _layout(arrays: dict[str, jax.Array]) -> str:
    """Tells states of other arrays from one another."""
    return hashlib.sha256("\n".join(arrays).encode()).hexdigest()[:16]


def _digest_of_state(arrays: dict[str, jax.Array]) -> str:
    """Tells states of other bits from one another."""
    found = hashlib.sha256()
    for array in arrays.values():
        # One device's, which has all of it, and is not looked into once this is done.
        own = np.atleast_1d(np.asarray(array.addressable_data(0)))
        found.update(np.ascontiguousarray(own).view(np.uint8).data)
    return found.hexdigest()


def _digest_of_facts(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _is_as_saved(digest: str | None, arrays: dict[str, jax.Array]) -> bool:
    return digest in (None, _digest_of_state(arrays))


def _are_as_saved(facts: dict[str, Any]) -> bool:
    """Whether facts have the digest that was saved with them, which they lose."""
    digest = facts.pop("digest", None)
    return digest in (None, _digest_of_facts(facts))


def _like(own, restored):
    return jax.random.wrap_key_data(restored) if _is_key(own) else restored


def _is_key(x) -> bool:
    return isinstance(x, jax.Array) and jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


logging.getLogger("absl").setLevel(logging.WARNING)  # orbax tells of each file that it writes
