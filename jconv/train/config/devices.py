"""Where it runs: on how many devices, in how many processes."""

from typing import Annotated

from pydantic import Field

from jconv.train.config.section import Count, Int, Section


class Mesh(Section):
    """Devices in a grid: the images of a batch are spread over `data`, the rows of each over
    `height`."""

    data: Count = 1
    height: Count = 1


class Distributed(Section):
    """This process among several, each with devices of its own.

    `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID` come before what is said
    here; what neither says is found out from the cluster (Slurm, Open MPI, TPU pods, Kubernetes).
    """

    coordinator: Annotated[str, Field(pattern=r"^[^\s:/]+:[0-9]+$")] | None = None  # HOST:PORT
    processes: Count | None = None
    # It is not written down: the config of a run is that of all its processes.
    process: Annotated[Int, Field(ge=0)] | None = Field(default=None, exclude=True)
