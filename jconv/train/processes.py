"""One run in several processes, each with devices of its own; the first of them writes."""

from __future__ import annotations

import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from jconv.train.config import Distributed

COORDINATOR, PROCESSES, PROCESS = (
    "JAX_COORDINATOR_ADDRESS",
    "JAX_NUM_PROCESSES",
    "JAX_PROCESS_ID",
)


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
    coordinator = config.coordinator or os.environ.get(COORDINATOR)
    processes = _given(config.processes, PROCESSES)
    process = _given(config.process, PROCESS)
    try:
        jax.distributed.initialize(coordinator, processes, process, heartbeat_timeout_seconds=30)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"`distributed` must say where the processes meet and how many there are, where no "
            f"cluster does (Slurm, Open MPI, a TPU pod, Kubernetes): coordinator, processes and "
            f"process, or {COORDINATOR}, {PROCESSES} and {PROCESS}. Received: "
            f"coordinator={coordinator!r}, processes={processes!r}, process={process!r}: {error}"
        ) from error


def _given(value: int | None, variable: str) -> int | None:
    if value is not None or variable not in os.environ:
        return value
    text = os.environ[variable]
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


def wait_for_all(reason: str) -> None:
    """Waits until every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(reason)
