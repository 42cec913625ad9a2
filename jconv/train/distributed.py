"""One run in several processes with separate devices; the first process writes the files."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from jconv.train.config import Distributed

COORDINATOR_VAR = "JAX_COORDINATOR_ADDRESS"
NUM_PROCESSES_VAR = "JAX_NUM_PROCESSES"
PROCESS_ID_VAR = "JAX_PROCESS_ID"
HEARTBEAT_TIMEOUT = 30  # seconds after which a silent process counts as dead
MAX_MESSAGE_BYTES = 2000  # of an error message that is sent to the other processes


def initialize_distributed(config: Distributed | None) -> None:
    """Join the other processes of a run, if there are any.

    Must be called before JAX computes anything. A second call has no effect.

    Args:
      config: the config's `distributed` section. With None, the run has one process unless the
        environment variable `JAX_COORDINATOR_ADDRESS` is set.

    Raises:
      ValueError: if the coordinator's address or the number of processes is neither given nor
        detected.
    """
    if jax.distributed.is_initialized() or (config is None and COORDINATOR_VAR not in os.environ):
        return
    config = config or Distributed()
    coordinator = os.environ.get(COORDINATOR_VAR, config.coordinator)
    processes = _int_from_env(NUM_PROCESSES_VAR, config.processes)
    process = _int_from_env(PROCESS_ID_VAR, config.process)
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=HEARTBEAT_TIMEOUT,
        )
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"`distributed` must give the coordinator's address and the number of processes, "
            f"unless a cluster provides them (Slurm, Open MPI, a TPU pod, Kubernetes). Set "
            f"`coordinator`, `processes` and `process`, or {COORDINATOR_VAR}, {NUM_PROCESSES_VAR} "
            f"and {PROCESS_ID_VAR}. Received: coordinator={coordinator!r}, "
            f"processes={processes!r}, process={process!r}: {error}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        # JAX installs a handler that treats SIGTERM as a preemption notice and swallows it.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)


def _int_from_env(variable: str, default: int | None) -> int | None:
    text = os.environ.get(variable)
    if text is None:
        return default
    if not text.isdecimal():
        raise ValueError(f"`{variable}` must be a non-negative integer. Received: {text!r}.")
    return int(text)


def is_main_process() -> bool:
    """Return whether this process writes the run's folder."""
    return jax.process_index() == 0


def sync_signals(received: Sequence[int]) -> list[int]:
    """Return the signals on which all processes act: those of any process.

    Args:
      received: the signals that this process has received.
    """
    if jax.process_count() == 1:
        return list(received)
    latest = multihost_utils.process_allgather(np.array([max(received, default=0)], np.int32))
    return [int(latest.max())] if latest.any() else []


def min_over_processes(value: int) -> int:
    """Return the smallest value that any process passes."""
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.array([value], np.int32)).min())


def any_process(flag: bool) -> bool:
    """Return whether the flag is set in any process."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array([flag])).any())


@contextlib.contextmanager
def raise_on_all_processes() -> Iterator[None]:
    """Raise in every process if the body of this context fails in one of them.

    Raises:
      ValueError: with the message of the failed process, in the processes that did not fail.
    """
    error = None
    try:
        yield
    except Exception as raised:
        error = raised
    if jax.process_count() > 1:
        buffer = np.zeros(MAX_MESSAGE_BYTES, np.uint8)
        if error is not None:
            message = (str(error) or type(error).__name__).encode()[:MAX_MESSAGE_BYTES]
            buffer[: len(message)] = np.frombuffer(message, np.uint8)
        buffers = multihost_utils.process_allgather(buffer)
        messages = [bytes(row[row > 0]) for row in buffers if row.any()]
        if error is None and messages:
            raise ValueError(messages[0].decode(errors="replace"))
    if error is not None:
        raise error


def barrier(name: str) -> None:
    """Wait until every process has reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
