"""Construction of the data set and the model of a config."""

import os

import numpy as np
from flax import nnx

from jconv import data, nn
from jconv.kernels import KERNELS
from jconv.models import ParallelNet
from jconv.train import config as c


def build_data(config: c.Data) -> data.Splits:
    """Load the data set."""
    options = config.model_dump(exclude={"kind"})
    for key in {"folder", "path"} & options.keys():
        options[key] = os.path.expanduser(options[key])
    if "memory" in options:
        options["memory"] *= 2**20
    match config:
        case c.Digits():
            return data.load_digits(**options)
        case c.FilteredPhotos():
            kernel = np.asarray(KERNELS[options.pop("kernel")]())
            return data.load_filtered_photos(kernel, **options)
        case c.Photos():
            return data.load_photos(**options)
        case c.FashionMnist():
            return data.load_fashion_mnist(**options)
        case c.Mnist():
            return data.load_mnist(**options)
        case c.Npz():
            return data.load_npz(**options)
        case c.ImageFolder():
            return data.load_image_folder(**options)
        case c.HuggingFace():
            return data.load_huggingface(**options)


def build_model(
    config: c.Model, input_shape: tuple[int, ...], outputs: int, rngs: nnx.Rngs
) -> nnx.Module:
    """Return the network with its initial parameters.

    Args:
      config: the config's `model` section.
      input_shape: rows, columns and channels of one input.
      outputs: number of classes, or of channels of a target.
      rngs: draw the initial parameters, and dropout.
    """
    channels = input_shape[-1]
    match config:
        case c.ParallelNetModel():
            return ParallelNet(
                outputs,
                input_shape=input_shape,
                blocks=config.blocks,
                norm=config.norm,
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
