"""Placement of arrays: on one device, or on a mesh of devices in one or several processes."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jconv.train.config import Mesh

T = TypeVar("T")


class DeviceMesh:
    """The devices of a run.

    Args:
      config: the config's `mesh` section.

    Raises:
      ValueError: if the mesh does not use all devices, or cannot be divided among the processes.
    """

    def __init__(self, config: Mesh):
        size, available = config.data * config.height, len(jax.devices())
        self._mesh = None
        if size == 1 and jax.process_count() == 1:
            return
        if size != available:
            raise ValueError(
                f"`mesh` must use all {available} devices. Received: {{data: {config.data}, "
                f"height: {config.height}}}, which uses {size}."
            )
        if config.data % jax.process_count():
            raise ValueError(
                f"`mesh.data` must be a multiple of the number of processes, "
                f"{jax.process_count()}. Received: {config.data}."
            )
        grid = np.array(jax.devices()).reshape(config.data, config.height)
        self._mesh = jax.sharding.Mesh(grid, ("data", "height"))

    @property
    def batch_sharding(self) -> tuple[NamedSharding, NamedSharding] | None:
        """Shardings of a batch's images and targets; None on one device."""
        if self._mesh is None:
            return None
        specs = PartitionSpec("data", "height"), PartitionSpec("data")
        return NamedSharding(self._mesh, specs[0]), NamedSharding(self._mesh, specs[1])

    def replicate(self, tree: T) -> T:
        """Place a tree of arrays on every device; each process must pass the whole tree."""
        if self._mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(partial(_place, NamedSharding(self._mesh, PartitionSpec())), tree)

    def shard_batch(self, batch: tuple[np.ndarray, np.ndarray]) -> tuple[jax.Array, jax.Array]:
        """Shard a batch over the devices; each process passes its part of the examples."""
        if self._mesh is None:
            inputs, targets = batch
            return jnp.asarray(inputs), jnp.asarray(targets)
        sharding = NamedSharding(self._mesh, PartitionSpec("data"))
        inputs, targets = (jax.make_array_from_process_local_data(sharding, a) for a in batch)
        return inputs, targets


def _place(sharding: NamedSharding, array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_place(sharding, jax.random.key_data(array)))
    values = np.asarray(array)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])
