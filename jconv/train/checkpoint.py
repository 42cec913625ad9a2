"""Checkpoints: the whole state of model and optimizer, through orbax."""

from pathlib import Path

import orbax.checkpoint as ocp
from flax import nnx


def save_checkpoint(folder: Path, step: int, model: nnx.Module, optimizer: nnx.Optimizer) -> Path:
    """Writes `folder/STEP`, which appears whole or not at all, and returns it."""
    path = (folder / f"{step:06d}").resolve()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, _state(model, optimizer))
    return path


def restore_checkpoint(path: Path, model: nnx.Module, optimizer: nnx.Optimizer) -> None:
    """Brings a model and an optimizer of the same structure to a checkpoint's state, in place.

    Raises:
      ValueError: where the structures differ.
    """
    with ocp.StandardCheckpointer() as checkpointer:
        state = checkpointer.restore(path.resolve(), _state(model, optimizer))
    nnx.update(model, state["model"])
    nnx.update(optimizer, state["optimizer"])


def _state(model: nnx.Module, optimizer: nnx.Optimizer) -> dict:
    # Random streams are state too, so that what is dropped next goes on where it was.
    return {"model": nnx.state(model), "optimizer": nnx.state(optimizer)}
