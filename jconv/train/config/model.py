"""Config of the model."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from jconv.algorithms import ALGORITHMS
from jconv.train.config.section import Int, Section, Share

if TYPE_CHECKING:
    AlgorithmName: TypeAlias = str
else:
    AlgorithmName = Literal["auto", *ALGORITHMS]

Width = Annotated[Int, Field(ge=1, le=2**16)]  # output channels of a layer
KernelSize = Annotated[Int, Field(ge=1, le=99)]
Widths = Annotated[dict[KernelSize, Width], Field(min_length=1)]


class ParallelNetModel(Section):
    """Blocks of parallel convolution and pooling: `jconv.models.ParallelNet`."""

    kind: Literal["parallel_net"] = "parallel_net"
    blocks: Annotated[tuple[Widths, ...], Field(min_length=1)] = (
        {1: 8, 3: 16, 5: 8},
        {1: 16, 3: 32, 5: 16},
    )
    norm: bool = False  # batch norm in every branch
    dropout: Share = 0.0
    algorithm: AlgorithmName = "auto"


class ParallelBlockModel(Section):
    """One block of parallel convolution: `jconv.nn.ParallelConv`."""

    kind: Literal["parallel_block"] = "parallel_block"
    widths: Widths = Field(default={1: 64, 3: 64, 5: 64})
    algorithm: AlgorithmName = "auto"


class ConvModel(Section):
    """One convolution without padding: `jconv.nn.Conv`."""

    kind: Literal["conv"] = "conv"
    kernel_size: tuple[KernelSize, KernelSize] = (3, 3)
    use_bias: bool = False
    algorithm: AlgorithmName = "auto"


Model = Annotated[ParallelNetModel | ParallelBlockModel | ConvModel, Field(discriminator="kind")]
