"""How it learns: the rule of the updates, the learning rate, what is done to images on the way."""

from typing import Annotated, Literal

from pydantic import Field

from jconv.train.config.section import Count, Int, Positive, Real, Section, Share

Decay = Annotated[Real, Field(ge=0)]


class Decaying(Section):
    """Weights shrink a little in each step, beside what the gradient asks for."""

    weight_decay: Decay = 1e-4
    decays: Literal["kernels", "all"] = "kernels"  # biases, scales and offsets too, or not


class Sgd(Section):
    """`W - learning_rate * dL/dW`, with momentum if asked for."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive = 0.1
    momentum: Share = 0.0


class Momentum(Decaying):
    """Steps along a running sum of gradients: Polyak (1964), looking ahead as Nesterov (1983)."""

    kind: Literal["momentum"] = "momentum"
    learning_rate: Positive = 0.05
    momentum: Share = 0.9
    nesterov: bool = True
    weight_decay: Decay = 0.0


class Adam(Section):
    """Kingma & Ba (2014)."""

    kind: Literal["adam"] = "adam"
    learning_rate: Positive = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999


class AdamW(Decaying):
    """Adam with decoupled weight decay: Loshchilov & Hutter (2017)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    b1: Share = 0.9
    b2: Share = 0.999


class Lion(Decaying):
    """Steps of the sign alone, a third to a tenth of Adam's: Chen et al. (2023)."""

    kind: Literal["lion"] = "lion"
    learning_rate: Positive = 1e-4
    b1: Share = 0.9
    b2: Share = 0.99
    weight_decay: Decay = 1e-3


class Lamb(Decaying):
    """Adam, each layer's step in proportion to its weights: You et al. (2019)."""

    kind: Literal["lamb"] = "lamb"
    learning_rate: Positive = 2e-3
    b1: Share = 0.9
    b2: Share = 0.999


class Constant(Section):
    """A linear warm-up, if asked for, then the same learning rate throughout."""

    kind: Literal["constant"] = "constant"
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class Cosine(Section):
    """Linear warm-up, then half a cosine down to nothing at the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class StepDecay(Section):
    """Linear warm-up, then the learning rate, times a factor after every so many steps."""

    kind: Literal["step"] = "step"
    every: Count
    factor: Annotated[Real, Field(gt=0, le=1)] = 0.1
    warmup_steps: Annotated[Int, Field(ge=0)] = 0


class OneCycle(Section):
    """Half a cosine up to the learning rate, and another down to nearly nothing at the last step:
    Smith & Topin (2018)."""

    kind: Literal["one_cycle"] = "one_cycle"
    rise: Annotated[Real, Field(gt=0, lt=1)] = 0.3  # share of the steps
    start: Annotated[Real, Field(gt=0, le=1)] = 0.04  # of the learning rate
    end: Annotated[Real, Field(gt=0, le=1)] = 4e-6  # of the learning rate


class Augment(Section):
    """What is done at random to the images of a step, on the device."""

    shift: Annotated[Int, Field(ge=0, le=64)] = 0  # pixels by which images are moved
    flip: bool = False  # left and right exchanged, of half of the images
    cutout: Annotated[Int, Field(ge=0, le=256)] = 0  # side of a square made zero; DeVries (2017)
    mixup: Annotated[Real, Field(ge=0, le=10)] = 0.0  # alpha of Zhang et al. (2017)


class EarlyStopping(Section):
    """Ends a run whose validation loss has not improved for so many evaluations."""

    patience: Count
    least: Annotated[Real, Field(ge=0)] = 0.0  # by which it must improve to count


Optimizer = Annotated[Sgd | Momentum | Adam | AdamW | Lion | Lamb, Field(discriminator="kind")]
Schedule = Annotated[Constant | Cosine | StepDecay | OneCycle, Field(discriminator="kind")]
