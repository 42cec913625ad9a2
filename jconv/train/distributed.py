"""One run in several processes, each with devices of its own; the first of them writes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from jconv.train.config import Distributed

COORDINATOR, PROCESSES, PROCESS = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)
PATIENCE = 30  # seconds without a word from a process after which it counts as dead
LONGEST_WORD = 2000  # bytes of what one process tells the others


def join(config: Distributed | None) -> None:
    """Joins the other processes of a run, if it has any; once, before anything is computed.

    Args:
      config: a section of the config; None for a run of one process, unless the environment names
        a coordinator.

    Raises:
      ValueError: where how many there are, or where they meet, is neither given nor found out.
    """
    if jax.distributed.is_initialized() or (config is None and COORDINATOR not in os.environ):
        return
    config = config or Distributed()
    coordinator = os.environ.get(COORDINATOR, config.coordinator)
    processes = _number(PROCESSES, config.processes)
    process = _number(PROCESS, config.process)
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=PATIENCE,
            shutdown_timeout_seconds=PATIENCE,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"`distributed` must say where the processes meet and how many there are, where no "
            f"cluster does (Slurm, Open MPI, a TPU pod, Kubernetes): coordinator, processes and "
            f"process, or {COORDINATOR}, {PROCESSES} and {PROCESS}. Received: "
            f"coordinator={coordinator!r}, processes={processes!r}, process={process!r}: {error}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        # JAX takes SIGTERM for a warning that somebody else heeds, and swallows it.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


def _number(variable: str, value: int | None) -> int | None:
    """What the environment says, or else the config."""
    text = os.environ.get(variable)
    if text is None:
        return value
    if not text.isdecimal():
        raise ValueError(f"`{variable}` must be a whole number. Received: {text!r}.")
    return int(text)


def writes() -> bool:
    """Whether this process is the one that writes the run's folder."""
    return jax.process_index() == 0


def agreed(asked: list[int], steps_at_once: int) -> tuple[list[int], int]:
    """What all processes do next: end if one was asked to, and take as many steps as the slowest.

    Args:
      asked: signals that this process got.
      steps_at_once: that it would take in its next call.
    """
    if jax.process_count() == 1:
        return list(asked), steps_at_once
    own = np.array([max(asked, default=0), -steps_at_once], np.int32)
    signal, steps = multihost_utils.process_allgather(own).max(0).tolist()
    return ([signal] if signal else []), -steps


def any_process(says: bool) -> bool:
    """Whether this process says so, or another."""
    if jax.process_count() == 1:
        return says
    return bool(multihost_utils.process_allgather(np.array([says])).any())


@contextlib.contextmanager
def refused_by_all() -> Iterator[None]:
    """Where one process refuses what is done in this context, all of them do, by its words.

    Raises:
      ValueError: in the processes that did not refuse it themselves.
    """
    error = None
    try:
        yield
    except Exception as own:
        error = own
    if jax.process_count() > 1:
        word = np.zeros(LONGEST_WORD, np.uint8)
        if error is not None:
            told = (str(error) or type(error).__name__).encode()[:LONGEST_WORD]
            word[: len(told)] = np.frombuffer(told, np.uint8)
        words = multihost_utils.process_allgather(word)
        others = [bytes(own[own > 0]) for own in words if own.any()]
        if error is None and others:
            raise ValueError(others[0].decode(errors="replace"))
    if error is not None:
        raise error


def wait_for_all(reason: str) -> None:
    """Waits until every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)
