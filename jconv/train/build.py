"""From a config to the things it names: data, model, optimizer."""

import numpy as np
import optax
from flax import nnx

from jconv import data, nn
from jconv.kernels import KERNELS
from jconv.models import ParallelNet
from jconv.train import config as c


def build_data(config: c.Data) -> data.Splits:
    """Loads the data set."""
    match config:
        case c.Digits():
            return data.load_digits(
                validation=config.validation, test=config.test, seed=config.seed
            )
        case c.FilteredPhotos():
            return data.load_filtered_photos(
                np.asarray(KERNELS[config.kernel]()),
                patches=config.patches,
                size=config.size,
                validation=config.validation,
                test=config.test,
                seed=config.seed,
            )


def build_model(
    config: c.Model, input_shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs
) -> nnx.Module:
    """Makes the network for inputs `(n, *input_shape)`, with its initial kernels."""
    channels = input_shape[-1]
    match config:
        case c.ParallelNetModel():
            return ParallelNet(
                outputs,
                input_shape=input_shape,
                blocks=config.blocks,
                dropout=config.dropout,
                algorithm=config.algorithm,
                rngs=rngs,
            )
        case c.ParallelBlockModel():
            return nn.ParallelConv(channels, config.widths, algorithm=config.algorithm, rngs=rngs)
        case c.ConvModel():
            return nn.Conv(
                channels,
                outputs,
                config.kernel_size,
                padding="VALID",
                use_bias=config.use_bias,
                algorithm=config.algorithm,
                rngs=rngs,
            )


def build_schedule(config: c.TrainConfig) -> optax.Schedule:
    """The learning rate at each step."""
    peak = config.optimizer.learning_rate
    match config.schedule:
        case c.Constant():
            return optax.constant_schedule(peak)
        case c.Cosine(warmup_steps=warmup):
            return optax.warmup_cosine_decay_schedule(
                init_value=peak if warmup == 0 else 0.0,
                peak_value=peak,
                warmup_steps=warmup,
                decay_steps=config.steps,
            )


def build_optimizer(
    config: c.Optimizer, learning_rate: optax.Schedule
) -> optax.GradientTransformation:
    """The rule that turns gradients into updates."""
    match config:
        case c.Sgd(momentum=momentum):
            return optax.sgd(learning_rate, momentum=momentum or None)
        case c.Adam(b1=b1, b2=b2):
            return optax.adam(learning_rate, b1=b1, b2=b2)
        case c.AdamW(b1=b1, b2=b2, weight_decay=decay):
            return optax.adamw(learning_rate, b1=b1, b2=b2, weight_decay=decay)
