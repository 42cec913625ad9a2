"""A whole run, and a network that is only looked at."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from jconv.kernels import KERNELS
from jconv.train.config.data import Data, FilteredPhotos
from jconv.train.config.devices import Distributed, Mesh
from jconv.train.config.learning import (
    Adam,
    Augment,
    Constant,
    Cosine,
    EarlyStopping,
    Optimizer,
    Schedule,
)
from jconv.train.config.model import ConvModel, Model, ParallelNetModel
from jconv.train.config.section import Count, Int, Positive, Section, Seed, Share


class Log(Section):
    """How often a run writes; in steps. The last step always counts."""

    every: Count = 10  # a line of metrics.jsonl
    evaluate_every: Count = 100  # the validation split
    kernels_every: Count = 100  # a file of kernels/


class Checkpoints(Section):
    """How often the state is saved, in steps, and how much of it is kept; the last step counts."""

    every: Count = 500
    keep: Count = 2  # the newest; the best by validation loss is kept besides


class TrainConfig(Section):
    """One training run: data, model, loss, optimizer, and what to log."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=100)] = "run"
    seed: Seed = 0  # initial kernels, order, augmentation
    replicates: Annotated[Int, Field(ge=1, le=1024)] = 1  # trained at once, each with its own seed
    data: Data
    model: Model
    loss: Literal["cross_entropy", "mse", "binary"] = "cross_entropy"
    label_smoothing: Share = 0.0
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    clip_norm: Positive | None = None  # of the gradient over all parameters
    accumulate: Count = 1  # steps whose gradients make one update
    ema: Share = 0.0  # decay of a running mean of weights and statistics, which is then evaluated
    precision: Literal["float32", "bfloat16"] = "float32"  # of the layers; weights stay in float32
    steps: Count
    batch_size: Count = 64
    augment: Augment = Augment()
    early_stopping: EarlyStopping | None = None
    log: Log = Log()
    checkpoints: Checkpoints = Checkpoints()
    mesh: Mesh = Mesh()
    distributed: Distributed | None = None

    @model_validator(mode="after")
    def _parts_fit(self):
        problems = [*self._data_fits(), *self._steps_fit(), *self._devices_fit()]
        if problems:
            raise ValueError(".\n  ".join(problems))
        return self

    def _data_fits(self):
        if isinstance(self.data, FilteredPhotos):
            where = "where `data.kind` is 'filtered_photos'"
            if self.loss != "mse":
                yield f"`loss` must be 'mse' {where}"
            if self.augment != Augment():
                yield f"`augment` must be left out {where}"
            size = KERNELS[self.data.kernel]().shape
            if not isinstance(self.model, ConvModel):
                yield f"`model.kind` must be 'conv' {where}"
            elif self.model.kernel_size != size:
                yield (
                    f"`model.kernel_size` must be {list(size)}, that of `data.kernel`, "
                    f"which is {self.data.kernel!r}"
                )
        elif not isinstance(self.model, ParallelNetModel):
            yield f"`model.kind` must be 'parallel_net' where `data.kind` is {self.data.kind!r}"
        if self.label_smoothing and self.loss == "mse":
            yield "`label_smoothing` must be 0 where `loss` is 'mse'"
        if self.augment.mixup and self.loss == "mse":
            yield "`augment.mixup` must be 0 where `loss` is 'mse'"

    def _steps_fit(self):
        warmup = getattr(self.schedule, "warmup_steps", 0)
        if warmup >= self.steps and (warmup or isinstance(self.schedule, Cosine)):
            yield "`schedule.warmup_steps` must be below `steps`"
        if self.steps % self.accumulate:
            yield "`steps` must be a multiple of `accumulate`: the last would update nothing"
        if 0 < warmup <= self.accumulate != 1:
            yield "`schedule.warmup_steps` must be 0, or more than `accumulate`"

    def _devices_fit(self):
        if self.batch_size % self.mesh.data:
            yield f"`batch_size` must be a multiple of `mesh.data`, {self.mesh.data}"
        if self.replicates > 1 and self.mesh != Mesh():
            yield "`replicates` must be 1 on a `mesh`: run a sweep over seeds instead"


class NetworkConfig(Section):
    """A network on an input of a given shape, to look at and not to train."""

    input_shape: tuple[Count, Count, Count]  # rows, columns, channels
    model: Model
    outputs: Count = 10  # classes, where the network ends in them
