"""Config of a training run, and of a network that is only inspected."""

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
    """Intervals of logging, in steps. The last step is always logged."""

    every: Count = 10  # steps between lines of metrics.jsonl
    evaluate_every: Count = 100  # steps between evaluations of the validation split
    kernels_every: Count = 100  # steps between files in kernels/


class Checkpoints(Section):
    """Interval of checkpoints, in steps, and how many are kept. The last step is always saved."""

    every: Count = 500
    keep: Count = 2  # newest checkpoints, in addition to the one with the lowest validation loss


class TrainConfig(Section):
    """One training run: data, model, loss, optimizer, and what to log."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=100)] = "run"
    seed: Seed = 0  # initial parameters, order of examples, augmentation
    replicates: Annotated[Int, Field(ge=1, le=1024)] = 1  # trained in parallel, a seed each
    data: Data
    model: Model
    loss: Literal["cross_entropy", "mse", "binary"] = "cross_entropy"
    label_smoothing: Share = 0.0
    optimizer: Optimizer = Adam()
    schedule: Schedule = Constant()
    clip_norm: Positive | None = None  # largest norm of the gradient over all parameters
    accumulate: Count = 1  # steps whose gradients are averaged for one update
    ema: Share = 0.0  # decay of a moving average of the model, which is evaluated if > 0
    precision: Literal["float32", "bfloat16"] = "float32"  # of the layers; parameters are float32
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
            where = "if `data.kind` is 'filtered_photos'"
            if self.loss != "mse":
                yield f"`loss` must be 'mse' {where}"
            if self.augment != Augment():
                yield f"`augment` must be omitted {where}"
            size = KERNELS[self.data.kernel]().shape
            if not isinstance(self.model, ConvModel):
                yield f"`model.kind` must be 'conv' {where}"
            elif self.model.kernel_size != size:
                yield (
                    f"`model.kernel_size` must be {list(size)}, the size of `data.kernel` "
                    f"{self.data.kernel!r}"
                )
        elif not isinstance(self.model, ParallelNetModel):
            yield f"`model.kind` must be 'parallel_net' if `data.kind` is {self.data.kind!r}"
        if self.label_smoothing and self.loss == "mse":
            yield "`label_smoothing` must be 0 if `loss` is 'mse'"
        if self.augment.mixup and self.loss == "mse":
            yield "`augment.mixup` must be 0 if `loss` is 'mse'"

    def _steps_fit(self):
        warmup = getattr(self.schedule, "warmup_steps", 0)
        if warmup >= self.steps and (warmup or isinstance(self.schedule, Cosine)):
            yield "`schedule.warmup_steps` must be less than `steps`"
        if self.steps % self.accumulate:
            yield "`steps` must be a multiple of `accumulate`, or the last steps have no effect"
        if 0 < warmup <= self.accumulate != 1:
            yield "`schedule.warmup_steps` must be 0 or greater than `accumulate`"

    def _devices_fit(self):
        if self.batch_size % self.mesh.data:
            yield f"`batch_size` must be a multiple of `mesh.data`, {self.mesh.data}"
        if self.replicates > 1 and self.mesh != Mesh():
            yield "`replicates` must be 1 with a `mesh`. Run a sweep over seeds instead"


class NetworkConfig(Section):
    """A network and the shape of its input, for inspection without training."""

    input_shape: tuple[Count, Count, Count]  # rows, columns, channels
    model: Model
    outputs: Count = 10  # classes, if the network is a classifier
