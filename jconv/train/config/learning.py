"""Config of the optimization: optimizer, learning-rate schedule, augmentation, early stopping."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from jconv.train.config.section import Count, Int, Positive, Real, Section, Share

Decay = Annotated[Real, Field(ge=0)]


class WeightDecay(Section):
    """An optimizer with weight decay, on kernels only or also on biases, scales and offsets."""

    renamed: ClassVar = {"decays": "weight_decay_on"}

    weight_decay: Decay = 1e-4
    weight_decay_on: Literal["kernels", "all"] = "kernels"


class Sgd(Section):
    """Gradient descent, `W - learning_rate * dL/dW`, with optional momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Share = 0.0


class Momentum(WeightDecay):
    """Gradient descent with momentum (Polyak, 1964), by default in Nesterov's form (1983)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: Positive = 0.05
    momentum: Share = 0.9
    nesterov: bool = True
    weight_decay: Decay = 0.0


class Adam(Section):
    """Adam: Kingma & Ba (2014)."""

    kind: Literal["adam"] = "adam"
    learning_rate: Positive = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999


class AdamW(WeightDecay):
    """Adam with decoupled weight decay: Loshchilov & Hutter (2017)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999


class Lion(WeightDecay):
    """Sign-based updates, with a third to a tenth of Adam's learning rate: Chen et al. (2023)."""

    kind: Literal["lion"] = "lion"
    learning_rate: Positive = 1e-4
    b1: Share = 0.9
    b2: Share = 0.99
    weight_decay: Decay = 1e-3


class Lamb(WeightDecay):
    """Adam with each layer's update scaled by the norm of its weights: You et al. (2019)."""

    kind: Literal["lamb"] = "lamb"
    learning_rate: Positive = 2e-3
    b1: Share = 0.9
    b2: Share = 0.999


class Constant(Section):
    """Optional linear warm-up, then a constant learning rate."""

    kind: Literal["constant"] = "constant"
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class Cosine(Section):
    """Optional linear warm-up, then a cosine decay to zero at the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class StepDecay(Section):
    """Optional linear warm-up, then multiplication by `factor` after every `every` steps."""

    kind: Literal["step"] = "step"
    every: Count
    factor: Annotated[Real, Field(gt=0, le=1)] = 0.1
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class OneCycle(Section):
    """A cosine rise to the learning rate, then a cosine decay: Smith & Topin (2018)."""

    renamed: ClassVar = {"rise": "pct_start"}

    kind: Literal["one_cycle"] = "one_cycle"
    pct_start: Annotated[Real, Field(gt=0, lt=1)] = 0.3  # share of the steps that rise
    start: Annotated[Real, Field(gt=0, le=1)] = 0.04  # first value, relative to the learning rate
    end: Annotated[Real, Field(gt=0, le=1)] = 4e-6  # last value, relative to the learning rate


class Augment(Section):
    """Random augmentation of the images of a step, computed on the device."""

    shift: Annotated[Int, Field(ge=0, le=64)] = 0  # largest shift in rows and columns, in pixels
    flip: bool = False  # mirror half of the images horizontally
    cutout: Annotated[Int, Field(ge=0, le=256)] = (
        0  # side of a zeroed square, in pixels; DeVries (2017)
    )
    mixup: Annotated[Real, Field(ge=0, le=10)] = 0.0  # alpha of Zhang et al. (2017)


class EarlyStopping(Section):
    """Stops a run whose validation loss has not improved for `patience` evaluations."""

    renamed: ClassVar = {"least": "min_delta"}

    patience: Count
    min_delta: Annotated[Real, Field(ge=0)] = 0.0  # smallest decrease that is an improvement


Optimizer = Annotated[Sgd | Momentum | Adam | AdamW | Lion | Lamb, Field(discriminator="kind")]
Schedule = Annotated[Constant | Cosine | StepDecay | OneCycle, Field(discriminator="kind")]
