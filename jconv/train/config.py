"""The config of a run: everything that may stand in a YAML file, declared once.

`kind` says which of several a section is. Every default is written here and nowhere else.
"""

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jconv.algorithms import ALGORITHMS
from jconv.kernels import KERNELS


def _no_bool(value):
    # YAML reads `yes` and `on` as True, and Python takes True for 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Int = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[Int, Field(ge=1, le=10**9)]
Width = Annotated[Int, Field(ge=1, le=2**16)]  # channels of a layer
Share = Annotated[Real, Field(ge=0, lt=1)]
KernelSize = Annotated[Int, Field(ge=1, le=99)]
Widths = Annotated[dict[KernelSize, Width], Field(min_length=1)]
if TYPE_CHECKING:
    AlgorithmName: TypeAlias = str
    KernelName: TypeAlias = str
else:
    # Training is jitted, so no value of a kernel can decide how to convolve.
    AlgorithmName = Literal["auto", *(n for n, a in ALGORITHMS.items() if not a.reads_kernel)]
    KernelName = Literal[*KERNELS]


class Section(BaseModel):
    """A part of a config: what it does not name is an error, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Digits(Section):
    """The 1,797 digits of 8x8 pixels that ship with jconv."""

    kind: Literal["digits"] = "digits"
    validation: Annotated[Real, Field(ge=0.01, lt=0.5)] = 0.1  # share of the examples
    test: Annotated[Real, Field(ge=0.01, lt=0.5)] = 0.2  # share of the examples
    seed: Annotated[Int, Field(ge=0)] = 0  # draws the split


class FilteredPhotos(Section):
    """Patches of photographs, to be mapped to what a hidden kernel makes of them."""

    kind: Literal["filtered_photos"] = "filtered_photos"
    kernel: KernelName = "prewitt"
    patches: Annotated[Int, Field(ge=10, le=10**6)] = 1024
    size: Annotated[Int, Field(ge=8, le=256)] = 32  # pixels of a patch's side
    validation: Annotated[Real, Field(ge=0.01, lt=0.5)] = 0.1
    test: Annotated[Real, Field(ge=0.01, lt=0.5)] = 0.1
    seed: Annotated[Int, Field(ge=0)] = 0


class ParallelNetModel(Section):
    """Blocks of parallel convolution and pooling: `jconv.models.ParallelNet`."""

    kind: Literal["parallel_net"] = "parallel_net"
    blocks: Annotated[tuple[Widths, ...], Field(min_length=1)] = (
        {1: 8, 3: 16, 5: 8},
        {1: 16, 3: 32, 5: 16},
    )
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


class Sgd(Section):
    """`W - learning_rate * dL/dW`, with momentum if asked for."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Annotated[Real, Field(gt=0)] = 0.1
    momentum: Share = 0.0


class Adam(Section):
    """Kingma & Ba (2014)."""

    kind: Literal["adam"] = "adam"
    learning_rate: Annotated[Real, Field(gt=0)] = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999


class AdamW(Section):
    """Adam with decoupled weight decay: Loshchilov & Hutter (2017)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Annotated[Real, Field(gt=0)] = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999
    weight_decay: Annotated[Real, Field(ge=0)] = 1e-4


class Constant(Section):
    """The same learning rate throughout."""

    kind: Literal["constant"] = "constant"


class Cosine(Section):
    """Linear warm-up, then half a cosine down to nothing at the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class Log(Section):
    """How often a run writes; in steps. The last step always counts."""

    every: Count = 10  # a line of metrics.jsonl
    evaluate_every: Count = 100  # the validation split
    kernels_every: Count = 100  # a file of kernels/


class Checkpoints(Section):
    """How often the state is saved, in steps, and how much of it is kept; the last step counts."""

    every: Count = 500
    keep: Count = 2  # the newest; the best by validation loss is kept besides


Data = Annotated[Digits | FilteredPhotos, Field(discriminator="kind")]
Model = Annotated[ParallelNetModel | ParallelBlockModel | ConvModel, Field(discriminator="kind")]
Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]
Schedule = Annotated[Constant | Cosine, Field(discriminator="kind")]


class TrainConfig(Section):
    """One training run: data, model, loss, optimizer, and what to log."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=100)] = "run"
    seed: Annotated[Int, Field(ge=0, lt=2**32)] = 0  # initial kernels, order, augmentation
    data: Data
    model: Model
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    steps: Count
    batch_size: Count = 64
    shift: Annotated[Int, Field(ge=0, le=64)] = 0  # pixels by which images are moved at random
    log: Log = Log()
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _parts_fit(self):
        problems = []
        if isinstance(self.data, FilteredPhotos):
            where = "where `data.kind` is 'filtered_photos'"
            if self.loss != "mse":
                problems.append(f"`loss` must be 'mse' {where}")
            if self.shift:
                problems.append(f"`shift` must be 0 {where}")
            size = KERNELS[self.data.kernel]().shape
            if not isinstance(self.model, ConvModel):
                problems.append(f"`model.kind` must be 'conv' {where}")
            elif self.model.kernel_size != size:
                problems.append(
                    f"`model.kernel_size` must be {list(size)}, that of `data.kernel`, "
                    f"which is {self.data.kernel!r}"
                )
        elif not isinstance(self.model, ParallelNetModel):
            problems.append("`model.kind` must be 'parallel_net' where `data.kind` is 'digits'")
        if isinstance(self.schedule, Cosine) and self.schedule.warmup_steps >= self.steps:
            problems.append("`schedule.warmup_steps` must be below `steps`")
        if problems:
            raise ValueError(".\n  ".join(problems))
        return self


class NetworkConfig(Section):
    """A network on an input of a given shape, to look at and not to train."""

    input_shape: tuple[Count, Count, Count]  # rows, columns, channels
    model: Model
    outputs: Count = 10  # classes, where the network ends in them
