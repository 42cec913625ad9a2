"""Where arrays lie: on one device, or spread over a mesh of them, in one process or several."""

from __future__ import annotations

from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jconv.train.config import Mesh

T = TypeVar("T")


class Devices:
    """The devices of a run.

    Args:
      mesh: a section of the config.

    Raises:
      ValueError: where there are not as many devices as it asks for.
    """

    def __init__(self, mesh: Mesh):
        wanted, found = mesh.data * mesh.height, len(jax.devices())
        self._mesh = None
        if wanted == 1 and jax.process_count() == 1:
            return
        if wanted != found:
            raise ValueError(
                f"`mesh` must take all devices, {found} of them. Received: "
                f"{{data: {mesh.data}, height: {mesh.height}}}, which is {wanted}."
            )
        if mesh.data % jax.process_count():
            raise ValueError(
                f"`mesh.data` must be a multiple of the number of processes, "
                f"{jax.process_count()}. Received: {mesh.data}."
            )
        grid = np.array(jax.devices()).reshape(mesh.data, mesh.height)
        self._mesh = jax.sharding.Mesh(grid, ("data", "height"))

    @property
    def batch_sharding(self) -> tuple[NamedSharding, NamedSharding] | None:
        """How the images of a batch lie, and its targets; None on one device."""
        if self._mesh is None:
            return None
        specs = PartitionSpec("data", "height"), PartitionSpec("data")
        return NamedSharding(self._mesh, specs[0]), NamedSharding(self._mesh, specs[1])

    def everywhere(self, tree: T) -> T:
        """The same arrays on every device, of every process; each process has all of them."""
        if self._mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(partial(_placed, NamedSharding(self._mesh, PartitionSpec())), tree)

    def spread(self, batch: tuple[np.ndarray, np.ndarray]) -> tuple[jax.Array, jax.Array]:
        """A batch over the devices, of which each process has its own share."""
        if self._mesh is None:
            inputs, targets = batch
            return jnp.asarray(inputs), jnp.asarray(targets)
        sharding = NamedSharding(self._mesh, PartitionSpec("data"))
        inputs, targets = (jax.make_array_from_process_local_data(sharding, a) for a in batch)
        return inputs, targets


def _placed(sharding: NamedSharding, array):
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_placed(sharding, jax.random.key_data(array)))
    values = np.asarray(array)
    return jax.make_array_from_callback(values.shape, sharding, lambda at: values[at])
