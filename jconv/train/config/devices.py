"""Config of the devices and processes of a run."""

from typing import Annotated

from pydantic import Field

from jconv.train.config.section import Count, Int, Section


class Mesh(Section):
    """A grid of devices: `data` shards the images of a batch, `height` the rows of each image."""

    data: Count = 1
    height: Count = 1


class Distributed(Section):
    """One of several processes of a run, each with its own devices.

    The environment variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`
    take precedence. Missing values are detected from the cluster (Slurm, Open MPI, TPU pods,
    Kubernetes).
    """

    coordinator: Annotated[str, Field(pattern=r"^[^\s:/]+:[0-9]+$")] | None = None  # HOST:PORT
    processes: Count | None = None
    # Excluded from config.yaml, which all processes of a run share.
    process: Annotated[Int, Field(ge=0)] | None = Field(default=None, exclude=True)
